"""Ariadne on ASGI: `/graphql` with a frozen context, `/bare` with Ariadne's own."""

from __future__ import annotations

from typing import Any

from ariadne import make_executable_schema
from ariadne.asgi import GraphQL

from graphql_authkit.asgi import AuthMiddleware, Receive, Scope, Send
from graphql_authkit.graphql import FrozenContext, freeze
from tests.frameworks.parts import PUBLIC, SDL, CountingASGI, atogether, authenticator, resolvers

schema = make_executable_schema(SDL)


def frozen_context(request: Any, _data: Any) -> FrozenContext:
    return freeze({"request": request})


def root_value(_context: Any, _operation: Any, _variables: Any, _document: Any) -> Any:
    return resolvers(atogether)


apps = {
    "/graphql": GraphQL(schema, context_value=frozen_context, root_value=root_value),
    "/bare": GraphQL(schema, root_value=root_value),
}


async def routes(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError(f"{scope['type']} is not served here")  # uvicorn then goes without lifespan
    await apps[scope["path"]](scope, receive, send)


app = AuthMiddleware(CountingASGI(routes), authenticator(), public_paths=PUBLIC)
