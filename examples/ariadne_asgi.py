"""Ariadne as an ASGI app, with a user loader. Run: uvicorn examples.ariadne_asgi:app

AUTHKIT_ISSUER and AUTHKIT_AUDIENCE say whose tokens are accepted; nothing is fetched before the first one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ariadne import QueryType, make_executable_schema
from ariadne.asgi import GraphQL

from graphql_authkit import Authenticator, JWTVerifier, VerifiedToken
from graphql_authkit.asgi import AuthMiddleware
from graphql_authkit.graphql import freeze, require_auth

query = QueryType()


@dataclass(frozen=True)
class User:
    name: str


async def find_user(token: VerifiedToken) -> User | None:
    """Ask your own database; None refuses the token."""
    return User(name=token.subject.title())


@query.field("me")
def me(_source: None, info: Any) -> str:
    user: User = require_auth(info).user
    return user.name


def frozen_context(request: Any, _data: Any) -> Any:
    return freeze({"request": request})


schema = make_executable_schema("type Query { me: String }", query)
auth = Authenticator(
    JWTVerifier.from_issuer(
        os.environ.get("AUTHKIT_ISSUER", "https://tenant.eu.auth0.com/"),
        audience=os.environ.get("AUTHKIT_AUDIENCE", "https://api.example/graphql"),
    ),
    load_user=find_user,
)
app = AuthMiddleware(GraphQL(schema, context_value=frozen_context), auth, public_paths=["/health"])
