"""Blocking calls in threads of our own, each waited for no longer than a deadline, and then hung up."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from ..errors import StoreUnavailable

__all__ = ["Bounded", "Call"]

T = TypeVar("T")

MOST_LOST = 64  # threads that wait for what never ends
IDLE = 30.0  # seconds after which a thread without work ends
GRACE = 0.3  # seconds that closing waits for calls under way, which have been hung up


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
    def on(self, hang_up: Callable[[], object], lost: Callable[[], object]) -> Iterator[None]:
        """Within it, giving the call up calls `hang_up`, so that it need not wait for what never comes.

        At its end `lost` is then called, in the call's own thread: what was hung up is of no use to others.

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
                is_lost = self._is_given_up
            if is_lost:
                with contextlib.suppress(Exception):
                    lost()

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
        """End the waiting and the threads; nothing is run from now on. One that hangs is not waited for."""
        with self._lock:
            self._is_closed = True
            waited_for, alive = tuple(self._waited_for), tuple(self._alive)
        for _ in alive:
            self._calls.put(None)
        for call in waited_for:
            call.give_up(StoreUnavailable("closed"))
        until = time.monotonic() + GRACE
        for thread in alive:  # lest one give a connection back to a pool that its owner disposes of next
            thread.join(max(0.0, until - time.monotonic()))

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
            self._start(call)

    def _start(self, call: Call[Any]) -> None:
        """Start one more thread; if there is no room for it, the call is none."""
        thread = threading.Thread(target=self._work, args=(self._calls,), name=self._name, daemon=True)
        with self._lock:
            self._alive.add(thread)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            call.future.cancel()
            with self._lock:
                self._alive.discard(thread)
                self._threads -= 1
                self._waited_for.discard(call)
            raise StoreUnavailable("no thread can be started") from error

    def _work(self, calls: SimpleQueue[Call[Any] | None]) -> None:
        try:
            self._run(calls)
        finally:
            with self._lock:
                self._alive.discard(threading.current_thread())

    def _run(self, calls: SimpleQueue[Call[Any] | None]) -> None:
        while True:
            with self._lock:
                if self._is_closed:
                    return
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
        self._alive: set[threading.Thread] = set()
        self._threads, self._idle, self._pending, self._lost = 0, 0, 0, 0


_bounded: weakref.WeakSet[Bounded] = weakref.WeakSet()


def _after_fork() -> None:
    for bounded in tuple(_bounded):
        bounded._reset()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
