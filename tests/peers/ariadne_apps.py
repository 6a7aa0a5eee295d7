"""Ariadne over ASGI and over WSGI, each as it comes and behind the middleware; `ISSUER` is as in `apps`."""

from __future__ import annotations

from typing import Any

from ariadne import QueryType, make_executable_schema
from ariadne.asgi import GraphQL as ASGIGraphQL
from ariadne.wsgi import GraphQL as WSGIGraphQL

from graphql_authkit.asgi import AuthMiddleware as ASGIAuthMiddleware
from graphql_authkit.graphql import FrozenContext, freeze, require_auth
from graphql_authkit.wsgi import AuthMiddleware as WSGIAuthMiddleware
from tests.peers.apps import authenticator

query = QueryType()


@query.field("me")
def me(_source: object, info: Any) -> str:
    return require_auth(info).subject


def frozen(request: Any, _data: object) -> FrozenContext:
    return freeze({"request": request})


schema = make_executable_schema("type Query { me: String! }", query)

bare_asgi = ASGIGraphQL(schema, execute_get_queries=True)
bare_wsgi = WSGIGraphQL(schema, execute_get_queries=True)
asgi = ASGIAuthMiddleware(ASGIGraphQL(schema, context_value=frozen, execute_get_queries=True), authenticator())
wsgi = WSGIAuthMiddleware(WSGIGraphQL(schema, context_value=frozen, execute_get_queries=True), authenticator())
