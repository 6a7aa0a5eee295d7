"""What the served apps share: a pipeline from the environment, a counter, a meeting point, and resolvers."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from graphql_authkit import ANONYMOUS, JWKS, Authenticator, JWTVerifier
from graphql_authkit.asgi import ASGIApp, Receive, Scope, Send
from graphql_authkit.graphql import get_auth, require_auth

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ASYNC_PARTIES = 100
THREAD_PARTIES = 4
MEETING_SECONDS = 20.0
PUBLIC = ["/count"]
SDL = """
type Query {
    me: String
    caller: String
    kind: String
    write(what: String!): String
    together: String
}
"""


def authenticator() -> Authenticator:
    """For the tokens of the issuer whose key set, name and audience are in the environment."""
    environ = os.environ
    keys = JWKS(environ["AUTHKIT_JWKS"])
    return Authenticator(JWTVerifier(keys=keys, issuer=environ["AUTHKIT_ISSUER"], audience=environ["AUTHKIT_AUDIENCE"]))


# ----------------------------------------------------------------------------------------- counting


class CountingASGI:
    """Stands right behind the middleware: counts what gets past it, and answers the number at `/count`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/count":
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps({"count": self._count}).encode()})
            return
        self._count += scope["type"] == "http"
        await self._app(scope, receive, send)


class CountingWSGI:
    """CountingASGI for WSGI, in one process of several threads."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._count = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/count":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps({"count": self._count}).encode()]
        with self._lock:
            self._count += 1
        return self._app(environ, start_response)


# ---------------------------------------------------------------------------------------- resolvers


_tasks = asyncio.Barrier(ASYNC_PARTIES)
_threads = threading.Barrier(THREAD_PARTIES, timeout=MEETING_SECONDS)


def told(info: Any) -> str:
    """Who is calling, by every way there is."""
    return f"{require_auth(info).subject} {get_auth(info).subject}"


async def atogether(info: Any) -> str:
    """Who was calling before, and who is after, this many operations were all inside a resolver at once."""
    before = told(info)
    async with asyncio.timeout(MEETING_SECONDS):
        await _tasks.wait()
    return f"{before} {told(info)}"


def together(info: Any) -> str:
    """`atogether`, of as many threads as gunicorn has here."""
    before = told(info)
    _threads.wait()
    return f"{before} {told(info)}"


def _replace_item(info: Any) -> None:
    info.context["auth"] = ANONYMOUS


def _replace_attribute(info: Any) -> None:
    info.context.auth = ANONYMOUS


def _add_item(info: Any) -> None:
    info.context["extra"] = "x"


def _add_attribute(info: Any) -> None:
    info.context.extra = "x"


def _delete_item(info: Any) -> None:
    del info.context["request"]


def _change_subject(info: Any) -> None:
    get_auth(info).subject = "mallory"  # type: ignore[misc]


def _change_claim(info: Any) -> None:
    get_auth(info).claims["sub"] = "mallory"  # type: ignore[index]


def _change_request(info: Any) -> None:
    request = info.context["request"]
    if isinstance(request, dict):  # a WSGI environ
        request["note"] = "x"
    else:
        request.note = "x"


WRITES: dict[str, Callable[[Any], None]] = {
    "replace item": _replace_item,
    "replace attribute": _replace_attribute,
    "add item": _add_item,
    "add attribute": _add_attribute,
    "delete item": _delete_item,
    "change subject": _change_subject,
    "change claim": _change_claim,
    "change request": _change_request,
}


def write(info: Any, what: str) -> str:
    """Try to write, and tell who is calling thereafter."""
    WRITES[what](info)
    return f"written, and the caller is {get_auth(info).subject}"


def kind(info: Any) -> str:
    """What sort of context this is."""
    return type(info.context).__name__


def resolvers(meet: Callable[[Any], Any]) -> dict[str, Callable[..., Any]]:
    """For SDL, in the form that graphql-core takes as the root value: called with `info` and the arguments."""
    return {
        "me": lambda info: require_auth(info).subject,
        "caller": lambda info: get_auth(info).subject,
        "kind": kind,
        "write": write,
        "together": meet,
    }
