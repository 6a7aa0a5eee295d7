"""The ASGI adapter: it translates between ASGI 3 and the pipeline, and decides nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from ._gate import FIELDS, Gate, is_preflight, is_preflight_field
from .authenticator import Authenticator, serving
from .errors import AuthError
from .logout import MAX_BODY_BYTES, BackChannelLogout
from .model import ANONYMOUS, STATE_KEY, AuthContext, Request, Response

__all__ = ["AuthMiddleware", "logout_app"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_FIELDS = frozenset(name.encode() for name in FIELDS)


class AuthMiddleware:
    """Authenticates every HTTP request and WebSocket handshake before the app sees it.

    `AuthMiddleware(app, auth)`, or `app.add_middleware(AuthMiddleware, auth=auth)`. The caller is in
    `scope["state"]["auth"]`, which Starlette shows as `request.state.auth`, and in `current_auth()`.

    Args:
        app: The ASGI application to guard.
        auth: The pipeline.
        paths: Guard these and all below them; () guards everything.
        public_paths: Leave these alone, such as `/health`, or `/docs/*`. Callers there are ANONYMOUS.
        optional: Let HTTP requests *without* credentials through as ANONYMOUS; never bad ones.
        realm: Named in challenges.
        set_scope_user: Also set Starlette's `scope["auth"]` and `scope["user"]`, for `@requires`.

    Raises:
        ConfigurationError: See the messages; nothing is served half-guarded.
    """

    def __init__(
        self,
        app: ASGIApp,
        auth: Authenticator,
        *,
        paths: Iterable[str] = (),
        public_paths: Iterable[str] = (),
        optional: bool = False,
        realm: str = "GraphQL",
        set_scope_user: bool = False,
    ) -> None:
        self._app = app
        self._auth = auth
        self._gate = Gate(auth, paths=paths, public_paths=public_paths, optional=optional, realm=realm)
        self._set_scope_user = set_scope_user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        if kind != "http" and kind != "websocket":
            raise RuntimeError(f"nothing is known here of ASGI {kind!r}, so nothing of it is let through")
        auth: AuthContext = ANONYMOUS
        may_be_preflight = kind == "http" and scope["method"] == "OPTIONS"
        if may_be_preflight:
            scope = {**scope, "headers": list(scope["headers"])}  # any iterable, by the specification
        if self._gate.guards_everything or self._guards(scope):
            if may_be_preflight and is_preflight("OPTIONS", _fields(scope)):
                scope, receive = _bare(scope), _without_body(receive)
            else:
                # Names are compared in lower case, though the specification has servers send them so.
                values = []
                for name, value in scope["headers"]:
                    if len(name) == 13 and name.lower() == b"authorization":
                        values.append(value)
                try:
                    known = self._auth._recall_field(values[0]) if len(values) == 1 else None
                    auth = await self._authenticate(scope, values) if known is None else known
                except AuthError as error:
                    await self._refuse(error, scope, receive, send)
                    return
        # Copies: servers share one state among all requests, and the scope is the caller's own.
        state = scope.get("state")
        scope = {**scope, "state": {**state, STATE_KEY: auth} if state else {STATE_KEY: auth}}
        if self._set_scope_user:
            scope["auth"] = auth
            scope["user"] = _StarletteUser(auth)
        request = serving(auth)
        try:
            await self._app(scope, receive, send)
        finally:
            request.end()

    async def _authenticate(self, scope: Scope, values: list[bytes]) -> AuthContext:
        # Anonymous sockets are refused even where anonymous requests may pass: nothing bounds them yet.
        optional = self._gate.optional and scope["type"] == "http"
        request = Request([("authorization", value.decode("latin-1")) for value in values])
        return await self._auth.aauthenticate(request, optional=optional)

    async def _refuse(self, error: AuthError, scope: Scope, receive: Receive, send: Send) -> None:
        accept = [value for name, value in _fields(scope) if name == "accept"]
        with serving(ANONYMOUS):
            await _refuse(scope, receive, send, self._gate.refusal(error, accept))

    def _guards(self, scope: Scope) -> bool:
        path, root = scope["path"], scope.get("root_path", "")
        if root != "/" and (
            path == root or path.startswith(root + "/")
        ):  # else the server says the path without its root
            path = path.removeprefix(root) or "/"
        return self._gate.guards(path, root, scope.get("raw_path") or b"")


def _fields(scope: Scope) -> list[tuple[str, str]]:
    """Those that the gate looks at."""
    lower = ((name.lower(), value) for name, value in scope["headers"])
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in lower if name in _FIELDS]


def _bare(scope: Scope) -> Scope:
    """A preflight without anything that an app could take for a request of another kind."""
    headers = [(name, value) for name, value in scope["headers"] if is_preflight_field(name.lower().decode("latin-1"))]
    return {**scope, "headers": headers, "query_string": b""}


def _without_body(receive: Receive) -> Receive:
    """An empty body, and then the client's disconnect and nothing else: apps wait for it while they answer."""
    is_told = False

    async def bare() -> MutableMapping[str, Any]:
        nonlocal is_told
        if not is_told:
            is_told = True
            return {"type": "http.request", "body": b"", "more_body": False}
        message = await receive()
        while message["type"] != "http.disconnect":
            message = await receive()
        return message

    return bare


class _StarletteUser:
    """Starlette's BaseUser interface over an AuthContext."""

    __slots__ = ("auth",)

    def __init__(self, auth: AuthContext) -> None:
        self.auth = auth

    @property
    def is_authenticated(self) -> bool:
        return self.auth.is_authenticated

    @property
    def display_name(self) -> str:
        return self.auth.subject or ""

    identity = display_name


async def _refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()  # websocket.connect: a handshake is answered after it was heard
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008, "reason": ""})  # servers answer 403
            return
        kind = "websocket.http.response"
    await _respond(send, kind, response, b"" if scope.get("method") == "HEAD" else response.body)


def logout_app(logout: BackChannelLogout) -> ASGIApp:
    """An ASGI app for the provider to post logout tokens to; mount it where the middleware does not guard."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("logout tokens come by HTTP")
        if scope["method"] != "POST":
            response = Response(405, (("Allow", "POST"), ("Content-Length", "0")), b"")
        else:
            types = [value for name, value in scope["headers"] if name.lower() == b"content-type"]
            content_type = types[0].decode("latin-1") if len(types) == 1 else ""
            response = await logout.ahandle(content_type, await _body(receive, MAX_BODY_BYTES))
        await _respond(send, "http.response", response, response.body)

    return app


async def _body(receive: Receive, limit: int) -> bytes:
    """The whole body, or a little more than the limit of one that is longer."""
    body = b""
    while len(body) <= limit:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            break
    return body


async def _respond(send: Send, kind: str, response: Response, body: bytes) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": f"{kind}.start", "status": response.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
