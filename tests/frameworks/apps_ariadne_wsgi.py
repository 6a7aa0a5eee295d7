"""Ariadne on WSGI: `/graphql` with a frozen context, `/bare` with Ariadne's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ariadne import make_executable_schema
from ariadne.wsgi import GraphQL

from graphql_authkit.graphql import FrozenContext, freeze
from graphql_authkit.wsgi import AuthMiddleware
from tests.frameworks.parts import PUBLIC, SDL, CountingWSGI, authenticator, resolvers, together

schema = make_executable_schema(SDL)


def frozen_context(environ: dict[str, Any], _data: Any) -> FrozenContext:
    return freeze({"request": environ})


def root_value(_context: Any, _operation: Any, _variables: Any, _document: Any) -> Any:
    return resolvers(together)


apps = {
    "/graphql": GraphQL(schema, context_value=frozen_context, root_value=root_value),
    "/bare": GraphQL(schema, root_value=root_value),
}


def routes(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return apps[environ["PATH_INFO"]](environ, start_response)


app = AuthMiddleware(CountingWSGI(routes), authenticator(), public_paths=PUBLIC)
