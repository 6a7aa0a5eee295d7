"""Graphene on Flask: `/graphql` with a frozen context, `/bare` with a `graphene.Context`."""

from __future__ import annotations

from typing import Any

import graphene  # type: ignore[import-not-found]
from flask import Flask, request

from graphql_authkit.graphql import freeze, get_auth, require_auth
from graphql_authkit.wsgi import AuthMiddleware
from tests.frameworks import parts


class Query(graphene.ObjectType):  # type: ignore[misc]
    me = graphene.String()
    caller = graphene.String()
    kind = graphene.String()
    write = graphene.String(what=graphene.String(required=True))
    together = graphene.String()

    def resolve_me(self, info: graphene.ResolveInfo) -> str:
        return require_auth(info).subject

    def resolve_caller(self, info: graphene.ResolveInfo) -> str | None:
        return get_auth(info).subject

    def resolve_kind(self, info: graphene.ResolveInfo) -> str:
        return parts.kind(info)

    def resolve_write(self, info: graphene.ResolveInfo, what: str) -> str:
        return parts.write(info, what)

    def resolve_together(self, info: graphene.ResolveInfo) -> str:
        return parts.together(info)


schema = graphene.Schema(query=Query)
app = Flask(__name__)


@app.post("/graphql")
def graphql() -> Any:
    body = request.get_json()
    context = freeze({"request": request._get_current_object()})  # type: ignore[attr-defined]
    return schema.execute(body["query"], variables=body["variables"], context_value=context).formatted


@app.post("/bare")
def bare() -> Any:
    body = request.get_json()
    context = graphene.Context(request=request._get_current_object())  # type: ignore[attr-defined]
    return schema.execute(body["query"], variables=body["variables"], context_value=context).formatted


app.wsgi_app = AuthMiddleware(  # type: ignore[method-assign]
    parts.CountingWSGI(app.wsgi_app), parts.authenticator(), public_paths=parts.PUBLIC
)
