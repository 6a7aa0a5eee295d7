"""What a shared store is to its replicas: a log with an epoch. The protocol, and the bound on every wait.

An origin holds, beside its rules, an epoch: a marker that `create()` makes once. An origin without it has
lost its data, or never had any; whoever asks it learns that nobody can say, never that nothing is revoked.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

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
IDLE = 30.0  # seconds after which a thread without work ends


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


class Call(Generic[T]):
    """One blocking call: what it does, what came of it, and who waits."""

    __slots__ = ("_is_given_up", "_lock", "function", "future", "hang_up")

    def __init__(self, function: Callable[[Call[T]], T]) -> None:
        self.function = function
        self.future: Future[T] = Future()
        self.hang_up: Callable[[], object] | None = None
        self._lock = threading.Lock()
        self._is_given_up = False

    @contextlib.contextmanager
    def on(self, hang_up: Callable[[], object]) -> Iterator[None]:
        """Within it, giving the call up calls this, so that it need not wait for what never comes.

        Raises:
            StoreUnavailable: It has been given up.
        """
        with self._lock:
            if self._is_given_up:
                raise StoreUnavailable("given up")
            self.hang_up = hang_up
        try:
            yield
        finally:
            with self._lock:
                self.hang_up = None

    def give_up(self, error: Exception | None = None) -> None:
        """Nobody waits any longer; who still does gets the error."""
        with self._lock:
            if error is not None:
                with contextlib.suppress(InvalidStateError):
                    self.future.set_exception(error)
            self._is_given_up = True
            if self.hang_up is not None:
                with contextlib.suppress(Exception):
                    self.hang_up()

    def run(self) -> None:
        """Do it, unless it was given up."""
        with self._lock:
            if self.future.done() or not self.future.set_running_or_notify_cancel():
                return
        with contextlib.suppress(InvalidStateError):  # whoever waited was sent away meanwhile
            try:
                self.future.set_result(self.function(self))
            except BaseException as error:
                self.future.set_exception(error)


class Bounded:
    """Runs blocking calls in threads of its own, and waits for each no longer than a deadline.

    The threads are daemons: a server that hangs does not keep the process from ending. One whose call did
    not end in time is given up, and another takes its place; idle ones end.

    Args:
        name: For the threads.
        deadline: Seconds.
        workers: Calls at a time.
        most_lost: Calls given up that may still hang before no further one is begun.
    """

    def __init__(self, name: str, deadline: float, *, workers: int = 16, most_lost: int = MOST_LOST) -> None:
        self._name = name
        self._deadline = deadline
        self._workers = workers
        self._most_lost = most_lost
        self._threads = 0
        self._is_closed = False
        self._reset()
        _bounded.add(self)

    def __call__(self, function: Callable[[Call[T]], T], deadline: float | None = None) -> T:
        """Run it, with the call as its argument.

        Raises:
            StoreUnavailable: It took too long, or too many calls hang, or `close` came first.
            Exception: What it raises.
        """
        deadline = self._deadline if deadline is None else deadline
        until = time.monotonic() + deadline
        call = Call(function)
        self._hand_over(call)
        try:
            return call.future.result(until - time.monotonic())
        except TimeoutError:
            if call.future.done() and not call.future.cancelled():
                return call.future.result()  # in the last moment, or a TimeoutError of its own
            if not call.future.cancel():  # it runs, and its thread is lost to it
                with self._lock:
                    self._threads -= 1
                    self._lost += 1
                call.future.add_done_callback(self._found)
                call.give_up()
            raise StoreUnavailable(f"no answer within {deadline:g} s") from None
        finally:
            with self._lock:
                self._waited_for.discard(call)

    def close(self) -> None:
        """End the threads that are not busy, and the waiting; nothing is run from now on."""
        with self._lock:
            self._is_closed = True
            threads, self._threads = self._threads, 0
            waited_for = tuple(self._waited_for)
        for _ in range(threads):
            self._calls.put(None)
        for call in waited_for:
            call.give_up(StoreUnavailable("closed"))

    def _hand_over(self, call: Call[Any]) -> None:
        with self._lock:
            if self._is_closed:
                raise StoreUnavailable("closed")
            needs_one = self._pending >= self._idle and self._threads < self._workers
            if needs_one and self._lost >= self._most_lost:
                raise StoreUnavailable(f"{self._lost} calls do not end")
            self._pending += 1
            self._threads += needs_one
            self._waited_for.add(call)
            self._calls.put(call)
        if needs_one:
            threading.Thread(target=self._work, args=(self._calls,), name=self._name, daemon=True).start()

    def _work(self, calls: SimpleQueue[Call[Any] | None]) -> None:
        while True:
            with self._lock:
                self._idle += 1
            try:
                call = calls.get(timeout=IDLE)
            except Empty:
                with self._lock:
                    self._idle -= 1
                    if self._pending:  # it came in this moment
                        continue
                    self._threads -= 1
                    return
            with self._lock:
                self._idle -= 1
                self._pending -= call is not None
            if call is None:
                return
            call.run()
            del call

    def _found(self, _future: Future[Any]) -> None:
        """A call that was given up has ended after all."""
        with self._lock:
            self._lost -= 1
            self._threads += 1

    def _reset(self) -> None:
        """Also in a forked child: the threads stayed behind."""
        self._lock = threading.Lock()
        self._calls: SimpleQueue[Call[Any] | None] = SimpleQueue()
        self._waited_for: set[Call[Any]] = set()
        self._threads, self._idle, self._pending, self._lost = 0, 0, 0, 0


_bounded: weakref.WeakSet[Bounded] = weakref.WeakSet()


def _after_fork() -> None:
    for bounded in tuple(_bounded):
        bounded._reset()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
