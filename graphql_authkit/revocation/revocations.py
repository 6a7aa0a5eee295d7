"""Revocations: the verbs that take tokens back, and the check of each token. What a rule means is `rules`'."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypedDict

from typing_extensions import Unpack

from .._flow import Port, arun, call, run
from ..claims import MAX_LEEWAY
from ..errors import AuthError, ClaimRejected, ConfigurationError, StoreUnavailable, TokenRevoked
from ..events import Listener, RevocationRecorded, check_listener, emit, log_event
from ..model import ActiveToken, AuthContext, VerifiedToken, token_key
from .rules import ACTIVE, Revocable, RevocationKey, RevocationStore, Rule, Scope, Verdict

__all__ = ["Audit", "Revocations"]

CLOCK_TOLERANCE = 5.0
"""Seconds that a `before` may lie ahead, since clocks differ."""


class Audit(TypedDict, total=False):
    """What every verb takes for the event that it causes."""

    by: str
    reason: str


class Revocations:
    """The one list of what was taken back, and the verbs that write to it.

    Every verb has an a-twin for asyncio. An identifier that is None or "" raises ValueError: it would
    take back nothing, or everything. Every verb takes `by=`, who does it, and `reason=`, why: texts for the
    event, which is the audit trail; they are kept nowhere else.

    Args:
        store: MemoryRevocationStore, or any RevocationStore.
        max_token_lifetime: Seconds; how long not-before rules are kept, and so the longest life that a
            token may have here. One that lives longer is refused: a rule could be forgotten before it.
        clock: Seconds since the epoch.
        on_event: Told of each revocation; logs by default.

    Raises:
        ConfigurationError: Not a store, or no sensible lifetime.
    """

    def __init__(
        self,
        store: RevocationStore,
        *,
        max_token_lifetime: float = 7 * 86_400.0,
        clock: Callable[[], float] = time.time,
        on_event: Listener = log_event,
    ) -> None:
        missing = [name for name in ("record", "check", "local_check") if not callable(getattr(store, name, None))]
        if missing or isinstance(store, type):
            raise ConfigurationError(f"{type(store).__name__} is no RevocationStore: it lacks {missing}")
        if not 0 < max_token_lifetime < math.inf:
            raise ConfigurationError("max_token_lifetime must be a positive number of seconds")
        self._store = store
        is_blocking = getattr(store, "is_blocking", True)
        # A store that has both forms says so by its twins; an a-twin alone makes no sense.
        arecord, acheck = getattr(store, "arecord", None), getattr(store, "acheck", None)
        self._record_port: Port[..., None] = Port(store.record, twin=arecord, blocking=is_blocking)
        self._check_port: Port[..., Verdict] = Port(store.check, twin=acheck, blocking=is_blocking)
        self.max_token_lifetime = max_token_lifetime
        self._clock = clock
        self._on_event = check_listener(on_event)

    @property
    def is_async_only(self) -> bool:
        """Whether the store is known to be asynchronous, so that only the a-verbs can use it."""
        is_async_only: bool = getattr(self._store, "is_async_only", False)
        return is_async_only or self._check_port.is_async or self._record_port.is_async

    # ------------------------------------------------------------------------------ taking back

    def revoke(self, token: VerifiedToken | AuthContext, **audit: Unpack[Audit]) -> None:
        """Take back this one token.

        Raises:
            ValueError: An anonymous context.
            StoreUnavailable: It could not be recorded.
        """
        run(self._record(self._token_rule(token), audit), "revoke")

    async def arevoke(self, token: VerifiedToken | AuthContext, **audit: Unpack[Audit]) -> None:
        """`revoke` on asyncio."""
        await arun(self._record(self._token_rule(token), audit))

    def revoke_token(self, issuer: str, token_id: str, *, expires_at: float, **audit: Unpack[Audit]) -> None:
        """Take back the one token with this `jti`.

        Args:
            issuer: Its `iss`.
            token_id: Its `jti`.
            expires_at: Its `exp`, in seconds since the epoch.

        Raises:
            ValueError: An empty identifier, or no date.
            StoreUnavailable: It could not be recorded.
        """
        run(self._record(_jti_rule(issuer, token_id, expires_at), audit), "revoke_token")

    async def arevoke_token(self, issuer: str, token_id: str, *, expires_at: float, **audit: Unpack[Audit]) -> None:
        """`revoke_token` on asyncio."""
        await arun(self._record(_jti_rule(issuer, token_id, expires_at), audit))

    def revoke_session(self, issuer: str, session_id: str, before: float | None = None, **audit: Unpack[Audit]) -> None:
        """Take back every token issued in a session at or before now, or `before` (seconds since the epoch).

        Raises:
            ValueError: An empty identifier, or `before` more than 5 s ahead.
            StoreUnavailable: It could not be recorded.
        """
        run(self._record(self._before("session", issuer, session_id, before), audit), "revoke_session")

    async def arevoke_session(
        self, issuer: str, session_id: str, before: float | None = None, **audit: Unpack[Audit]
    ) -> None:
        """`revoke_session` on asyncio."""
        await arun(self._record(self._before("session", issuer, session_id, before), audit))

    def revoke_subject(self, issuer: str, subject: str, before: float | None = None, **audit: Unpack[Audit]) -> None:
        """Take back every token issued to a subject at or before now, or `before`; raises as `revoke_session`."""
        run(self._record(self._before("subject", issuer, subject, before), audit), "revoke_subject")

    async def arevoke_subject(
        self, issuer: str, subject: str, before: float | None = None, **audit: Unpack[Audit]
    ) -> None:
        """`revoke_subject` on asyncio."""
        await arun(self._record(self._before("subject", issuer, subject, before), audit))

    def revoke_client(self, issuer: str, client_id: str, before: float | None = None, **audit: Unpack[Audit]) -> None:
        """Take back every token issued to a client at or before now, or `before`; raises as `revoke_session`.

        A token's client is the first of `client_id`, `azp`, `appid` and `cid` that it has.
        """
        run(self._record(self._before("client", issuer, client_id, before), audit), "revoke_client")

    async def arevoke_client(
        self, issuer: str, client_id: str, before: float | None = None, **audit: Unpack[Audit]
    ) -> None:
        """`revoke_client` on asyncio."""
        await arun(self._record(self._before("client", issuer, client_id, before), audit))

    def revoke_issuer(self, issuer: str, before: float | None = None, **audit: Unpack[Audit]) -> None:
        """Take back every token of an issuer issued at or before now, or `before`; raises as `revoke_session`."""
        run(self._record(self._before("issuer", issuer, None, before), audit), "revoke_issuer")

    async def arevoke_issuer(self, issuer: str, before: float | None = None, **audit: Unpack[Audit]) -> None:
        """`revoke_issuer` on asyncio."""
        await arun(self._record(self._before("issuer", issuer, None, before), audit))

    def revoke_all(self, before: float | None = None, **audit: Unpack[Audit]) -> None:
        """Take back every token of every issuer issued at or before now, or `before`; raises as `revoke_session`."""
        run(self._record(self._before("all", None, None, before), audit), "revoke_all")

    async def arevoke_all(self, before: float | None = None, **audit: Unpack[Audit]) -> None:
        """`revoke_all` on asyncio."""
        await arun(self._record(self._before("all", None, None, before), audit))

    # --------------------------------------------------------------------------------- checking

    def check(self, token: VerifiedToken) -> ActiveToken:
        """Whether nobody took the token back.

        Raises:
            TokenRevoked: Somebody did.
            ClaimRejected: It lives longer than `max_token_lifetime`.
            StoreUnavailable: The store cannot say.
        """
        return run(self._active(token), "check")

    async def acheck(self, token: VerifiedToken) -> ActiveToken:
        """`check` on asyncio."""
        return await arun(self._active(token))

    async def _active(self, token: VerifiedToken) -> ActiveToken:
        self.check_lifetime(token)
        _refuse_if_revoked(token, await self._verdict(token))
        return ActiveToken(token)

    def is_active_now(self, token: VerifiedToken) -> bool:
        """Whether nobody took it back, as a plain function; False where only `check` can say.

        Raises:
            TokenRevoked: Somebody did.
            StoreUnavailable: The store cannot say.
        """
        try:
            verdict = self._local_verdict(token)
        except AuthError:
            raise
        except Exception as error:
            raise self._failed(error) from error
        if verdict is ACTIVE:
            return True
        if verdict is None:
            return False
        _refuse_if_revoked(token, self._checked(verdict))
        return True

    def _local_verdict(self, token: VerifiedToken) -> Verdict | None:
        return self._store.local_check(token, self._clock())

    def check_lifetime(self, token: VerifiedToken) -> None:
        """Whether every rule that may concern the token outlives it.

        Raises:
            ClaimRejected: It lives longer than `max_token_lifetime`.
        """
        born = self._clock() if token.issued_at is None else token.issued_at
        if token.expires_at - born > self.max_token_lifetime + MAX_LEEWAY:
            raise ClaimRejected("exp", "the token lives longer than max_token_lifetime=, which revocations outlive")

    async def _not_before(self, token: Revocable, now: float) -> float | None:
        """The latest not-before that covers a token about to be issued."""
        return (await self._verdict(token, now)).not_before

    async def _verdict(self, token: Revocable, now: float | None = None) -> Verdict:
        try:
            now = self._clock() if now is None else now
            verdict = self._store.local_check(token, now)
            if verdict is None:
                verdict = await call(self._check_port, token, now)
        except (AuthError, ConfigurationError):
            raise
        except Exception as error:
            raise self._failed(error) from error
        return self._checked(verdict)

    def _checked(self, verdict: object) -> Verdict:
        if not isinstance(verdict, Verdict):
            raise StoreUnavailable(f"{type(self._store).__name__} answered a {type(verdict).__name__}")
        return verdict

    def _failed(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"{type(self._store).__name__}: {type(error).__name__}")

    async def _record(self, rule: Rule, audit: Audit) -> None:
        key = rule.key
        event = RevocationRecorded(key.scope, key.issuer, key.value, rule.not_before, **audit)
        try:
            await call(self._record_port, rule, self._clock())
        except (AuthError, ConfigurationError):
            raise
        except Exception as error:
            raise self._failed(error) from error
        emit(self._on_event, event)

    def _token_rule(self, token: VerifiedToken | AuthContext) -> Rule:
        if not isinstance(token, VerifiedToken | AuthContext):
            raise ValueError("revoke() takes a VerifiedToken or an AuthContext; revoke_token() takes a jti")
        if token.issuer is None or token.token_key is None or token.expires_at is None:
            raise ValueError("an anonymous context has no token to revoke")
        key = RevocationKey("token", token.issuer, token.token_key)
        return Rule(key, None, token.expires_at + MAX_LEEWAY)

    async def _take_back(self, scope: Scope, issuer: str, value: str | None, before: float, audit: Audit) -> None:
        await self._record(self._before(scope, issuer, value, before), audit)

    def _before(self, scope: Scope, issuer: str | None, value: str | None, before: float | None) -> Rule:
        now = self._clock()
        if before is None:
            before = now
        if not _is_date(before) or before > now + CLOCK_TOLERANCE:
            raise ValueError("before is in seconds since the epoch, and not in the future")
        key = RevocationKey(
            scope,
            "" if scope == "all" else _identifier("issuer", issuer),
            "" if scope in ("all", "issuer") else _identifier(scope, value),
        )
        return Rule(key, math.floor(before), max(before, now) + self.max_token_lifetime + 2 * MAX_LEEWAY)


def _refuse_if_revoked(token: VerifiedToken, verdict: Verdict) -> None:
    rule = verdict.revoked_by
    if rule is not None:
        raise TokenRevoked(f"by {rule.key.scope}, issued at {token.issued_at}, not before {rule.not_before}")


def _jti_rule(issuer: str, token_id: str, expires_at: float) -> Rule:
    if not _is_date(expires_at):
        raise ValueError("expires_at is in seconds since the epoch")
    key = RevocationKey("token", _identifier("issuer", issuer), token_key(_identifier("token_id", token_id)))
    return Rule(key, None, expires_at + MAX_LEEWAY)


def _identifier(name: str, value: str | None) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a non-empty string")
    return value


def _is_date(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
