"""The apps that `benchmarks.http` has uvicorn serve: each bare, and behind our middleware."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import graphql

from benchmarks.material import pipeline, verifier
from graphql_authkit import JWKS
from graphql_authkit.asgi import AuthMiddleware

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY = b"20 bytes, no more. \n"
SCHEMA = graphql.build_schema("""
    type Query { me: User }
    type User { id: ID, name: String, email: String, posts: [Post] }
    type Post { title: String }
""")
ROOT = {
    "me": {"id": "1", "name": "Alice", "email": "alice@example.com", "posts": [{"title": "One"}, {"title": "Two"}]},
}


async def _answer(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _bare(_scope: Any, _receive: Receive, send: Send) -> None:
    await _answer(send, BODY)


async def _graphql(_scope: Any, receive: Receive, send: Send) -> None:
    data, more = b"", True
    while more:
        message = await receive()
        data += message.get("body", b"")
        more = message.get("more_body", False)
    result = await graphql.graphql(SCHEMA, json.loads(data)["query"], ROOT)
    await _answer(send, json.dumps(result.formatted).encode())


def _guarded(app: Any) -> AuthMiddleware:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # uvicorn loads apps within its loop, where to revoke blocks
        return AuthMiddleware(app, pipeline(verifier(JWKS(os.environ["BENCHMARK_JWKS"]))))


def bare() -> Any:
    return _bare


def bare_guarded() -> Any:
    return _guarded(_bare)


def graphql_core() -> Any:
    return _graphql


def graphql_core_guarded() -> Any:
    return _guarded(_graphql)
