"""Strawberry on Flask: `/graphql` freezes its own context, `/default` by the extension; `/bare` is not frozen."""

from __future__ import annotations

import strawberry
from flask import Flask, Request, Response
from strawberry.flask.views import GraphQLView

from graphql_authkit.graphql import FrozenContext, freeze, get_auth, require_auth
from graphql_authkit.integrations.strawberry import FreezeContext
from graphql_authkit.wsgi import AuthMiddleware
from tests.frameworks import parts


@strawberry.type
class Query:
    @strawberry.field
    def me(self, info: strawberry.Info) -> str:
        return require_auth(info).subject

    @strawberry.field
    def caller(self, info: strawberry.Info) -> str | None:
        return get_auth(info).subject

    @strawberry.field
    def kind(self, info: strawberry.Info) -> str | None:
        return parts.kind(info)

    @strawberry.field
    def write(self, info: strawberry.Info, what: str) -> str | None:
        return parts.write(info, what)

    @strawberry.field
    def together(self, info: strawberry.Info) -> str | None:
        return parts.together(info)


class OwnContext(GraphQLView[FrozenContext, None]):
    def get_context(self, request: Request, response: Response) -> FrozenContext:
        return freeze({"request": request, "response": response})


bare = strawberry.Schema(Query)
frozen = strawberry.Schema(Query, extensions=[FreezeContext])
app = Flask(__name__)
app.add_url_rule("/graphql", view_func=OwnContext.as_view("graphql", schema=bare))
app.add_url_rule("/default", view_func=GraphQLView.as_view("default", schema=frozen))
app.add_url_rule("/bare", view_func=GraphQLView.as_view("bare", schema=bare))
app.wsgi_app = AuthMiddleware(  # type: ignore[method-assign]
    parts.CountingWSGI(app.wsgi_app), parts.authenticator(), public_paths=parts.PUBLIC
)
