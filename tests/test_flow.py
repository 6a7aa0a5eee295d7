"""The two drivers, and every rule that makes one body of logic safe under both."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import pytest

from graphql_authkit import _flow
from graphql_authkit._flow import Port, arun, call, run, wait
from graphql_authkit.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _forget_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_flow, "_warned", set())


def drive(name: str, coroutine: Coroutine[Any, Any, Any]) -> Any:
    return run(coroutine, "verb") if name == "sync" else asyncio.run(arun(coroutine))


both = pytest.mark.parametrize("name", ["sync", "asyncio"])


def double(value: int) -> int:
    return value * 2


async def adouble(value: int) -> int:
    await asyncio.sleep(0)
    return value * 2


class AsyncCallable:
    async def __call__(self, value: int) -> int:
        return value * 2


ASYNC_PORTS: dict[str, Callable[..., Any]] = {
    "async def": adouble,
    "partial": functools.partial(adouble),
    "partial of a partial": functools.partial(functools.partial(adouble)),
    "callable object": AsyncCallable(),
    "bound method": AsyncCallable().__call__,
    "lambda": lambda value: adouble(value),
}


@both
def test_a_sync_port_answers_under_both_drivers(name: str) -> None:
    async def core() -> int:
        return await call(Port(double), 4) + await call(Port(double, blocking=False), 1)

    assert drive(name, core()) == 10


@pytest.mark.parametrize("kind", ASYNC_PORTS)
def test_every_kind_of_async_port_is_awaited_on_asyncio(kind: str) -> None:
    async def core() -> int:
        return await call(Port[..., int](ASYNC_PORTS[kind]), 4)

    assert asyncio.run(arun(core())) == 8


@pytest.mark.parametrize("kind", ASYNC_PORTS)
def test_every_kind_of_async_port_is_refused_by_the_sync_driver_by_the_name_of_the_twin(kind: str) -> None:
    async def core() -> int:
        return await call(Port[..., int](ASYNC_PORTS[kind]), 4)

    with pytest.raises(ConfigurationError, match=r"call averify\(\) instead"):
        run(core(), "verify")
    gc.collect()  # a coroutine left unawaited would warn here, and warnings are errors


@pytest.mark.parametrize("kind", [kind for kind in ASYNC_PORTS if kind != "lambda"])
def test_an_async_port_is_known_as_one_before_it_is_called(kind: str) -> None:
    assert Port[..., int](ASYNC_PORTS[kind]).is_async is True


def test_a_pair_serves_each_driver_with_its_own_half() -> None:
    port: Port[[int], int] = Port(lambda value: value + 1, twin=adouble)

    async def core() -> int:
        return await call(port, 5)

    assert (run(core(), "verb"), asyncio.run(arun(core()))) == (6, 10)


def test_a_port_must_be_callable() -> None:
    with pytest.raises(ConfigurationError):
        Port(None)  # type: ignore[arg-type]


@both
def test_a_ports_failure_is_thrown_into_the_core(name: str) -> None:
    def fail() -> None:
        raise LookupError("gone")

    async def core() -> str:
        try:
            await call(Port(fail))
        except LookupError as error:
            return f"handled {error}"
        return "not reached"

    assert drive(name, core()) == "handled gone"


@both
def test_stop_iteration_from_a_port_ends_nothing_quietly(name: str) -> None:
    def fail() -> None:
        raise StopIteration("sneaky")

    async def core(blocking: bool) -> str:
        await call(Port(fail, blocking=blocking))
        return "passed"

    for blocking in (True, False):
        with pytest.raises(RuntimeError):
            drive(name, core(blocking))


@both
def test_a_core_that_awaits_asyncio_itself_is_a_runtime_error(name: str) -> None:
    async def core() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="core code awaited NoneType"):
        drive(name, core())


@both
def test_a_core_cannot_catch_its_own_foreign_await(name: str) -> None:
    async def core() -> str:
        try:
            await asyncio.sleep(0)
        except Exception:
            return "caught"
        return "awaited"

    with pytest.raises(RuntimeError, match="core code awaited NoneType"):
        drive(name, core())


@both
def test_a_core_that_awaits_a_foreign_awaitable_is_a_runtime_error(name: str) -> None:
    class Foreign:
        def __await__(self) -> Any:
            yield "a step of somebody else's"

    async def core() -> None:
        await Foreign()

    with pytest.raises(RuntimeError, match="core code awaited str"):
        drive(name, core())


@both
def test_the_core_is_closed_on_every_exit(name: str) -> None:
    closed: list[str] = []

    async def core() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append("finally")

    with pytest.raises(RuntimeError):
        drive(name, core())
    assert closed == ["finally"]


def test_cancellation_is_thrown_into_the_core_and_comes_out_again() -> None:
    seen: list[str] = []

    async def forever() -> bool:
        return await asyncio.Event().wait()

    port: Port[[], bool] = Port(forever)

    async def core() -> None:
        try:
            await call(port)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main() -> None:
        task = asyncio.create_task(arun(core()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["cancelled"]


def test_a_blocking_port_never_runs_in_the_loops_thread() -> None:
    async def core() -> int:
        return await call(Port(threading.get_ident))

    async def main() -> bool:
        return await arun(core()) == threading.get_ident()

    assert asyncio.run(main()) is False


def test_a_port_that_promises_not_to_block_runs_in_the_loop() -> None:
    async def core() -> int:
        return await call(Port(threading.get_ident, blocking=False))

    async def main() -> bool:
        return await arun(core()) == threading.get_ident()

    assert asyncio.run(main()) is True


def running_future() -> Future[str]:
    future: Future[str] = Future()
    future.set_running_or_notify_cancel()
    return future


@both
def test_a_wait_ends_when_a_thread_completes_the_future(name: str) -> None:
    future = running_future()
    threading.Timer(0.01, future.set_result, ("there",)).start()

    async def core() -> str:
        return await wait(future, 5.0)

    assert drive(name, core()) == "there"


@both
def test_a_wait_has_a_deadline_and_leaves_the_future_to_the_others(name: str) -> None:
    future = running_future()

    async def core() -> str:
        return await wait(future, 0.01)

    with pytest.raises(TimeoutError):
        drive(name, core())
    future.set_result("late")
    assert future.result() == "late"


def test_a_cancelled_waiter_harms_no_other() -> None:
    future = running_future()

    async def core() -> str:
        return await wait(future, 5.0)

    async def main() -> str:
        impatient = asyncio.create_task(arun(core()))
        patient = asyncio.create_task(arun(core()))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        future.set_result("there")
        return await patient

    assert asyncio.run(main()) == "there"


def test_a_future_that_ends_after_its_loop_is_closed_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    future = running_future()

    async def core() -> str:
        return await wait(future, 0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(arun(core()))
    future.set_result("late")
    assert caplog.records == []


def test_a_sync_verb_that_blocks_a_running_loop_warns_once_by_the_name_of_the_twin() -> None:
    async def core() -> int:
        return await call(Port(double), 1)

    async def main() -> None:
        with pytest.warns(RuntimeWarning, match=r"await averify\(\) instead"):
            run(core(), "verify")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run(core(), "verify")

    asyncio.run(main())


def test_a_sync_verb_that_need_not_wait_warns_nobody() -> None:
    future: Future[int] = Future()
    future.set_result(3)

    async def core() -> int:
        return await call(Port(double, blocking=False), 1) + await wait(future, 1.0)

    async def main() -> int:
        return run(core(), "verify")

    assert asyncio.run(main()) == 5


def test_ports_take_positional_arguments_only() -> None:
    async def core() -> int:
        return await call(Port(double), value=1)

    with pytest.raises(TypeError):
        run(core(), "verb")
