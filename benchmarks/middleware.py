"""What authentication adds to a request, in process and without a server: `python -m benchmarks.middleware`

RS256, twelve claims, 256 tokens in turn, each of them seen before; a request has eight header fields. Each case is
measured over the same app without it, and what the app itself takes is subtracted, round by round.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.middleware.authentication import AuthenticationMiddleware

from benchmarks.frameworks import Message, PyJWTBackend, auth0, bare_asgi, bare_wsgi, fastapi_app, flask_app
from benchmarks.harness import AsyncCase, Case, Group, Timed, check, measure
from benchmarks.material import KEY_ID, TOKENS, forged, key_set, pipeline, tokens, verifier
from benchmarks.results import Table, arguments, report
from graphql_authkit import PrivateKey, asgi, wsgi

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

ASGIApp = Callable[..., Awaitable[None]]

CALLS = 2 * TOKENS
ASGI_BAR, WSGI_BAR = 4.0, 3.0
FIELDS = {
    "Host": "api.example",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "Accept": "application/graphql-response+json, application/json;q=0.9",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en",
    "Origin": "https://app.example",
    "Referer": "https://app.example/",
}


def scope_of(token: str) -> dict[str, Any]:
    fields = FIELDS | {"Authorization": f"Bearer {token}"}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 443),
        "state": {},
    }


def environ_of(token: str) -> WSGIEnvironment:
    fields = FIELDS | {"Authorization": f"Bearer {token}"}
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/graphql",
        "QUERY_STRING": "",
        "SERVER_NAME": "api.example",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in fields.items()},
    }


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_message: Message) -> None: ...


def _start_response(_status: str, _headers: object, _exc_info: object = None) -> Callable[[bytes], object]:
    return lambda data: None


def _ask_asgi(app: ASGIApp, scopes: list[dict[str, Any]], number: int) -> Awaitable[None]:
    return app({**scopes[number % TOKENS]}, _receive, _send)


def _ask_wsgi(app: WSGIApplication, environs: list[WSGIEnvironment], number: int) -> None:
    body = app({**environs[number % TOKENS]}, _start_response)
    b"".join(body)
    if hasattr(body, "close"):
        body.close()


def _asgi_admits(runner: asyncio.Runner, app: ASGIApp, token: str) -> bool:
    statuses: list[int] = []

    async def send(message: Message) -> None:
        if "status" in message:
            statuses.append(message["status"])

    async def ask() -> None:
        await app(scope_of(token), _receive, send)

    runner.run(ask())
    return statuses == [200]


def _wsgi_admits(app: WSGIApplication, token: str) -> bool:
    statuses: list[str] = []

    def start_response(status: str, _headers: object, _exc_info: object = None) -> Callable[[bytes], object]:
        statuses.append(status)
        return lambda data: None

    b"".join(app(environ_of(token), start_response))
    return statuses[0].startswith("200")


def asgi_table(key: PrivateKey, rounds: int) -> Table:
    """ASGI apps, each awaited by one task of one event loop."""
    auth, given = pipeline(verifier(key_set(key))), tokens(key)
    scopes = [scope_of(token) for token in given]
    bare: Mapping[str, ASGIApp] = {"bare ASGI app": bare_asgi, "bare FastAPI": fastapi_app()}
    backend = PyJWTBackend(key)
    guarded: Mapping[str, tuple[str, ASGIApp]] = {
        "graphql-authkit": ("bare ASGI app", asgi.AuthMiddleware(bare_asgi, auth)),
        "Starlette's middleware, jwt.decode": ("bare ASGI app", AuthenticationMiddleware(bare_asgi, backend=backend)),
        "graphql-authkit on FastAPI": ("bare FastAPI", asgi.AuthMiddleware(fastapi_app(), auth)),
        "auth0-fastapi-api on FastAPI": ("bare FastAPI", fastapi_app([auth0(key)])),
    }
    with asyncio.Runner() as runner:
        for name, (_, app) in guarded.items():
            admits = partial(_asgi_admits, runner, app)
            check(name, partial(admits, given[0]), partial(admits, forged(given[0])))
        cases: list[Timed] = [
            AsyncCase(name, partial(_ask_asgi, app, scopes), runner, over=over) for name, (over, app) in guarded.items()
        ]
        cases += [AsyncCase(name, partial(_ask_asgi, app, scopes), runner) for name, app in bare.items()]
        group = Group("ASGI: added to a request (bare apps as they are)", cases, {}, {"graphql-authkit": ASGI_BAR})
        return measure(group, rounds=rounds, calls=CALLS)


def wsgi_table(key: PrivateKey, rounds: int) -> Table:
    """WSGI apps, called, read and closed."""
    auth, given = pipeline(verifier(key_set(key))), tokens(key)
    environs = [environ_of(token) for token in given]
    bare: Mapping[str, WSGIApplication] = {"bare WSGI app": bare_wsgi, "bare Flask": flask_app().wsgi_app}
    guarded: Mapping[str, tuple[str, WSGIApplication]] = {
        "graphql-authkit": ("bare WSGI app", wsgi.AuthMiddleware(bare_wsgi, auth)),
        "graphql-authkit on Flask": ("bare Flask", wsgi.AuthMiddleware(flask_app().wsgi_app, auth)),
        "flask-jwt-extended on Flask": ("bare Flask", flask_app(key).wsgi_app),
    }
    for name, (_, app) in guarded.items():
        admits = partial(_wsgi_admits, app)
        check(name, partial(admits, given[0]), partial(admits, forged(given[0])))
    cases: list[Timed] = [
        Case(name, partial(_ask_wsgi, app, environs), over=over) for name, (over, app) in guarded.items()
    ]
    cases += [Case(name, partial(_ask_wsgi, app, environs)) for name, app in bare.items()]
    group = Group("WSGI: added to a request (bare apps as they are)", cases, {}, {"graphql-authkit": WSGI_BAR})
    return measure(group, rounds=rounds, calls=CALLS)


def main() -> None:
    given = arguments(__doc__, "middleware", rounds=30)
    key = PrivateKey.generate("RS256", key_id=KEY_ID)
    tables = [asgi_table(key, given.rounds), wsgi_table(key, given.rounds)]
    packages = ("pyjwt", "starlette", "fastapi", "auth0-fastapi-api", "flask", "flask-jwt-extended")
    report(tables, given.json, packages)


if __name__ == "__main__":
    main()
