"""Strawberry on FastAPI, with a browser app on another origin. Run: uvicorn examples.strawberry_fastapi:app

AUTHKIT_ISSUER and AUTHKIT_AUDIENCE say whose tokens are accepted; nothing is fetched before the first one.
"""

from __future__ import annotations

import os

import strawberry
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from strawberry.fastapi import GraphQLRouter

from graphql_authkit import Authenticator, JWTVerifier
from graphql_authkit.asgi import AuthMiddleware
from graphql_authkit.graphql import get_auth, require_auth
from graphql_authkit.integrations.strawberry import FreezeContext


@strawberry.type
class Query:
    @strawberry.field
    def me(self, info: strawberry.Info) -> str:
        return require_auth(info).subject

    @strawberry.field
    def salary(self, info: strawberry.Info) -> int | None:
        return 100_000 if "read:salary" in get_auth(info).scopes else None


auth = Authenticator(
    JWTVerifier.from_issuer(
        os.environ.get("AUTHKIT_ISSUER", "https://tenant.eu.auth0.com/"),
        audience=os.environ.get("AUTHKIT_AUDIENCE", "https://api.example/graphql"),
    )
)
app = FastAPI()
app.include_router(GraphQLRouter(strawberry.Schema(Query, extensions=[FreezeContext])), prefix="/graphql")
app.add_middleware(AuthMiddleware, auth=auth, paths=["/graphql"])
# Added last, so it runs first: a browser reads a 401 only if it carries the CORS headers.
app.add_middleware(
    CORSMiddleware,
    allow_origins=["https://app.example"],
    allow_methods=["POST"],
    allow_headers=["authorization", "content-type"],
    expose_headers=["www-authenticate"],
)
