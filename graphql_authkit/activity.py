"""Idle time-outs and the longest life of a session, for tokens that know nothing of either.

Rules:
- When a session was last seen is known here, and written to a shared store once each interval at most, many
  sessions at a time, in a thread of its own: no request waits for a write.
- Before a session is refused for idleness the store is asked, since other processes may have seen it.
- A session that no record is of was seen last when its token was issued: records need to live no longer
  than the time-out.
- A store that cannot be asked is StoreUnavailable, never SessionExpired.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol, TypeAlias

from ._cache import GenerationalCache
from ._flow import Port, arun, call, run
from .errors import AuthError, ClaimRejected, ConfigurationError, SessionExpired, StoreUnavailable
from .model import VerifiedToken
from .revocation import RevocationKey, fingerprint

__all__ = ["ActivityStore", "Seen", "SessionActivity"]

By: TypeAlias = Literal["session", "subject"]

_log = logging.getLogger("graphql_authkit")
FLUSH_AFTER = 1.0  # seconds that writes are collected for
SESSIONS_REMEMBERED = 65_536
MOST_WAITING = 262_144
LONGEST_PAUSE = 30.0


class Seen(NamedTuple):
    """When a session began and was last seen, in seconds since the epoch."""

    first: float
    last: float


class ActivityStore(Protocol):
    """Where records of sessions are kept. Both methods may block; neither is called in an event loop."""

    def read(self, name: bytes) -> Seen | None:
        """The record of a session, by 16 bytes that stand for it."""
        ...  # pragma: no cover

    def write(self, seen: Mapping[bytes, Seen], lives_for: float) -> None:
        """Merge records: the earlier `first`, the later `last`.

        Args:
            seen: By the 16 bytes that stand for each session.
            lives_for: Seconds after which a record that is not written again may go.
        """
        ...  # pragma: no cover


class _Local:
    """What this process knows of a session."""

    __slots__ = ("first", "last", "written")

    def __init__(self, first: float, last: float, written: float) -> None:
        self.first = first
        self.last = last
        self.written = written


class SessionActivity:
    """Refuses sessions that were idle for too long, or began too long ago. `Authenticator(sessions=…)` asks it.

    Args:
        store: MemoryActivityStore, RedisActivityStore or SQLActivityStore.
        idle_timeout: Seconds without a request after which a session is over. Other processes learn of a
            request up to `interval` later, so a session may end that much early where it moves between them.
        max_lifetime: Seconds after its beginning at which it is over, or None. It begins with the `auth_time`
            of its tokens, else when it was first seen.
        by: "session" by the token's session claim, which every token must then have; "subject" where tokens
            have none.
        interval: Seconds between writes for one session; a tenth of `idle_timeout` if not given, at most 60.
        clock: Seconds since the epoch.

    Raises:
        ConfigurationError: Not a store, or numbers that contradict each other.
    """

    def __init__(
        self,
        store: ActivityStore,
        *,
        idle_timeout: float,
        max_lifetime: float | None = None,
        by: By = "session",
        interval: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not callable(getattr(store, "read", None)) or not callable(getattr(store, "write", None)):
            raise ConfigurationError(f"a {type(store).__name__} is no ActivityStore")
        every = min(60.0, idle_timeout / 10) if interval is None else interval
        if not 0 < every <= idle_timeout / 2 < math.inf:
            raise ConfigurationError("idle_timeout must be positive, and interval at most half of it")
        if max_lifetime is not None and not idle_timeout < max_lifetime < math.inf:
            raise ConfigurationError("max_lifetime must be longer than idle_timeout")
        if by not in ("session", "subject"):
            raise ConfigurationError('by is "session" or "subject"')
        self._store = store
        self._read: Port[[bytes], Seen | None] = Port(store.read)
        self._idle_timeout = idle_timeout
        self._max_lifetime = max_lifetime
        self._by: By = by
        self._interval = every
        self._clock = clock
        self._local: GenerationalCache[bytes, _Local] = GenerationalCache(SESSIONS_REMEMBERED)
        self._lock = threading.Lock()
        self._waiting: dict[bytes, Seen] = {}
        self._writer: threading.Thread | None = None
        _instances.add(self)

    # -------------------------------------------------------------------------------- for callers

    def see(self, token: VerifiedToken) -> None:
        """Note a request of this token's session.

        Raises:
            SessionExpired: It was idle too long, or began too long ago.
            ClaimRejected: The token names no session.
            StoreUnavailable: The store cannot be asked.
        """
        run(self._see(token), "see")

    async def asee(self, token: VerifiedToken) -> None:
        """`see` on asyncio."""
        await arun(self._see(token))

    def see_now(self, token: VerifiedToken) -> bool:
        """`see` as a plain function; False where the store must be asked."""
        now = self._clock()
        name = self._name(token)
        local = self._local.get(name)
        if local is None or not local.last <= now < local.last + self._idle_timeout or self._is_too_old(local, now):
            return False
        local.last = now
        if now >= local.written + self._interval:
            local.written = now
            self._queue(name, Seen(local.first, now))
        return True

    def flush(self) -> None:
        """Write now what waits to be written, for instance at the end of the process.

        Raises:
            StoreUnavailable: The store cannot be reached; it is kept for the next time.
        """
        while True:
            with self._lock:
                batch, self._waiting = self._waiting, {}
            if not batch:
                return
            try:
                self._store.write(batch, self._lives_for)
            except Exception as error:
                with self._lock:
                    for name, seen in batch.items():
                        self._keep(name, seen)
                raise self._failed(error) from error

    # -------------------------------------------------------------------------------------- inside

    async def _see(self, token: VerifiedToken) -> None:
        if self.see_now(token):
            return
        name = self._name(token)
        try:
            record = await call(self._read, name)
        except AuthError:
            raise
        except Exception as error:
            raise self._failed(error) from error
        now = self._clock()
        local = self._local.get(name)
        born = now if token.issued_at is None else token.issued_at
        first, last = born, min(born, now)
        if record is not None:
            first, last = record.first, max(last, record.last)
        if local is not None:
            first, last = min(first, local.first), max(last, local.last)
        began = token.claims.get("auth_time")
        if isinstance(began, int | float) and not isinstance(began, bool) and 0 <= began < first:
            first = float(began)
        known = _Local(first, last, now)
        is_too_old = self._is_too_old(known, now)
        if is_too_old or now >= last + self._idle_timeout:
            if is_too_old:  # lest its beginning be forgotten while tokens of it still come
                self._queue(name, Seen(first, last))
            raise SessionExpired("it began too long ago" if is_too_old else f"idle for {now - last:.0f} s")
        known.last = now
        self._local.put(name, known)
        self._queue(name, Seen(first, now))

    def _name(self, token: VerifiedToken) -> bytes:
        value = token.session_id if self._by == "session" else token.subject
        if value is None:
            raise ClaimRejected("sid", 'missing: SessionActivity(by="subject") is for tokens without a session')
        return fingerprint(RevocationKey(self._by, token.issuer, value))

    def _is_too_old(self, local: _Local, now: float) -> bool:
        return self._max_lifetime is not None and now >= local.first + self._max_lifetime

    @property
    def _lives_for(self) -> float:
        return self._idle_timeout + (self._max_lifetime or 0.0) + self._interval + 60

    def _failed(self, error: Exception) -> AuthError:
        if isinstance(error, AuthError):
            return error
        return StoreUnavailable(f"{type(self._store).__name__}: {type(error).__name__}")

    # -------------------------------------------------------------------------------------- writes

    def _queue(self, name: bytes, seen: Seen) -> None:
        with self._lock:
            self._keep(name, seen)
            if self._writer is not None:
                return
            self._writer = threading.Thread(target=self._write, name="graphql-authkit-activity", daemon=True)
            writer = self._writer
        try:
            writer.start()
        except (RuntimeError, MemoryError):  # shutting down: `flush` is left
            self._writer = None

    def _keep(self, name: bytes, seen: Seen) -> None:
        known = self._waiting.get(name)
        if known is not None:
            self._waiting[name] = Seen(min(known.first, seen.first), max(known.last, seen.last))
        elif len(self._waiting) < MOST_WAITING:  # beyond it other processes may think a session idle
            self._waiting[name] = seen

    def _write(self) -> None:
        pause = FLUSH_AFTER
        while True:
            time.sleep(pause)
            try:
                self.flush()
                pause = FLUSH_AFTER
            except AuthError as error:
                _log.warning("when sessions were seen cannot be written: %s", error.detail)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            with self._lock:
                if not self._waiting:
                    self._writer = None
                    return

    def _reset(self) -> None:
        """In a forked child: the writer stayed behind, and what waits is its to write."""
        self._lock = threading.Lock()
        self._waiting, self._writer = {}, None


_instances: weakref.WeakSet[SessionActivity] = weakref.WeakSet()


def _after_fork() -> None:
    for activity in tuple(_instances):
        activity._reset()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
