"""graphql-core on Flask: `/graphql` by this library's `execute_sync`, `/bare` without any context."""

from __future__ import annotations

from typing import Any

import graphql
from flask import Flask, request
from graphql import build_schema, parse

from graphql_authkit.graphql import execute_sync
from graphql_authkit.wsgi import AuthMiddleware
from tests.frameworks.parts import PUBLIC, SDL, CountingWSGI, authenticator, resolvers, together

schema = build_schema(SDL)
app = Flask(__name__)


@app.post("/graphql")
def frozen() -> Any:
    body = request.get_json()
    context = {"request": request._get_current_object()}  # type: ignore[attr-defined]
    result = execute_sync(
        schema,
        parse(body["query"]),
        context_value=context,
        root_value=resolvers(together),
        variable_values=body["variables"],
    )
    return result.formatted


@app.post("/bare")
def bare() -> Any:
    body = request.get_json()
    result = graphql.graphql_sync(schema, body["query"], resolvers(together), variable_values=body["variables"])
    return result.formatted


app.wsgi_app = AuthMiddleware(CountingWSGI(app.wsgi_app), authenticator(), public_paths=PUBLIC)  # type: ignore[method-assign]
