"""The renewal of a key set: one view that lookups read, one flight at a time that brings the next.

Rules:
- A lookup reads one immutable view: no lock, no I/O, whatever a fetch is doing. The first lookup after a
  view is due starts a fetch and still answers from the view.
- A flight belongs to a short-lived daemon thread, never to a caller's task, thread or loop. It is marked
  running before it is published, so that no waiter can cancel it. One that does not end is given up, and
  what it brings is dropped.
- The lock guards the flight and the limits beside it; nothing waits while holding it.
- A failed fetch never replaces good keys. When fetches may start is `pace`'s to say.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from .._http import FetchError
from ..errors import AuthError, KeysUnavailable
from .document import Document, freshness
from .pace import Backoff, SearchBudget
from .source import KeySet

__all__ = ["KeysHealth", "Renewal", "Times"]

OVERDUE = 3  # timeouts, after which a flight that does not end (a fetcher that hangs) is given up
MOST_HANGING = 3
AHEAD, JITTER = 0.75, 0.15  # of a set's time: when it is fetched anew, and how much of that is chance

Fetch: TypeAlias = Callable[[Document | None, float, bool], Document]
"""Takes the document before, the time, and whether its place is in doubt; raises what it likes."""

Tell: TypeAlias = Callable[[Document | None, bool, str, float], None]
"""Told of each fetch: the document or None, whether its keys are new, the failure, the seconds it took."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that rule a renewal; RemoteJWKS documents each."""

    timeout: float
    ttl: float
    cooldown: float
    stale_if_error: float


@dataclass(frozen=True, slots=True)
class KeysHealth:
    """How a key source is doing.

    Args:
        is_usable: Whether tokens of known keys verify now.
        is_fresh: Whether the set is within the time that it was fetched for.
        keys: How many keys there are.
        age: Seconds since the set was fetched or confirmed; None before the first time.
        last_success: When that was, in seconds since the epoch.
        last_error: What the last failed fetch failed of, or None.
        last_error_at: When, in seconds since the epoch.
        failures: How many fetches in a row failed.
        next_refresh: Seconds until a lookup starts the next fetch; None where nothing was fetched yet.
    """

    is_usable: bool
    is_fresh: bool
    keys: int
    age: float | None
    last_success: float | None
    last_error: str | None
    last_error_at: float | None
    failures: int
    next_refresh: float | None


class _View(NamedTuple):
    """What lookups read. Times are the source's own clock's but for `succeeded_at`."""

    keys: KeySet | None
    refresh_at: float  # never later than `usable_until`
    usable_until: float
    fresh_until: float
    fetched_at: float
    succeeded_at: float | None
    document: Document | None


_NOTHING = _View(None, math.inf, -math.inf, -math.inf, -math.inf, None, None)


@dataclass(slots=True, eq=False)
class _Flight:
    future: Future[KeySet]
    overdue_at: float
    kid: str | None
    has_landed: bool = False


@dataclass(slots=True)
class _State:
    """What the lock guards. A forked child gets a new one: its parent's threads stayed behind."""

    backoff: Backoff
    budget: SearchBudget
    lock: threading.Lock = field(default_factory=threading.Lock)
    flight: _Flight | None = None
    hanging: int = 0
    last_failure: str | None = None
    failed_at: float | None = None
    is_place_doubtful: bool = False


class Renewal:
    """Keeps a key set fresh.

    Args:
        fetch: Called in a thread of its own, one at a time but for those given up.
        tell: Told of each fetch, in that thread.
        times: How long things take and last.
        clock: Monotonic seconds.
    """

    def __init__(self, fetch: Fetch, tell: Tell, times: Times, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._tell = tell
        self._times = times
        self._timeout = times.timeout
        self._clock = clock
        self._chance: Callable[[], float] = random.random
        self._is_closed = False
        self._view = _NOTHING
        self._thread: threading.Thread | None = None  # of the latest flight; it tells of it after landing
        self._state = self._new_state()
        _instances.add(self)

    def allow(self, timeout: float) -> None:
        """Give a fetch of several documents longer."""
        self._timeout = timeout

    def lookup(self) -> KeySet | None:
        """The keys as last fetched, at once; None where there are none, or they are too old to use."""
        view = self._view
        now = self._clock()
        return view.keys if view.fetched_at <= now < view.refresh_at else self._due(view, now)

    def refresh(self, unknown_kid: str | None = None) -> Future[KeySet] | None:
        """Start a flight, or join the one under way; see RemoteJWKS.refresh."""
        state = self._state
        with state.lock:
            if self._is_closed:
                raise KeysUnavailable("the key source is closed")
            now = self._clock()
            self._give_up_overdue(state, now)
            if state.flight is not None:
                if unknown_kid is not None:
                    state.budget.notice(unknown_kid)
                return state.flight.future
            if now < state.backoff.retry_at:
                wait = state.backoff.retry_at - now
                raise KeysUnavailable(f"{state.last_failure} (next try in {wait:.1f} s)", retry_after=wait)
            if state.hanging >= MOST_HANGING:
                raise KeysUnavailable(f"{state.hanging} fetches do not end")
            if unknown_kid is not None and not state.budget.take(unknown_kid, now):
                if state.backoff.failures:
                    raise KeysUnavailable(f"{state.last_failure}")  # nobody can say that there is no such key
                return None
            flight = self._take_off(state, now, unknown_kid)
        self._launch(flight, now)
        return flight.future

    def health(self) -> KeysHealth:
        """How it is doing."""
        state, view, now = self._state, self._view, self._clock()
        has_keys = view.keys is not None
        return KeysHealth(
            is_usable=has_keys and now < view.usable_until,
            is_fresh=has_keys and now < view.fresh_until,
            keys=0 if view.keys is None else len(view.keys),
            age=now - view.fetched_at if has_keys else None,
            last_success=view.succeeded_at,
            last_error=state.last_failure,
            last_error_at=state.failed_at,
            failures=state.backoff.failures,
            next_refresh=max(0.0, view.refresh_at - now) if has_keys else None,
        )

    def close(self, cut: Callable[[], None]) -> None:
        """Fetch nothing more and give no keys; call `cut` to end the fetch under way, and wait for its thread."""
        with self._state.lock:
            self._is_closed = True
            self._view = _NOTHING
        cut()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            with contextlib.suppress(RuntimeError):  # not started yet: then it finds the source closed, and ends
                thread.join(self._timeout)

    # ------------------------------------------------------------------------------------- flights

    def _due(self, view: _View, now: float) -> KeySet | None:
        """The lookup that finds a view due starts a fetch, if one may start, and answers from the view."""
        if not view.fetched_at <= now < view.usable_until:  # of a clock that was set back nobody knows the age
            return None
        state = self._state
        flight = None
        if state.lock.acquire(blocking=False):  # whoever has it sees to the same
            try:
                self._give_up_overdue(state, now)
                if self._view is view and state.flight is None and not self._is_closed:
                    if now >= state.backoff.retry_at and state.hanging < MOST_HANGING:
                        flight = self._take_off(state, now, None)
                    else:
                        self._postpone(max(state.backoff.retry_at, now + 1))
            finally:
                state.lock.release()
        if flight is not None:
            self._launch(flight, now)
        return view.keys

    def _postpone(self, until: float) -> None:
        if self._view.keys is not None:
            self._view = self._view._replace(refresh_at=min(until, self._view.usable_until))

    def _give_up_overdue(self, state: _State, now: float) -> None:
        if state.flight is not None and now >= state.flight.overdue_at:
            state.flight = None
            state.hanging += 1
            self._fail(state, now, "a fetch did not end and was given up")

    def _take_off(self, state: _State, now: float, kid: str | None) -> _Flight:
        flight = _Flight(Future(), now + OVERDUE * self._timeout, kid)
        flight.future.set_running_or_notify_cancel()
        state.flight = flight
        self._postpone(flight.overdue_at)
        return flight

    def _launch(self, flight: _Flight, now: float) -> None:
        arguments = (flight, self._view.document, now, self._state.is_place_doubtful)
        thread = threading.Thread(target=self._fly, args=arguments, name="graphql-authkit-keys", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:  # shutting down, or there are no threads left
            self._land(flight, None, f"no thread: {error}")
        except BaseException:
            self._land(flight, None, "interrupted")
            raise

    def _fly(self, flight: _Flight, previous: Document | None, now: float, relocate: bool) -> None:
        started = time.monotonic()
        document: Document | None = None
        failure = "the fetch failed"
        view: _View | None = None
        try:
            if not self._is_closed:
                document = self._fetch(previous, now, relocate)
                view = self._viewed(document, now)
        except (AuthError, FetchError, ValueError) as error:  # the last from what was read, and ours
            failure = error.detail if isinstance(error, AuthError) else str(error)
        except BaseException as error:  # SystemExit too: a flight that never ends would hold everyone
            failure = type(error).__name__
        finally:
            document = None if view is None else document
            self._land(flight, view, failure)
        is_new = document is not None and (previous is None or document.keys is not previous.keys)
        self._tell(document, is_new, failure, time.monotonic() - started)

    def _land(self, flight: _Flight, view: _View | None, failure: str) -> None:
        state = self._state
        with state.lock:
            if flight.has_landed:
                return
            flight.has_landed = True
            if state.flight is not flight:  # it was given up, and must not overwrite a newer one
                state.hanging -= 1
                view = None
            else:
                state.flight = None
                if view is None:
                    self._fail(state, self._clock(), failure)
                    if flight.kid is not None:
                        state.budget.give_back(flight.kid)
                elif not self._is_closed:
                    state.backoff.succeed()
                    state.is_place_doubtful = flight.kid is not None and not _has(view.keys, flight.kid)
                    self._view = view
        if view is not None and view.keys is not None:
            flight.future.set_result(view.keys)
        else:
            flight.future.set_exception(KeysUnavailable(failure))

    def _viewed(self, document: Document, now: float) -> _View:
        """Times run from when the fetch began: what came may be as old as that."""
        holds = freshness(document.headers, least=self._times.cooldown, most=self._times.ttl)
        usable_until = now + holds + self._times.stale_if_error
        refresh_at = now + holds * (AHEAD + JITTER * self._chance())
        return _View(document.keys, refresh_at, usable_until, now + holds, now, time.time(), document)

    def _fail(self, state: _State, now: float, failure: str) -> None:
        state.backoff.fail(now)
        state.last_failure, state.failed_at = failure, time.time()
        state.is_place_doubtful = True
        self._postpone(state.backoff.retry_at)

    def _new_state(self) -> _State:
        return _State(Backoff(self._times.cooldown, lambda: self._chance()), SearchBudget(self._times.cooldown))


def _has(keys: KeySet | None, kid: str) -> bool:
    return keys is not None and any(key.kid == kid for key in keys.keys)


_instances: weakref.WeakSet[Renewal] = weakref.WeakSet()


def _after_fork() -> None:
    for source in tuple(_instances):
        source._state = source._new_state()
        source._thread = None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
