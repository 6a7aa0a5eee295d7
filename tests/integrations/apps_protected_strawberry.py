"""A protected schema of Strawberry, on FastAPI."""

from __future__ import annotations

from typing import Any

import strawberry
from fastapi import FastAPI
from strawberry.fastapi import GraphQLRouter

from graphql_authkit.asgi import AuthMiddleware
from graphql_authkit.authorization import PUBLIC
from graphql_authkit.graphql import protect
from graphql_authkit.integrations.strawberry import FreezeContext
from tests.frameworks.parts import authenticator
from tests.frameworks.protected import RULES, Resolvers

resolvers = Resolvers()


@strawberry.interface
class Node:
    id: str | None


@strawberry.type
class User(Node):
    name: str | None
    email: str | None


@strawberry.type
class Robot(Node):
    serial: str | None


@strawberry.type
class Account:
    id: str | None
    number: str


def _made(value: dict[str, Any]) -> Node:
    kind: Any = {"User": User, "Robot": Robot}[value["type"]]
    made: Node = kind(**{name: one for name, one in value.items() if name != "type"})
    return made


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str | None:
        return str(resolvers.of("hello"))

    @strawberry.field
    async def me(self) -> User | None:
        return _made(resolvers.of("me"))  # type: ignore[return-value]

    @strawberry.field
    def users(self) -> list[User | None] | None:
        return [_made(one) for one in resolvers.of("users")]  # type: ignore[misc]

    @strawberry.field
    def nodes(self) -> list[Node | None] | None:
        return [_made(one) for one in resolvers.of("nodes")]

    @strawberry.field
    def account(self) -> Account | None:
        return Account(**resolvers.of("account"))

    @strawberry.field
    def ran(self) -> list[str] | None:
        return resolvers.ran()


@strawberry.type
class Mutation:
    @strawberry.mutation
    def login(self) -> str | None:
        return str(resolvers.of("login"))

    @strawberry.mutation
    async def rename(self) -> User | None:
        return _made(resolvers.of("rename"))  # type: ignore[return-value]


unprotected = strawberry.Schema(Query, Mutation, types=[User, Robot], extensions=[FreezeContext])
schema = protect(unprotected, rules={**RULES, "Query.ran": PUBLIC})
app = FastAPI()
app.include_router(GraphQLRouter(schema), prefix="/graphql")
app.add_middleware(AuthMiddleware, auth=authenticator(), optional=True)
