"""Real routers behind several doors, on ASGI and WSGI: a request picks its door by `X-Door`.

What a handler answers carries `X-Handler`, with its name and who it believes is calling; nobody else's answer does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask
from flask import Response as FlaskResponse
from flask import request as flask_request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from graphql_authkit import asgi, current_auth, wsgi
from tests.frameworks.parts import authenticator

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

AUTH = authenticator()
DOORS: dict[str, Any] = {
    "all": {},
    "optional": {"optional": True},
    "named": {"paths": ["/graphql"]},
    "public": {"public_paths": ["/public/*", "/health"]},
    "both": {"paths": ["/graphql", "/public/graphql"], "public_paths": ["/public/*"]},
}


def note(handler: str, fields: Iterable[str]) -> dict[str, str]:
    """Who is calling whom, and which fields came through that might override the method."""
    overrides = sorted(name.lower() for name in fields if "method-override" in name.lower())
    return {"X-Handler": json.dumps([handler, current_auth().subject]), "X-Overrides": json.dumps(overrides)}


# --------------------------------------------------------------------------------------------- ASGI


def endpoint(name: str) -> Any:
    async def handle(request: Request) -> Response:
        return Response(await request.body(), headers=note(name, request.headers))

    return handle


router = Starlette(
    routes=[
        Route("/graphql", endpoint("graphql"), methods=["GET", "POST", "OPTIONS"]),
        Route("/public/graphql", endpoint("inner"), methods=["GET", "POST"]),
        Route("/public/{rest:path}", endpoint("public"), methods=["GET", "POST"]),
        Mount("/mount", routes=[Route("/graphql", endpoint("mounted"), methods=["GET", "POST"])]),
    ]
)
asgi_doors: dict[str, asgi.ASGIApp] = {
    name: asgi.AuthMiddleware(router, AUTH, **options) for name, options in DOORS.items()
}


async def asgi_app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    if scope["type"] != "http":
        await router(scope, receive, send)
        return
    await asgi_doors[dict(scope["headers"]).get(b"x-door", b"all").decode()](scope, receive, send)


# --------------------------------------------------------------------------------------------- WSGI

flask = Flask(__name__)


def rule(path: str, name: str, *methods: str) -> None:
    def handle(**_parts: str) -> FlaskResponse:
        return FlaskResponse("", headers=note(name, flask_request.headers.keys()))

    flask.add_url_rule(path, name, handle, methods=["GET", "POST", *methods], provide_automatic_options=False)


rule("/graphql", "graphql", "OPTIONS")
rule("/public/graphql", "inner")
rule("/public/<path:rest>", "public")
rule("/mount/graphql", "mounted")
wsgi_doors = {name: wsgi.AuthMiddleware(flask.wsgi_app, AUTH, **options) for name, options in DOORS.items()}


def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return wsgi_doors[environ.get("HTTP_X_DOOR", "all")](environ, start_response)
