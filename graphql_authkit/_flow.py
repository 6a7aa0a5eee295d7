"""One body of logic, two ways to drive it. Here: `call`, `wait`, `Port`, `run`, `arun`; no domain, ever.

The core is written as `async def`. It awaits other core coroutines directly and, of the outside world,
only `call(port, ...)` and `wait(future, ...)`. Each hands one private `Step` to whoever drives the
coroutine: `run` performs it by blocking, `arun` by awaiting on asyncio. The device is that of trio's
`_core/_traps.py`; the shape is that of psycopg 3's generators.

Rules, each with a test:
- A driver that receives anything but a `Step` raises RuntimeError: the core never awaits asyncio itself.
- Drivers close the coroutine on every exit and throw failures, cancellation included, into it.
- A port is asynchronous if what it *returns* is awaitable: partials, callable objects and lambdas count.
- On the asyncio side a port that may block runs in a worker thread; on the sync side an asynchronous
  port is a ConfigurationError that names the verb's a-twin.
- A sync verb that must wait inside a running event loop warns once, naming the a-twin.
- Deadlines live in the ports; only `wait` has one, since a Future has none of its own.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import types
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar, cast

from .errors import ConfigurationError

__all__ = ["AsyncPortError", "Port", "arun", "call", "run", "wait"]

P = ParamSpec("P")
T = TypeVar("T")

_warned: set[str] = set()


class AsyncPortError(ConfigurationError):
    """A sync verb met an asynchronous port."""


class Port(Generic[P, T]):
    """A foreign callable, wrapped once: what the core may `call`.

    Args:
        function: The callable, sync or async, or the sync half of a pair.
        twin: The async half of a pair; then `function` serves `run` and `twin` serves `arun`.
        blocking: False promises that a sync `function` never waits, so that `arun` may call it in the loop.
    """

    __slots__ = ("blocking", "function", "is_async", "twin")

    def __init__(
        self,
        function: Callable[P, T | Awaitable[T]],
        *,
        twin: Callable[P, Awaitable[T]] | None = None,
        blocking: bool = True,
    ) -> None:
        if not callable(function):
            raise ConfigurationError(f"expected a callable, got {type(function).__name__}")
        self.function = function
        self.twin = twin
        self.is_async = twin is None and _is_coroutine_callable(function)
        self.blocking = blocking and not self.is_async


def _is_coroutine_callable(function: Callable[..., object]) -> bool:
    """Whether calling it is known to give a coroutine. False may still turn out to be async."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the bound method is inspected, not tested for
    )


class _Call:
    """A step: call a port. Nothing outside this module makes one."""

    __slots__ = ("args", "port")

    def __init__(self, port: Port[..., Any], args: tuple[object, ...]) -> None:
        self.port = port
        self.args = args

    def perform(self, verb: str) -> object:
        if self.port.blocking:
            _warn_if_in_loop(verb)
        result = self.port.function(*self.args)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise AsyncPortError(
                f"{_name(self.port.function)} is asynchronous and {verb}() is not: call a{verb}() instead"
            )
        return result

    async def aperform(self) -> object:
        port = self.port
        if port.twin is not None:
            return await port.twin(*self.args)
        if port.blocking:
            result = await asyncio.to_thread(_without_stop_iteration, port.function, self.args)
        else:
            result = port.function(*self.args)
        return await result if inspect.isawaitable(result) else result


class _Wait:
    """A step: wait for a future."""

    __slots__ = ("future", "timeout")

    def __init__(self, future: Future[Any], timeout: float) -> None:
        self.future = future
        self.timeout = timeout

    def perform(self, verb: str) -> object:
        if not self.future.done():
            _warn_if_in_loop(verb)
        return self.future.result(self.timeout)

    async def aperform(self) -> object:
        # No shield: a flight is marked running before it is published, and a running Future cannot be
        # cancelled by a waiter who gives up. A shielded one would call into a loop that may be closed.
        return await asyncio.wait_for(asyncio.wrap_future(self.future), self.timeout)


_Step: TypeAlias = _Call | _Wait


@types.coroutine
def _hand_over(step: _Step) -> Generator[_Step, object, object]:
    return (yield step)


async def call(port: Port[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the outside world and return what it answers.

    Raises:
        AsyncPortError: An asynchronous port under `run`.
        Exception: Whatever the port raises.
    """
    if kwargs:
        raise TypeError("a port takes positional arguments only")
    return cast(T, await _hand_over(_Call(port, args)))


async def wait(future: Future[T], timeout: float) -> T:
    """Wait for a future that a thread of its own completes.

    Args:
        future: Already marked running, so that a waiter who gives up cannot cancel it.
        timeout: Seconds.

    Raises:
        TimeoutError: It is not done in time; it goes on for the others.
    """
    return cast(T, await _hand_over(_Wait(future, timeout)))


def run(coroutine: Coroutine[Any, Any, T], verb: str) -> T:
    """Drive a core coroutine to its end, blocking. `verb` is the public name that messages mention."""
    try:
        step = _expect_step(coroutine.send(None))
        while True:
            try:
                result = step.perform(verb)
            except BaseException as error:
                step = _expect_step(coroutine.throw(error))
            else:
                step = _expect_step(coroutine.send(result))
    except StopIteration as stop:
        return cast(T, stop.value)
    finally:
        coroutine.close()


async def arun(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive a core coroutine to its end on asyncio."""
    try:
        step = _expect_step(coroutine.send(None))
        while True:
            try:
                result = await step.aperform()
            except BaseException as error:
                step = _expect_step(coroutine.throw(error))
            else:
                step = _expect_step(coroutine.send(result))
    except StopIteration as stop:
        return cast(T, stop.value)
    finally:
        coroutine.close()


def _without_stop_iteration(function: Callable[..., object], args: tuple[object, ...]) -> object:
    """A Future cannot hold a StopIteration: asyncio would wait for the thread's answer for ever."""
    try:
        return function(*args)
    except StopIteration as error:
        raise RuntimeError("a port raised StopIteration") from error


def _expect_step(step: object) -> _Step:
    if isinstance(step, _Call | _Wait):
        return step
    raise RuntimeError(f"core code awaited {type(step).__name__}; it may await only call() and wait()")


def _warn_if_in_loop(verb: str) -> None:
    if verb in _warned:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    _warned.add(verb)
    warnings.warn(
        f"{verb}() waits and an event loop is running in this thread, which it stops: await a{verb}() instead",
        RuntimeWarning,
        stacklevel=2,
    )


def _name(function: Callable[..., object]) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))
