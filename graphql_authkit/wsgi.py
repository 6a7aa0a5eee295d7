"""The WSGI adapter: it translates between PEP 3333 and the pipeline, and decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ._gate import FIELDS, Gate, is_preflight
from .authenticator import ENVIRON_KEY, Authenticator, serving
from .errors import AuthError, ConfigurationError
from .model import ANONYMOUS, AuthContext, Request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["ENVIRON_KEY", "AuthMiddleware"]

_FIELDS = tuple((f"HTTP_{name.upper().replace('-', '_')}", name) for name in sorted(FIELDS))


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
        self._gate = Gate(auth, paths=paths, public_paths=public_paths, optional=optional, realm=realm)
        if auth.is_async_only:
            raise ConfigurationError("WSGI cannot await: load_user and the revocation store must be synchronous")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        fields = [(name, environ[key]) for key, name in _FIELDS if key in environ]
        try:
            auth = self._admit(environ, fields)
        except AuthError as error:
            accept = [value for name, value in fields if name == "accept"]
            with serving(ANONYMOUS):
                response = self._gate.refusal(error, accept)
                status = f"{response.status} {HTTPStatus(response.status).phrase}"
                start_response(status, list(response.headers))
                return [b"" if environ["REQUEST_METHOD"] == "HEAD" else response.body]
        environ[ENVIRON_KEY] = auth
        return self._serve(auth, environ, start_response)

    def _admit(self, environ: WSGIEnvironment, fields: list[tuple[str, str]]) -> AuthContext:
        gate = self._gate
        root = _decoded(environ.get("SCRIPT_NAME", ""))
        path = root + _decoded(environ.get("PATH_INFO", ""))
        if not gate.guards(path or "/", root):
            return ANONYMOUS
        if is_preflight(environ["REQUEST_METHOD"], fields):
            return ANONYMOUS
        request = Request(fields, environ["REQUEST_METHOD"], path)
        return gate.auth.authenticate(request, optional=gate.optional)

    def _serve(self, auth: AuthContext, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        scope = serving(auth)
        scope.__enter__()
        try:
            body = self._app(environ, start_response)
        except BaseException:
            scope.__exit__()
            raise
        if isinstance(body, list | tuple):  # finished: no more of the app runs
            scope.__exit__()
            return body
        return _Body(body, scope.__exit__)


class _Body:
    """An app's response, during whose iteration the app still runs; closing it ends the request."""

    __slots__ = ("_body", "_end")

    def __init__(self, body: Iterable[bytes], end: Callable[[], Any]) -> None:
        self._body = body
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._end()


def _decoded(value: str) -> str:
    """What PEP 3333 passes as Latin-1 is bytes, and these are UTF-8 or a trick."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")
