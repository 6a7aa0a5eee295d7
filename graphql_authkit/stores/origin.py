"""What a shared store is to its replicas: a log with an epoch. The protocol, and the bound on every wait.

An origin holds, beside its rules, an epoch: a marker that `create()` makes once. An origin without it has
lost its data, or never had any; whoever asks it learns that nobody can say, never that nothing is revoked.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar

from ..errors import AuthError, StoreUnavailable
from ..revocation import FINGERPRINT_BYTES, Revocable, RevocationKey, Rule, Verdict, fingerprint, judge, keys_of
from .ledger import Entry

__all__ = [
    "Bounded",
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

T = TypeVar("T")

FAILURES = 3  # in a row, after which a store is not asked for a while
PAUSE = 1.0
MOST_LOST = 64  # threads that wait for what never ends


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

    def succeeded(self) -> None:
        """After an exchange that told something."""
        self._failures = 0

    def failed(self) -> None:
        """After one that did not."""
        with self._lock:
            self._failures += 1
            self._closed_until = self._clock() + PAUSE


class Bounded:
    """Runs blocking calls in threads of its own, and waits for each no longer than a deadline.

    The threads are daemons: a server that hangs does not keep the process from ending. One whose call did
    not end in time is given up, and another takes its place.

    Args:
        name: For the threads.
        deadline: Seconds.
        workers: Calls at a time.
    """

    def __init__(self, name: str, deadline: float, workers: int = 16) -> None:
        self._name = name
        self._deadline = deadline
        self._workers = workers
        self._threads = 0
        self._reset()
        _bounded.add(self)

    def __call__(self, function: Callable[[], T]) -> T:
        """Run it.

        Raises:
            StoreUnavailable: It took too long, or too many calls hang.
            Exception: What it raises.
        """
        until = time.monotonic() + self._deadline
        future: Future[T] = Future()
        self._hand_over(future, function)
        try:
            return future.result(until - time.monotonic())
        except TimeoutError:
            if not future.cancel():  # it runs, and its thread is lost to it
                with self._lock:
                    self._threads -= 1
                    self._lost += 1
                future.add_done_callback(self._found)
            raise StoreUnavailable(f"no answer within {self._deadline:g} s") from None

    def close(self) -> None:
        """End the threads that are not busy."""
        with self._lock:
            threads, self._threads = self._threads, 0
        for _ in range(threads):
            self._calls.put(None)

    def _hand_over(self, future: Future[T], function: Callable[[], T]) -> None:
        with self._lock:
            needs_one = self._pending >= self._idle and self._threads < self._workers
            if needs_one and self._lost >= MOST_LOST:
                raise StoreUnavailable(f"{self._lost} calls do not end")
            self._pending += 1
            self._threads += needs_one
            self._calls.put((future, function))
        if needs_one:
            threading.Thread(target=self._work, args=(self._calls,), name=self._name, daemon=True).start()

    def _work(self, calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]) -> None:
        while True:
            with self._lock:
                self._idle += 1
            call = calls.get()
            with self._lock:
                self._idle -= 1
                self._pending -= call is not None
            if call is None:
                return
            future, function = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

    def _found(self, _future: Future[Any]) -> None:
        """A call that was given up has ended after all."""
        with self._lock:
            self._lost -= 1
            self._threads += 1

    def _reset(self) -> None:
        """Also in a forked child: the threads stayed behind."""
        self._lock = threading.Lock()
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads, self._idle, self._pending, self._lost = 0, 0, 0, 0


_bounded: weakref.WeakSet[Bounded] = weakref.WeakSet()


def _after_fork() -> None:
    for bounded in tuple(_bounded):
        bounded._reset()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
