"""Apps without authentication, and what other libraries put in front of them; all answer the same on `/graphql`."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

import fastapi
import flask
import flask_jwt_extended
import jwt
from fastapi.responses import PlainTextResponse
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    SimpleUser,
)
from starlette.requests import HTTPConnection

from benchmarks.material import AUDIENCE, ISSUER, pem
from graphql_authkit import PrivateKey

with warnings.catch_warnings():
    from authlib.deprecate import AuthlibDeprecationWarning

    warnings.simplefilter("ignore", AuthlibDeprecationWarning)  # of authlib.jose, which it imports
    from fastapi_plugin import Auth0FastAPI

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Message = MutableMapping[str, Any]
BODY = b'{"data":{"me":"yes"}}'


async def bare_asgi(_scope: Any, _receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
    """The least that is an ASGI app."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": BODY})


def bare_wsgi(_environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """The least that is a WSGI app."""
    start_response("200 OK", [("Content-Type", "application/json")])
    return [BODY]


def fastapi_app(dependencies: Iterable[Any] = ()) -> fastapi.FastAPI:
    """One route, and what it depends on."""
    app = fastapi.FastAPI()

    @app.get("/graphql", dependencies=list(dependencies))
    async def read() -> PlainTextResponse:
        return PlainTextResponse(BODY)

    return app


def auth0(key: PrivateKey) -> Any:
    """auth0-fastapi-api's dependency; its metadata and keys come from memory."""
    documents: dict[str, Any] = {
        "openid-configuration": {"issuer": ISSUER, "jwks_uri": f"{ISSUER}jwks.json"},
        "jwks.json": {"keys": [key.public_jwk()]},
    }

    async def fetch(url: str) -> Any:
        return documents[url.rpartition("/")[2]]

    domain = ISSUER.removeprefix("https://").strip("/")
    return fastapi.Depends(Auth0FastAPI(domain=domain, audience=AUDIENCE, custom_fetch=fetch).require_auth())


class PyJWTBackend(AuthenticationBackend):
    """What Starlette's documentation has one write, with PyJWT.

    Args:
        key: Its public half verifies; it is ready made.
    """

    def __init__(self, key: PrivateKey) -> None:
        self._public: Any = key._signing_material.public_key()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser]:
        scheme, _, token = conn.headers["Authorization"].partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationError("no Bearer token")
        try:
            claims = jwt.decode(token, self._public, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER)
        except jwt.InvalidTokenError as error:
            raise AuthenticationError("refused") from error
        return AuthCredentials(claims["scope"].split()), SimpleUser(claims["sub"])


def flask_app(key: PrivateKey | None = None) -> flask.Flask:
    """One route; flask-jwt-extended guards it where a key is given: PEM in the configuration, as it documents."""
    app = flask.Flask(__name__)

    def read() -> flask.Response:
        return flask.Response(BODY, content_type="application/json")

    if key is not None:
        app.config.update(
            JWT_ALGORITHM="RS256",
            JWT_PUBLIC_KEY=pem(key),
            JWT_DECODE_AUDIENCE=AUDIENCE,
            JWT_DECODE_ISSUER=ISSUER,
        )
        flask_jwt_extended.JWTManager(app)
        read = flask_jwt_extended.jwt_required()(read)
    app.add_url_rule("/graphql", view_func=read, endpoint="read")
    return app
