"""A replica of a shared store in every process: checks are in memory, and how old it may be is a number.

Rules:
- `record` is done when the origin has the rule; this process then holds it too.
- A follower thread with a connection of its own reads a snapshot and then the log. The replica's age runs
  from when an exchange that succeeded was *begun*: whatever was recorded before that is here.
- A replica older than `max_staleness` answers by the policy that was chosen, never "not revoked" by itself.
- What a replica holds is only ever added to: a snapshot of a new epoch takes nothing back.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..errors import ConfigurationError, StoreUnavailable
from ..events import log_danger
from ..revocation import Revocable, Rule, Verdict, fingerprint
from .ledger import Ledger
from .origin import Feed, NoEpoch, Origin

__all__ = ["ReplicaHealth", "ReplicatedRevocationStore"]

OnStale: TypeAlias = Literal["refuse", "confirm"]

_log = logging.getLogger("graphql_authkit")
POLL = 0.5  # seconds that an exchange waits for something new, at most
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class ReplicaHealth:
    """How a replica is doing.

    Args:
        is_ready: Whether it has loaded and is not too old.
        age: Seconds since the beginning of the last exchange that succeeded; None before the first.
        entries: How many rules it holds.
        epoch: Of the origin it follows.
        last_error: Why the last exchange that failed did so, or None.
    """

    is_ready: bool
    age: float | None
    entries: int
    epoch: str | None
    last_error: str | None


class ReplicatedRevocationStore:
    """Every live revocation in this process, fed by the log of a shared store.

    The follower starts with the first use or `start()`, in a daemon thread, and anew in forked children. It ends
    with `close()`, or when nobody holds the replica any more.

    Args:
        origin: RedisRevocationStore or SQLRevocationStore.
        max_staleness: Seconds that the replica may be behind. A revocation is effective in every process
            after so long, or tokens are refused there, unless `insecure_on_stale` says otherwise.
        on_stale: What then: "refuse" answers StoreUnavailable (503); "confirm" asks the origin for each
            request, which refuses as well while it cannot be reached.
        insecure_on_stale: "serve" goes on by what was known last.
        start_timeout: Seconds that the first requests wait for the first snapshot.
        republish_within: How old, in seconds, this replica may be to write its rules to an origin that lost
            its data, under a new epoch, to which the other replicas then add theirs; 0 for never. With no
            such replica left, an operator calls `create()`, knowing what is lost.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: Not an origin, or settings that contradict each other.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        max_staleness: float = 5.0,
        on_stale: OnStale = "refuse",
        insecure_on_stale: Literal["serve"] | None = None,
        start_timeout: float = 5.0,
        republish_within: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not callable(getattr(origin, "open_feed", None)):
            raise ConfigurationError(f"a {type(origin).__name__} is no origin that can be followed")
        if not getattr(origin, "is_followable", True):
            raise ConfigurationError("the origin has an AsyncEngine: it can be followed with feed_engine=")
        if not POLL * 4 <= max_staleness < math.inf or not 0 <= start_timeout < math.inf:
            raise ConfigurationError(f"max_staleness must be at least {POLL * 4:g} seconds")
        if on_stale not in ("refuse", "confirm") or insecure_on_stale not in (None, "serve"):
            raise ConfigurationError('on_stale is "refuse" or "confirm"; to serve on, insecure_on_stale="serve"')
        if insecure_on_stale is not None:
            log_danger("insecure_on_stale", "revocations that cannot be learnt of are not applied")
        self._origin = origin
        self._max_staleness = max_staleness
        self._on_stale = insecure_on_stale or on_stale
        self._start_timeout = start_timeout
        self._republish_within = republish_within
        self._clock = clock
        self._ledger = Ledger()
        self._lock = threading.Lock()
        self._known_at = -math.inf  # the beginning of the last exchange that succeeded
        self._epoch: str | None = None
        self._position: str | None = None
        self._last_error: str | None = None
        self._is_closed = False
        self._started_at = -math.inf
        self._began = time.time() - clock()  # what the wall clock said at zero of the other
        self._feed: Feed | None = None
        self._follower: threading.Thread | None = None
        self._new_follower()
        _instances.add(self)

    # ------------------------------------------------------------------------------------ the store

    def record(self, rule: Rule, now: float) -> None:
        """Keep a rule in the origin, and here; see RevocationStore."""
        self._origin.record(rule, now)
        self._add(rule)

    async def arecord(self, rule: Rule, now: float) -> None:
        """`record` on asyncio."""
        await self._origin.arecord(rule, now)
        self._add(rule)

    def check(self, token: Revocable, now: float) -> Verdict:
        """The verdict where `local_check` has none: after the first snapshot, or from the origin."""
        self._loaded.wait(self._start_patience())
        verdict = self._after_start(token, now)
        return self._origin.check(token, now) if verdict is None else verdict

    async def acheck(self, token: Revocable, now: float) -> Verdict:
        """`check` on asyncio."""
        if not self._loaded.is_set():
            await asyncio.to_thread(lambda: self._loaded.wait(self._start_patience()))
        verdict = self._after_start(token, now)
        return await self._origin.acheck(token, now) if verdict is None else verdict

    def _start_patience(self) -> float:
        """What is left of `start_timeout`, which all the first requests share."""
        return max(0.0, self._started_at + self._start_timeout - self._clock())

    def _after_start(self, token: Revocable, now: float) -> Verdict | None:
        verdict = self.local_check(token, now)
        if verdict is None and self._on_stale != "confirm":
            raise StoreUnavailable(f"the first snapshot has not come: {self._last_error}")
        return verdict

    def local_check(self, token: Revocable, now: float) -> Verdict | None:
        """The verdict at once, from memory; see RevocationStore."""
        if self._follower is None:
            self.start()
        if self._is_closed:
            raise StoreUnavailable("the replica is closed")
        if self._clock() - self._known_at <= self._max_staleness:
            return self._ledger.check(token, now)
        if not self._loaded.is_set():
            return None
        if self._on_stale == "serve":
            return self._ledger.check(token, now)
        if self._on_stale == "confirm":
            return None
        raise StoreUnavailable(f"the replica is {self._clock() - self._known_at:.1f} s old: {self._last_error}")

    # ------------------------------------------------------------------------------------- its life

    def start(self) -> None:
        """Start the follower now, for instance at start-up."""
        with self._lock:
            if self._follower is not None or self._is_closed:
                return
            self._started_at = self._clock()
            given = weakref.ref(self), self._stop
            self._follower = threading.Thread(target=_follow, args=given, name="graphql-authkit-replica", daemon=True)
            self._follower.start()

    def ready(self) -> bool:
        """Whether checks can be answered now, for a readiness probe. Starts the follower."""
        if self._follower is None:
            self.start()
        return self.health().is_ready

    def health(self) -> ReplicaHealth:
        """How the replica is doing."""
        age = self._clock() - self._known_at
        is_ready = age <= self._max_staleness
        return ReplicaHealth(
            is_ready, None if age == math.inf else age, len(self._ledger), self._epoch, self._last_error
        )

    def close(self) -> None:
        """Stop following; it returns when the thread is gone. Checks are refused from now on."""
        with self._lock:
            self._is_closed = True
            follower, self._follower = self._follower, threading.current_thread()
        self._stop.set()
        feed = self._feed
        if feed is not None:
            feed.close()  # which ends the exchange under way
        if follower is not None and follower is not threading.current_thread():
            follower.join(self._max_staleness)
        self._known_at = -math.inf
        self._last_error = "closed"

    def _new_follower(self) -> None:
        self._lock = threading.Lock()
        self._feed = None
        self._position = None  # a fork may have come in the midst of a change here: read everything
        self._stop = threading.Event()
        self._loaded = threading.Event()
        if self._known_at > -math.inf:
            self._loaded.set()
        self._follower = None

    # ----------------------------------------------------------------------------------- following

    def _advance(self) -> None:
        """One exchange with the origin, or the first few."""
        if self._feed is None:
            self._feed = self._origin.open_feed(self._max_staleness)
            if self._stop.is_set():  # `close` came before there was a feed to close
                return
        if self._position is not None:
            try:
                self._poll(self._feed)
                return
            except (LookupError, NoEpoch) as error:  # it answers, and has lost something: no time to lose
                _log.warning("the revocation replica reads everything anew: %s", _named(error))
                self._position = None
                self._stop.wait(FIRST_PAUSE)
        self._load(self._feed)
        self._poll(self._feed)

    def _drop_feed(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()

    def _load(self, feed: Feed) -> None:
        """Read a snapshot, and give the origin what it lacks of what is known here."""
        try:
            epoch, position, entries = feed.snapshot()
        except NoEpoch:
            if self._clock() - self._known_at > self._republish_within:
                raise
            _log.warning("the origin of revocations lost its data: writing %d rules to it", len(self._ledger))
            feed.push(self._ledger.entries(self._now()))
            feed.claim(secrets.token_hex(16))
            epoch, position, entries = feed.snapshot()
        fresh = Ledger()
        for entry in entries:
            fresh.add(entry)
        with self._lock:
            missing = [entry for entry in self._ledger.entries(self._now()) if not fresh.covers(entry)]
            for entry in missing:
                fresh.add(entry)
            self._ledger = fresh
        if missing:
            feed.push(missing)
        self._position, self._epoch = position, epoch  # how old that is, the first poll says

    def _poll(self, feed: Feed) -> None:
        began = self._clock()
        news = feed.poll(self._position or "", POLL if self._loaded.is_set() else 0.0)
        if news.epoch != self._epoch:
            raise LookupError("the origin has a new epoch")
        with self._lock:
            for entry in news.entries:
                self._ledger.add(entry)
            self._ledger.forget(self._now())
        self._position = news.position
        if news.is_all:  # else there is more, and what is known here is older than `began`
            self._known_at = began
            self._last_error = None
            self._loaded.set()

    def _now(self) -> float:
        """By which rules have ended: a wall clock that leaps ahead, and may come back, ends none."""
        return min(time.time(), self._began + self._clock())

    def _add(self, rule: Rule) -> None:
        with self._lock:
            self._ledger.add((fingerprint(rule.key), rule.not_before, rule.expires_at))

    def _fail(self, error: Exception) -> None:
        self._drop_feed()
        if isinstance(error, LookupError | NoEpoch):
            self._position = None
        detail = _named(error)
        if detail != self._last_error:
            _log.warning("the revocation replica cannot follow its origin: %s", detail)
        self._last_error = detail


def _named(error: Exception) -> str:
    return getattr(error, "detail", None) or type(error).__name__


def _follow(reference: weakref.ref[ReplicatedRevocationStore], stop: threading.Event) -> None:
    """The follower's work. Between exchanges it holds no replica, so that one that nobody holds can go."""
    pause, feed = FIRST_PAUSE, None
    while not stop.is_set():
        replica = reference()
        if replica is None:
            break
        has_failed = False
        try:
            replica._advance()
        except Exception as error:
            has_failed = not stop.is_set()
            if has_failed:
                replica._fail(error)
        feed = replica._feed
        del replica
        if has_failed:
            stop.wait(pause)
        pause = min(pause * 2, LONGEST_PAUSE) if has_failed else FIRST_PAUSE
    if feed is not None:
        feed.close()


_instances: weakref.WeakSet[ReplicatedRevocationStore] = weakref.WeakSet()


def _after_fork() -> None:
    for store in tuple(_instances):
        store._new_follower()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
