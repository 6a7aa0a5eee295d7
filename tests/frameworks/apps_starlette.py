"""graphql-core on Starlette: `/graphql` by this library's `execute`, `/bare` without any context, in a thread."""

from __future__ import annotations

from typing import Any

import graphql
from graphql import build_schema, parse
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from graphql_authkit.asgi import AuthMiddleware
from graphql_authkit.graphql import execute
from tests.frameworks.parts import PUBLIC, SDL, CountingASGI, atogether, authenticator, resolvers, together

schema = build_schema(SDL)


async def frozen(request: Request) -> JSONResponse:
    body = await request.json()
    result: Any = execute(
        schema,
        parse(body["query"]),
        context_value={"request": request},
        root_value=resolvers(atogether),
        variable_values=body["variables"],
    )
    if not isinstance(result, graphql.ExecutionResult):
        result = await result
    return JSONResponse(result.formatted)


async def bare(request: Request) -> JSONResponse:
    body = await request.json()
    result = await run_in_threadpool(
        graphql.graphql_sync, schema, body["query"], resolvers(together), variable_values=body["variables"]
    )
    return JSONResponse(result.formatted)


app = Starlette(
    routes=[Route("/graphql", frozen, methods=["POST"]), Route("/bare", bare, methods=["POST"])],
    middleware=[
        Middleware(AuthMiddleware, auth=authenticator(), public_paths=PUBLIC),
        Middleware(CountingASGI),
    ],
)
