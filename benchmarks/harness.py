"""The harness: cases interleaved in random order, medians, and ratios of each round.

Ratios count, not microseconds: a machine that others use slows every case of a round alike.
"""

from __future__ import annotations

import abc
import asyncio
import gc
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.results import Bar, Row, Table


@dataclass(frozen=True)
class Timed(abc.ABC):
    """One thing to measure.

    Args:
        name: As the table shows it.
        over: The bare case whose time is taken off this one's, round by round: what is left was added.
    """

    name: str
    over: str | None = field(default=None, kw_only=True)

    @abc.abstractmethod
    def seconds(self, calls: int) -> float:
        """Do it so many times, and tell how long that took."""


@dataclass(frozen=True)
class Case(Timed):
    """A function.

    Args:
        run: Does it once, for the number given: the cases of a group are given the same numbers.
    """

    run: Callable[[int], object]

    def seconds(self, calls: int) -> float:
        run = self.run
        started = time.perf_counter()
        for number in range(calls):
            run(number)
        return time.perf_counter() - started


@dataclass(frozen=True)
class Each(Timed):
    """A function of a token, over tokens in their order: less of the harness is in its time than in a Case's.

    Args:
        run: Takes one of them.
        given: As many as there are calls, at least.
    """

    run: Callable[[str], object]
    given: Sequence[str]

    def seconds(self, calls: int) -> float:
        run, given = self.run, self.given[:calls]
        started = time.perf_counter()
        for token in given:
            run(token)
        return time.perf_counter() - started


@dataclass(frozen=True)
class AsyncCase(Timed):
    """A coroutine function, awaited so many times by one task.

    Args:
        run: As of Case.
        runner: Whose event loop it is.
    """

    run: Callable[[int], Awaitable[object]]
    runner: asyncio.Runner

    def seconds(self, calls: int) -> float:
        return self.runner.run(self._all(calls))

    async def _all(self, calls: int) -> float:
        run = self.run
        started = time.perf_counter()
        for number in range(calls):
            await run(number)
        return time.perf_counter() - started


@dataclass(frozen=True)
class Group:
    """Cases that are compared with each other.

    Args:
        name: The table's heading.
        cases: The first is ours.
        bars: What our time may be, as a ratio to the case named.
        limits: What the time of the case named may be, in microseconds.
    """

    name: str
    cases: Sequence[Timed]
    bars: dict[str, float]
    limits: dict[str, float] = field(default_factory=dict)


def measure(group: Group, *, rounds: int, calls: int) -> Table:
    """Run every case once a round, in random order, so that a noisy moment hits them all alike.

    Values are medians over the rounds, ratios the medians of each round's ratio.
    """
    times: dict[str, list[float]] = {case.name: [] for case in group.cases}
    for case in group.cases:
        case.seconds(calls)
    for _ in range(rounds):
        for case in random.sample(list(group.cases), len(group.cases)):
            gc.collect()
            gc.disable()
            times[case.name].append(case.seconds(calls) / calls * 1e6)
            gc.enable()
    added = {
        case.name: [of_case - of_bare for of_case, of_bare in zip(times[case.name], times[case.over], strict=True)]
        for case in group.cases
        if case.over is not None
    }
    ours = group.cases[0]
    is_added = ours.name in added
    rows = [_row(group, case, (times | added)[ours.name], (times | added)[case.name], is_added) for case in group.cases]
    return Table(group.name, "µs added" if is_added else "µs", rows, "ours ÷ this")


def _row(group: Group, case: Timed, ours: list[float], found: list[float], is_added: bool) -> Row:
    """A case with its ratio, except a bare one: what others add is not compared with it."""
    is_bare = is_added and case.over is None
    ratio = None if is_bare else statistics.median(of_ours / of_it for of_ours, of_it in zip(ours, found, strict=True))
    bar = None
    if case.name in group.bars:
        bar = Bar(group.bars[case.name])
    elif case.name in group.limits:
        bar = Bar(group.limits[case.name], of="value")
    return Row(case.name, statistics.median(found), ratio, bar)


def check(name: str, accept: Callable[[], object], refuse: Callable[[], object]) -> None:
    """Every case must do the work: it takes what is good, and raises for, or answers False to, what is bad.

    Args:
        name: Of the case.
        accept: Does it with a good token.
        refuse: Does it with a bad one.
    """
    if accept() is False:
        raise SystemExit(f"{name} refuses a good token")
    try:
        answer = refuse()
    except Exception:
        return
    if answer is not False:
        raise SystemExit(f"{name} takes a bad token")
