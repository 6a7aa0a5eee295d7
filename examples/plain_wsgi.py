"""graphql-core behind a WSGI server. Run: gunicorn --threads 4 examples.plain_wsgi:app

AUTHKIT_ISSUER and AUTHKIT_AUDIENCE say whose tokens are accepted; nothing is fetched before the first one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from graphql import GraphQLError, build_schema, parse, validate

from graphql_authkit import Authenticator, JWTVerifier
from graphql_authkit.graphql import execute_sync, require_auth
from graphql_authkit.wsgi import AuthMiddleware

MAX_BODY_BYTES = 100_000

schema = build_schema("type Query { me: String  scopes: [String!] }")
root = {
    "me": lambda info: require_auth(info).subject,
    "scopes": lambda info: sorted(require_auth(info).scopes),
}


def answer(text: str) -> dict[str, Any]:
    try:
        document = parse(text)
    except GraphQLError as error:
        return {"errors": [error.formatted]}
    errors = validate(schema, document)
    if errors:
        return {"errors": [error.formatted for error in errors]}
    return dict(execute_sync(schema, document, root_value=root).formatted)


def graphql_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    try:
        if length > MAX_BODY_BYTES:
            raise ValueError("too long")
        text = json.loads(environ["wsgi.input"].read(length))["query"]
        status, body = "200 OK", answer(text)
    except (ValueError, KeyError, TypeError):
        status, body = "400 Bad Request", {"errors": [{"message": 'The body is not {"query": "…"}.'}]}
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]


auth = Authenticator(
    JWTVerifier.from_issuer(
        os.environ.get("AUTHKIT_ISSUER", "https://tenant.eu.auth0.com/"),
        audience=os.environ.get("AUTHKIT_AUDIENCE", "https://api.example/graphql"),
    )
)
app = AuthMiddleware(graphql_app, auth)
