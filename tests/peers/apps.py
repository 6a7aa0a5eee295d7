"""A GraphQL server as an ASGI and as a WSGI app, each behind its adapter, for the issuer in the environment.

`ISSUER` is where tokens come from; `PROFILE` is the verifier's, if not the usual one. All that can be
logged is.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from graphql import GraphQLField, GraphQLObjectType, GraphQLResolveInfo, GraphQLSchema, GraphQLString, parse

from graphql_authkit import Authenticator, JWTVerifier
from graphql_authkit.asgi import AuthMiddleware as ASGIAuthMiddleware
from graphql_authkit.claims import Profile
from graphql_authkit.graphql import execute_sync, require_auth
from graphql_authkit.wsgi import AuthMiddleware as WSGIAuthMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from graphql_authkit.asgi import Receive, Scope, Send


logging.basicConfig(level=logging.DEBUG)


def resolve_me(_root: object, info: GraphQLResolveInfo[Any]) -> str:
    return require_auth(info).subject


schema = GraphQLSchema(GraphQLObjectType("Query", {"me": GraphQLField(GraphQLString, resolve=resolve_me)}))


def answer(body: bytes) -> bytes:
    return json.dumps(execute_sync(schema, parse(json.loads(body)["query"])).formatted).encode()


async def graphql_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError(f"{scope['type']} is not served here")  # uvicorn then goes without lifespan
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer(body)})


def graphql_wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    data = answer(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return [data]


def authenticator() -> Authenticator:
    options: dict[str, Any] = {"profile": cast(Profile, os.environ.get("PROFILE", "access_token"))}
    return Authenticator(JWTVerifier.from_issuer(os.environ["ISSUER"], audience="https://api.test/graphql", **options))


asgi = ASGIAuthMiddleware(graphql_asgi, authenticator())
wsgi = WSGIAuthMiddleware(graphql_wsgi, authenticator())
