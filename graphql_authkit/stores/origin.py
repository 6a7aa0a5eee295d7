"""What a shared store is to its replicas: a log with an epoch. The protocol, and what all have in common.

An origin holds, beside its rules, an epoch: a marker that `create()` makes once. An origin without it has
lost its data, or never had any; whoever asks it learns that nobody can say, never that nothing is revoked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from ..errors import AuthError, StoreUnavailable
from ..revocation import FINGERPRINT_BYTES, Revocable, RevocationKey, Rule, Verdict, fingerprint, judge, keys_of
from .ledger import Entry

__all__ = [
    "Breaker",
    "Feed",
    "News",
    "NoEpoch",
    "Origin",
    "Snapshot",
    "as_unavailable",
    "checked_entry",
    "judge_found",
    "looked_up",
]

FAILURES = 3  # in a row, after which a store is not asked for a while
PAUSE = 1.0


class NoEpoch(StoreUnavailable):
    """The origin holds no epoch: it lost its data, or `create()` was never called."""


class Snapshot(NamedTuple):
    """All live rules at some moment, and where in the log to go on."""

    epoch: str
    position: str
    entries: Iterable[Entry]


class News(NamedTuple):
    """What an origin recorded after some position, or the first part of it."""

    epoch: str
    position: str
    entries: Sequence[Entry]
    is_all: bool


class Feed(Protocol):
    """One follower's own connection to an origin. Blocking; it is used by one thread."""

    def snapshot(self) -> Snapshot:
        """Read everything.

        Raises:
            NoEpoch: It has none.
            Exception: Whatever the client raises.
        """
        ...  # pragma: no cover

    def poll(self, position: str, wait: float) -> News:
        """What was recorded after a position, waiting up to `wait` seconds for it.

        Raises:
            LookupError: The log ends before the position: read a snapshot.
            NoEpoch: It has none.
        """
        ...  # pragma: no cover

    def push(self, entries: Iterable[Entry]) -> None:
        """Merge rules into the origin, whether or not it has an epoch."""
        ...  # pragma: no cover

    def claim(self, epoch: str) -> bool:
        """Give an origin that has no epoch this one; False if another did so first."""
        ...  # pragma: no cover

    def close(self) -> None:
        """Give the connection back; another thread may call it, to end the exchange under way."""
        ...  # pragma: no cover


class Origin(Protocol):
    """A store that replicas can follow: RedisRevocationStore, SQLRevocationStore."""

    def record(self, rule: Rule, now: float) -> None:
        """See RevocationStore."""
        ...  # pragma: no cover

    async def arecord(self, rule: Rule, now: float) -> None:
        """`record` on asyncio."""
        ...  # pragma: no cover

    def check(self, token: Revocable, now: float) -> Verdict:
        """See RevocationStore."""
        ...  # pragma: no cover

    async def acheck(self, token: Revocable, now: float) -> Verdict:
        """`check` on asyncio."""
        ...  # pragma: no cover

    def open_feed(self, timeout: float) -> Feed:
        """A new connection, each of whose exchanges ends within `timeout` seconds."""
        ...  # pragma: no cover


def checked_entry(name: object, not_before: object, expires_at: object) -> Entry:
    """An entry as a server gave it, or StoreUnavailable: a reply that is not understood is no reply."""
    try:
        key = bytes(name) if isinstance(name, bytes | bytearray | memoryview) else b""
        before = None if not_before is None else int(not_before)  # type: ignore[call-overload]
        expires = int(expires_at)  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise StoreUnavailable("the store holds what is no rule") from error
    if len(key) != FINGERPRINT_BYTES or expires < 0 or (before is not None and before < 0):
        raise StoreUnavailable("the store holds what is no rule")
    return key, before, expires


def looked_up(token: Revocable) -> dict[bytes, RevocationKey]:
    """The keys to ask for, by fingerprint."""
    return {fingerprint(key): key for key in keys_of(token)}


def judge_found(token: Revocable, keys: dict[bytes, RevocationKey], found: Iterable[Entry], now: float) -> Verdict:
    """`judge` by entries that a server gave."""
    rules = [Rule(keys[name], not_before, expires_at) for name, not_before, expires_at in found if expires_at > now]
    return judge(token, rules)


def as_unavailable(error: Exception) -> Exception:
    """What a client library raised, of whatever kind."""
    return error if isinstance(error, AuthError) else StoreUnavailable(type(error).__name__)


class Breaker:
    """Asks nothing of a server that keeps failing but once each pause, so that its slowness is not everybody's.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_until = 0.0

    def enter(self) -> None:
        """Before each exchange.

        Raises:
            StoreUnavailable: It failed too often of late; one caller each pause is let through to see.
        """
        if self._failures < FAILURES:
            return
        with self._lock:
            now = self._clock()
            if now < self._closed_until:
                raise StoreUnavailable("it failed too often of late", retry_after=self._closed_until - now)
            self._closed_until = now + PAUSE

    @property
    def is_wary(self) -> bool:
        """Whether the last exchange failed."""
        return self._failures > 0

    def succeeded(self) -> None:
        """After an exchange that told something."""
        self._failures = 0

    def failed(self) -> None:
        """After one that did not."""
        with self._lock:
            self._failures += 1
            self._closed_until = self._clock() + PAUSE
