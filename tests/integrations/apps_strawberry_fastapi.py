"""Strawberry on FastAPI: `/graphql` with a context getter, `/default` without, both frozen; `/bare` is not."""

from __future__ import annotations

from typing import Any

import strawberry
from fastapi import FastAPI
from strawberry.fastapi import GraphQLRouter

from graphql_authkit.asgi import AuthMiddleware
from graphql_authkit.graphql import get_auth, require_auth
from graphql_authkit.integrations.strawberry import FreezeContext
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
    async def together(self, info: strawberry.Info) -> str | None:
        return await parts.atogether(info)


async def context() -> dict[str, Any]:
    return {"loader": "of the application"}


frozen = strawberry.Schema(Query, extensions=[FreezeContext])
app = FastAPI()
app.include_router(GraphQLRouter(frozen, context_getter=context), prefix="/graphql")
app.include_router(GraphQLRouter(frozen), prefix="/default")
app.include_router(GraphQLRouter(strawberry.Schema(Query)), prefix="/bare")
app.add_middleware(parts.CountingASGI)
app.add_middleware(AuthMiddleware, auth=parts.authenticator(), public_paths=parts.PUBLIC)
