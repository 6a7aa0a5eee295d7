"""Strawberry on FastAPI, as it comes, behind the middleware, and for a page on another origin.

`ISSUER` is as in `apps`; `PAGE_ORIGIN` is the page's.
"""

from __future__ import annotations

import os
from typing import Any

import strawberry
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from strawberry.fastapi import GraphQLRouter

from graphql_authkit.asgi import AuthMiddleware
from graphql_authkit.graphql import require_auth
from graphql_authkit.integrations.strawberry import FreezeContext
from tests.peers.apps import authenticator


@strawberry.type
class Query:
    @strawberry.field
    def me(self, info: strawberry.Info) -> str:
        return require_auth(info).subject


def served(**options: Any) -> FastAPI:
    app = FastAPI()
    app.include_router(GraphQLRouter(strawberry.Schema(Query, **options)), prefix="/graphql")
    return app


def guard(app: FastAPI) -> None:
    app.add_middleware(AuthMiddleware, auth=authenticator(), paths=["/graphql"])


def admit_page(app: FastAPI) -> None:
    app.add_middleware(
        CORSMiddleware,
        allow_origins=[os.environ.get("PAGE_ORIGIN", "https://app.example")],
        allow_methods=["POST"],
        allow_headers=["authorization", "content-type"],
        expose_headers=["www-authenticate"],
        max_age=0,  # each request has its own preflight, so that tests can count them
    )


bare = served()

guarded = served(extensions=[FreezeContext])
guard(guarded)

for_page = served(extensions=[FreezeContext])
guard(for_page)
admit_page(for_page)  # added last, so it runs first

inside_out = served(extensions=[FreezeContext])
admit_page(inside_out)
guard(inside_out)
