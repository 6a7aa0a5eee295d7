"""THE pipeline: credential, verified token, active token, user, frozen context. No HTTP, no GraphQL.

Adapters translate to it and from it. What it decides depends on the credential alone: nothing that a
client may name (operation, query text, variables, extensions) ever gets here.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from ._cache import GenerationalCache
from ._flow import AsyncPortError, Port, arun, call, run
from .activity import SessionActivity
from .credentials import field_values, read_field
from .errors import (
    AuthError,
    ConfigurationError,
    InsufficientScope,
    InvalidToken,
    MissingCredential,
    Unavailable,
    UserUnavailable,
)
from .events import Listener, RequestAdmitted, RequestRefused, check_listener, emit, log_event
from .model import ANONYMOUS, ActiveToken, AuthContext, AuthenticatedContext, Request, VerifiedToken
from .revocation import ACTIVE, Revocations
from .verifier import ByIssuer, JWTVerifier, Verifier
from .verifier.jwt import CACHE_CHARACTERS

__all__ = ["Authenticator", "current_auth", "serving", "take_in_request"]

P = ParamSpec("P")
T = TypeVar("T")
Text = TypeVar("Text", str, bytes)

_log = logging.getLogger("graphql_authkit")
_sha256 = hashlib.sha256
_current: ContextVar[serving | None] = ContextVar("graphql_authkit.auth", default=None)


def current_auth() -> AuthContext:
    """Who is calling, in the request being served by this thread or task; ANONYMOUS outside any.

    A task that a request started and that outlives it is outside any: give it the AuthContext itself.
    """
    scope = _open(_current.get())
    return ANONYMOUS if scope is None else scope.auth


def take_in_request(name: str, count: int, limit: int) -> bool:
    """Whether something may happen so often in the request being served, besides what was taken before.

    Threads of one request that ask at once may all be refused, and are never all allowed: each looks again after
    it has written down what it takes. What is refused is not kept, so that a long connection stays small.
    """
    scope = _open(_current.get())
    taken = [] if scope is None else scope._taken
    if _total(taken, name) + count > limit:
        return False
    taken.append((name, count))
    return _total(taken, name) <= limit


def _total(taken: list[tuple[str, int]], name: str) -> int:
    return sum(count for known, count in tuple(taken) if known == name)


class serving:  # noqa: N801 - reads as a verb: `with serving(auth):`
    """Make `current_auth()` answer this context from now on, until it ends. For adapters.

    Requests of one thread may interleave, and end in any order, twice, or in another context than they
    began in.

    Args:
        auth: The context of the request now being served.
    """

    __slots__ = ("_is_open", "_outer", "_taken", "auth")

    def __init__(self, auth: AuthContext) -> None:
        self.auth = auth
        self._taken: list[tuple[str, int]] = []
        outer = _current.get()
        self._outer: serving | None = outer if outer is None or outer._is_open else _open(outer)
        self._is_open: bool = True
        _current.set(self)

    def end(self) -> None:
        """End the request, here and wherever else it is known."""
        self._is_open = False
        current = _current.get()
        _current.set(self._outer if current is self and self._outer is None else _open(current))

    def pause(self) -> None:
        """Leave the context variable as it was; `call` comes back to the request."""
        _current.set(self._outer)

    def __enter__(self) -> None:
        """It has begun."""

    def __exit__(self, *_exc: object) -> None:
        self.end()

    def close(self) -> None:
        """End the request, wherever it is known, from outside of it."""
        self._is_open = False

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something within the request, and leave the context variable as it was."""
        previous = _current.get()
        _current.set(self)
        try:
            return function(*args, **kwargs)
        finally:
            _current.set(previous)


def _open(scope: serving | None) -> serving | None:
    """The innermost request that is not over."""
    while scope is not None and not scope._is_open:
        scope = scope._outer
    return scope


class Authenticator:
    """Turns a request, or a token, into an AuthContext, or refuses it.

    Args:
        verifier: A JWTVerifier, ByIssuer, or any Verifier.
        revocations: Asked after verification, every time. None: tokens live until they expire.
        sessions: Asked after that: idle time-outs, and how long a session may last.
        load_user: `load_user(VerifiedToken) -> user | None`, sync or async. None refuses the token, since
            its subject is nobody we know. An AuthError that it raises passes unchanged; anything else
            is logged and becomes UserUnavailable. A sync one may block: under ASGI it runs in a thread.
        required_scopes: Scopes without which nobody passes.
        on_event: Told of each caller admitted and each request refused; logs by default.

    Raises:
        ConfigurationError: Something that is not what it must be.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        revocations: Revocations | None = None,
        sessions: SessionActivity | None = None,
        load_user: Callable[[VerifiedToken], Any | Awaitable[Any]] | None = None,
        required_scopes: Iterable[str] = (),
        on_event: Listener = log_event,
    ) -> None:
        if not isinstance(verifier, Verifier) or isinstance(verifier, type):
            raise ConfigurationError(f"a {type(verifier).__name__} is no Verifier")
        if not isinstance(revocations, Revocations | None):
            raise ConfigurationError("revocations= takes Revocations(store), not the store itself")
        if not isinstance(sessions, SessionActivity | None):
            raise ConfigurationError("sessions= takes SessionActivity(store, ...), not the store itself")
        scopes = () if isinstance(required_scopes, str) else tuple(required_scopes)
        if isinstance(required_scopes, str) or not all(isinstance(s, str) and s and " " not in s for s in scopes):
            raise ConfigurationError("required_scopes is a list of scopes, each one word")
        # Exactly ours, both: a subclass may ask for more in its verbs, which these go past.
        is_plain = type(self) is Authenticator and type(verifier) in (JWTVerifier, ByIssuer)
        self._ours = verifier if is_plain and isinstance(verifier, JWTVerifier | ByIssuer) else None
        self._quick = None if load_user is not None else self._ours
        remembered = 0 if self._ours is None else self._ours._remembers
        self._contexts: GenerationalCache[VerifiedToken, tuple[AuthenticatedContext, RequestAdmitted]] | None = None
        if remembered:
            self._contexts = GenerationalCache(remembered, weight=CACHE_CHARACTERS)
        is_ours = sessions is None and (revocations is None or type(revocations) is Revocations)
        self._plain = self._quick if is_ours and isinstance(self._quick, JWTVerifier) else None
        self._verify: Port[..., VerifiedToken] = Port(verifier.verify, twin=verifier.averify, blocking=False)
        self._revocations = revocations
        self._sessions = sessions
        self._load_user = None if load_user is None else Port(load_user)
        self._required_scopes = frozenset(scopes)
        self._on_event = check_listener(on_event)

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
        values = field_values(request)
        known = self._recall_request(values)
        if known is not None:
            return known
        token = self._token_of(values, optional)
        return ANONYMOUS if token is None else self.authenticate_token(token)

    async def aauthenticate(self, request: Request, *, optional: bool = False) -> AuthContext:
        """`authenticate` on asyncio."""
        values = field_values(request)
        known = self._recall_request(values)
        if known is not None:
            return known
        token = self._token_of(values, optional)
        return ANONYMOUS if token is None else await self.aauthenticate_token(token)

    def _recall_request(self, values: Sequence[str]) -> AuthenticatedContext | None:
        return self._recall_field(values[0].encode()) if len(values) == 1 and values[0].isascii() else None

    def _recall_field(self, value: bytes) -> AuthenticatedContext | None:
        """Who sent this Authorization field, if its token is remembered: it was read strictly when it was verified."""
        if self._quick is None or value[:7] != b"Bearer ":
            return None
        token = value[7:]
        return self._admit_at_once(token) or self._admit_now(token, self._quick._recall)

    def _admit_at_once(self, token: bytes) -> AuthenticatedContext | None:
        """`_admit_now` in one piece, for the most frequent answer: a plain yes, or None, upon which it is asked."""
        plain = self._plain
        if plain is None or plain._cache is None or self._contexts is None or len(token) > plain._max_token_bytes:
            return None
        entry = plain._cache.get(_sha256(token).digest(), len(token))
        if entry is None:
            return None
        verified, keys, starts, ends = entry
        known = self._contexts.get(verified)
        try:
            if known is None or keys is not plain.keys.key_set() or not starts <= plain._clock() < ends:
                return None
            if self._revocations is not None and self._revocations._local_verdict(verified) is not ACTIVE:
                return None
        except Exception:
            return None
        if self._on_event is not log_event or _log.isEnabledFor(logging.DEBUG):
            emit(self._on_event, known[1])
        return known[0]

    def authenticate_token(self, token: str) -> AuthenticatedContext:
        """Authenticate by a token that a server of your own received; raises as `authenticate`."""
        known = None if self._quick is None else self._admit_now(token, self._quick._verify_now)
        return run(self._admit(token), "authenticate_token") if known is None else known

    async def aauthenticate_token(self, token: str) -> AuthenticatedContext:
        """`authenticate_token` on asyncio."""
        known = None if self._quick is None else self._admit_now(token, self._quick._verify_now)
        return await arun(self._admit(token)) if known is None else known

    def _token_of(self, values: Sequence[str], optional: bool) -> str | None:
        try:
            credential = read_field(values)
            if credential is None and not optional:
                raise MissingCredential("no Authorization field")
        except AuthError as error:
            emit(self._on_event, RequestRefused(error))
            raise
        return None if credential is None else credential.token

    def _admit_now(self, token: Text, find: Callable[[Text], VerifiedToken | None]) -> AuthenticatedContext | None:
        """The warm path, a plain function: no lock, no task, no thread. None where something must be waited for.

        The context of a token that the verifier remembers is made once, with the event that tells of it.
        """
        try:
            verified = find(token)
            if verified is None:
                return None
            if self._revocations is not None and not self._revocations.is_active_now(verified):
                return None
            if self._sessions is not None and not self._sessions.see_now(verified):
                return None
            size = len(token)
            known = None if self._contexts is None else self._contexts.get(verified, size)
            if known is None:
                known = self._first(verified, size)
        except AuthError as error:
            emit(self._on_event, RequestRefused(error))
            raise
        except Exception as error:
            failure = self._verifier_failed(error)
            emit(self._on_event, RequestRefused(failure))
            raise failure from error
        if self._on_event is not log_event or _log.isEnabledFor(logging.DEBUG):
            emit(self._on_event, known[1])
        return known[0]

    def _first(self, verified: VerifiedToken, size: int) -> tuple[AuthenticatedContext, RequestAdmitted]:
        """What need not be asked or made again of a token that nobody took back."""
        if self._revocations is not None:
            self._revocations.check_lifetime(verified)
        self._check_scopes(verified)
        auth = AuthenticatedContext(ActiveToken(verified))
        known = auth, _admission(auth)
        if self._contexts is not None:
            self._contexts.put(verified, known, size)
        return known

    async def _admit(self, token: str) -> AuthenticatedContext:
        try:
            verified = await self._verified(token)
            active = ActiveToken(verified) if self._revocations is None else await self._revocations._active(verified)
            if self._sessions is not None:
                await self._sessions._see(verified)
            self._check_scopes(verified)
            auth = AuthenticatedContext(active, await self._user(active))
        except AuthError as error:
            emit(self._on_event, RequestRefused(error))
            raise
        emit(self._on_event, _admission(auth))
        return auth

    def _check_scopes(self, verified: VerifiedToken) -> None:
        missing = self._required_scopes - verified.scopes
        if missing:
            raise InsufficientScope(sorted(self._required_scopes), f"{verified!r} lacks {sorted(missing)}")

    async def _verified(self, token: str) -> VerifiedToken:
        try:
            verified: VerifiedToken | None
            if self._ours is not None:
                verified = self._ours._verify_now(token)
                if verified is None:
                    verified = await self._ours._verify_anew(token)
            else:
                verified = await call(self._verify, token)
        except (AuthError, AsyncPortError):
            raise
        except Exception as error:
            raise self._verifier_failed(error) from error
        if not isinstance(verified, VerifiedToken):
            raise Unavailable(f"the verifier answered a {type(verified).__name__}")
        return verified

    def _verifier_failed(self, error: Exception) -> Unavailable:
        _log.error("the verifier failed", exc_info=error)
        return Unavailable(f"the verifier raised {type(error).__name__}")

    async def _user(self, active: ActiveToken) -> Any:
        if self._load_user is None:
            return None
        try:
            user = await call(self._load_user, active.token)
        except (AuthError, AsyncPortError):
            raise
        except Exception as error:
            _log.exception("load_user failed")
            raise UserUnavailable(f"load_user raised {type(error).__name__}") from error
        if user is None:
            raise InvalidToken(f"load_user knows no user for subject {active.token.subject!r:.200}")
        return user


def _admission(auth: AuthenticatedContext) -> RequestAdmitted:
    return RequestAdmitted(auth.subject, auth.issuer, auth.client_id, auth.token_key)
