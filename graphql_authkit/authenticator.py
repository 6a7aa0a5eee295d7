"""THE pipeline: credential, verified token, active token, user, frozen context. No HTTP, no GraphQL.

Adapters translate to it and from it. What it decides depends on the credential alone: nothing that a
client may name (operation, query text, variables, extensions) ever gets here.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any

from ._flow import Port, arun, call, run
from .credentials import extract
from .errors import (
    AuthError,
    ConfigurationError,
    InsufficientScope,
    InvalidToken,
    MissingCredential,
    Unavailable,
    UserUnavailable,
)
from .events import Listener, RequestAdmitted, RequestRefused, emit, log_event
from .model import ANONYMOUS, ActiveToken, AuthContext, AuthenticatedContext, Request, VerifiedToken
from .revocation import Revocations
from .verifier import Verifier

__all__ = ["ENVIRON_KEY", "Authenticator", "current_auth", "serving"]

ENVIRON_KEY = "graphql_authkit.auth"
"""Where a WSGI environ holds the AuthContext. A client cannot set it: headers arrive as `HTTP_…`."""

_log = logging.getLogger("graphql_authkit")
_current: ContextVar[AuthContext] = ContextVar("graphql_authkit.auth", default=ANONYMOUS)


def current_auth() -> AuthContext:
    """Who is calling, in the request being served by this thread or task; ANONYMOUS outside any."""
    return _current.get()


class serving:  # noqa: N801 - reads as a verb: `with serving(auth):`
    """Make `current_auth()` answer this context until closed. For adapters.

    Args:
        auth: The context of the request now being served.
    """

    __slots__ = ("_auth", "_token")

    def __init__(self, auth: AuthContext) -> None:
        self._auth = auth

    def __enter__(self) -> None:
        self._token = _current.set(self._auth)

    def __exit__(self, *_exc: object) -> None:
        try:
            _current.reset(self._token)
        except ValueError:  # closed in another context than it was opened in, as some servers do
            _current.set(ANONYMOUS)


class Authenticator:
    """Turns a request, or a token, into an AuthContext, or refuses it.

    Args:
        verifier: A JWTVerifier, ByIssuer, or any Verifier.
        revocations: Asked after verification, every time. None: tokens live until they expire.
        load_user: `load_user(VerifiedToken) -> user | None`, sync or async. None refuses the token, since
            its subject is nobody we know. An AuthError that it raises passes unchanged; anything else
            is logged and becomes UserUnavailable. A sync one may block: under ASGI it runs in a thread.
        required_scopes: Scopes without which nobody passes.
        on_event: Told of each decision; logs by default.

    Raises:
        ConfigurationError: Something that is not what it must be.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        revocations: Revocations | None = None,
        load_user: Callable[[VerifiedToken], Any | Awaitable[Any]] | None = None,
        required_scopes: Iterable[str] = (),
        on_event: Listener = log_event,
    ) -> None:
        if not isinstance(verifier, Verifier):
            raise ConfigurationError(f"{type(verifier).__name__} is no Verifier")
        if not isinstance(revocations, Revocations | None):
            raise ConfigurationError("revocations= takes Revocations(store), not the store itself")
        if isinstance(required_scopes, str):
            raise ConfigurationError("required_scopes is a list of scopes, not one string")
        # A verifier answers from memory nearly always; when it must wait for keys it does so by itself.
        self._verify: Port[..., VerifiedToken] = Port(verifier.verify, twin=verifier.averify, blocking=False)
        self._revocations = revocations
        self._load_user = None if load_user is None else Port(load_user)
        self._required_scopes = frozenset(required_scopes)
        self._on_event = on_event

    @property
    def is_async_only(self) -> bool:
        """Whether the user loader or the store is known to be asynchronous: then WSGI cannot use it."""
        return bool(
            (self._load_user is not None and self._load_user.is_async)
            or (self._revocations is not None and self._revocations.is_async_only)
        )

    def authenticate(self, request: Request, *, optional: bool = False) -> AuthContext:
        """Authenticate an HTTP request by its Authorization field.

        Args:
            request: At least its headers.
            optional: Let a request *without* that field pass as ANONYMOUS; never one with a bad one.

        Raises:
            MissingCredential: It has none, or one of another scheme.
            AuthError: It is refused, or nobody can say now.
            ConfigurationError: The user loader or the store is asynchronous.
        """
        return run(self._by_request(request, optional), "authenticate")

    async def aauthenticate(self, request: Request, *, optional: bool = False) -> AuthContext:
        """`authenticate` on asyncio."""
        return await arun(self._by_request(request, optional))

    def authenticate_token(self, token: str) -> AuthenticatedContext:
        """Authenticate by a token that a server of your own received; raises as `authenticate`."""
        return run(self._by_token(token), "authenticate_token")

    async def aauthenticate_token(self, token: str) -> AuthenticatedContext:
        """`authenticate_token` on asyncio."""
        return await arun(self._by_token(token))

    async def _by_request(self, request: Request, optional: bool) -> AuthContext:
        try:
            credential = extract(request)
            if credential is None and not optional:
                raise MissingCredential("no Authorization field")
        except AuthError as error:
            emit(self._on_event, RequestRefused(error))
            raise
        return ANONYMOUS if credential is None else await self._by_token(credential.token)

    async def _by_token(self, token: str) -> AuthenticatedContext:
        try:
            auth, verified = await self._pipeline(token)
        except AuthError as error:
            emit(self._on_event, RequestRefused(error))
            raise
        emit(
            self._on_event,
            RequestAdmitted(verified.subject, verified.issuer, verified.client_id, verified.token_key),
        )
        return auth

    async def _pipeline(self, token: str) -> tuple[AuthenticatedContext, VerifiedToken]:
        verified = await self._verified(token)
        active = ActiveToken(verified) if self._revocations is None else await self._revocations._active(verified)
        missing = self._required_scopes - verified.scopes
        if missing:
            raise InsufficientScope(sorted(self._required_scopes), f"{verified!r} lacks {sorted(missing)}")
        return AuthenticatedContext(active, await self._user(active)), verified

    async def _verified(self, token: str) -> VerifiedToken:
        try:
            verified = await call(self._verify, token)
        except (AuthError, ConfigurationError):
            raise
        except Exception as error:
            _log.exception("the verifier failed")
            raise Unavailable(f"the verifier raised {type(error).__name__}") from error
        if not isinstance(verified, VerifiedToken):
            raise Unavailable(f"the verifier answered a {type(verified).__name__}")
        return verified

    async def _user(self, active: ActiveToken) -> Any:
        if self._load_user is None:
            return None
        try:
            user = await call(self._load_user, active.token)
        except (AuthError, ConfigurationError):
            raise
        except Exception as error:
            _log.exception("load_user failed")
            raise UserUnavailable(f"load_user raised {type(error).__name__}") from error
        if user is None:
            raise InvalidToken(f"load_user knows no user for subject {active.token.subject!r:.200}")
        return user
