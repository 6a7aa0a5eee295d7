"""The WSGI adapter: it translates between PEP 3333 and the pipeline, and decides nothing."""

from __future__ import annotations

import http.client
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ._gate import FIELDS, Gate, is_preflight, is_preflight_field
from .authenticator import Authenticator, serving
from .errors import AuthError, ConfigurationError
from .logout import MAX_BODY_BYTES, BackChannelLogout
from .model import ANONYMOUS, ENVIRON_KEY, AuthContext, Request, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["ENVIRON_KEY", "AuthMiddleware", "logout_app"]

_FIELDS = {f"HTTP_{name.upper().replace('-', '_')}": name for name in FIELDS} | {"CONTENT_LENGTH": "content-length"}


class AuthMiddleware:
    """Authenticates every request before the app sees it.

    `app.wsgi_app = AuthMiddleware(app.wsgi_app, auth)`. The caller is in
    `environ["graphql_authkit.auth"]` and in `current_auth()`. REMOTE_USER is never set.

    Args:
        app: The WSGI application to guard.
        auth: The pipeline; its user loader and revocation store must be synchronous.
        paths: Guard these and all below them; () guards everything.
        public_paths: Leave these alone, such as `/health`, or `/docs/*`. Callers there are ANONYMOUS.
        optional: Let requests *without* credentials through as ANONYMOUS; never bad ones.
        realm: Named in challenges.

    Raises:
        ConfigurationError: See the messages; nothing is served half-guarded.
    """

    def __init__(
        self,
        app: WSGIApplication,
        auth: Authenticator,
        *,
        paths: Iterable[str] = (),
        public_paths: Iterable[str] = (),
        optional: bool = False,
        realm: str = "GraphQL",
    ) -> None:
        self._app = app
        self._auth = auth
        self._gate = Gate(auth, paths=paths, public_paths=public_paths, optional=optional, realm=realm)
        if auth.is_async_only:
            raise ConfigurationError("WSGI cannot await: load_user and the revocation store must be synchronous")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        auth: AuthContext = ANONYMOUS
        if self._gate.guards_everything or self._guards(environ):
            if environ["REQUEST_METHOD"] == "OPTIONS" and is_preflight("OPTIONS", _fields(environ)):
                _make_bare(environ)
            else:
                try:
                    auth = self._authenticate(environ.get("HTTP_AUTHORIZATION"))
                except AuthError as error:
                    with serving(ANONYMOUS):
                        return self._refuse(error, environ, start_response)
        environ[ENVIRON_KEY] = auth
        return self._serve(auth, environ, start_response)

    def _authenticate(self, field: str | None) -> AuthContext:
        if field is not None and field.isascii():
            known = self._auth._recall_field(field.encode())
            if known is not None:
                return known
        request = Request([] if field is None else [("authorization", field)])
        return self._auth.authenticate(request, optional=self._gate.optional)

    def _guards(self, environ: WSGIEnvironment) -> bool:
        # A path without its leading slash is a trick: routers put it there, and read another path than we do.
        path = _decoded(environ.get("PATH_INFO", "")) or "/"
        return self._gate.guards(path, _decoded(environ.get("SCRIPT_NAME", "")))

    def _refuse(self, error: AuthError, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = self._gate.refusal(error, [value for name, value in _fields(environ) if name == "accept"])
        phrase = http.client.responses.get(response.status, "Refused")
        start_response(f"{response.status} {phrase}", list(response.headers))
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else response.body]

    def _serve(self, auth: AuthContext, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = serving(auth)
        try:
            body = self._app(environ, start_response)
        except BaseException:
            request.end()
            raise
        if isinstance(body, list | tuple):  # finished: no more of the app runs
            request.end()
            return body
        request.pause()
        return _Body(body, request)


def logout_app(logout: BackChannelLogout) -> WSGIApplication:
    """A WSGI app for the provider to post logout tokens to; mount it where the middleware does not guard.

    Raises:
        ConfigurationError: The revocation store is asynchronous.
    """
    if logout.is_async_only:
        raise ConfigurationError("WSGI cannot await: the revocation store must be synchronous")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST":
            response = Response(405, (("Allow", "POST"), ("Content-Length", "0")), b"")
        else:
            length = environ.get("CONTENT_LENGTH") or "0"
            size = min(int(length), MAX_BODY_BYTES + 1) if length.isascii() and length.isdigit() else 0
            response = logout.handle(environ.get("CONTENT_TYPE", ""), environ["wsgi.input"].read(size))
        start_response(f"{response.status} {http.client.responses[response.status]}", list(response.headers))
        return [response.body]

    return app


class _Body:
    """An app's response, during whose iteration the app still runs; closing it ends the request."""

    __slots__ = ("_body", "_iterator", "_scope")

    def __init__(self, body: Iterable[bytes], scope: serving) -> None:
        self._body = body
        self._scope = scope
        self._iterator = scope.call(iter, body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._scope.call(next, self._iterator)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                self._scope.call(close)
        finally:
            self._scope.close()


def _fields(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    """Those that the gate looks at."""
    return [(name, environ[key]) for key, name in _FIELDS.items() if key in environ]


def _make_bare(environ: WSGIEnvironment) -> None:
    """Leave a preflight nothing that an app could take for a request of another kind."""
    for key in [key for key in environ if key.startswith("HTTP_")]:
        if not is_preflight_field(key[5:].lower().replace("_", "-")):
            del environ[key]
    environ.pop("CONTENT_TYPE", None)
    for key in ("RAW_URI", "REQUEST_URI"):  # of gunicorn and uWSGI, with the query
        if key in environ:
            environ[key] = environ[key].partition("?")[0]
    environ |= {"wsgi.input": io.BytesIO(), "CONTENT_LENGTH": "0", "QUERY_STRING": ""}


def _decoded(value: str) -> str:
    """What PEP 3333 passes as Latin-1 is bytes, and these are UTF-8 or a trick."""
    return value if value.isascii() else value.encode("latin-1", "replace").decode("utf-8", "replace")
