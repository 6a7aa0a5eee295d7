"""The harness: cases interleaved in random order, medians, ratios of each round, a table and JSON."""

from __future__ import annotations

import gc
import importlib.metadata
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

VERSIONS = ("graphql-authkit", "pyjwt", "cryptography", "joserfc", "authlib")


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Args:
        name: As the table shows it.
        run: Does it once, for the number given: the cases of a group are given the same numbers.
    """

    name: str
    run: Callable[[int], object]


@dataclass(frozen=True)
class Group:
    """Cases that are compared with each other.

    Args:
        name: The table's heading.
        cases: The first is ours.
        bars: What our time may be, as a ratio to the case named.
    """

    name: str
    cases: Sequence[Case]
    bars: dict[str, float]


@dataclass(frozen=True)
class Measured:
    """Microseconds of one case: the median, and the median over rounds of ours divided by it."""

    name: str
    median: float
    ours_to_this: float


def measure(group: Group, *, rounds: int, calls: int) -> list[Measured]:
    """Run every case once a round, in random order, so that a noisy moment hits them all alike."""
    times: dict[str, list[float]] = {case.name: [] for case in group.cases}
    for case in group.cases:
        for number in range(calls):
            case.run(number)
    for _ in range(rounds):
        for case in random.sample(list(group.cases), len(group.cases)):
            gc.collect()
            gc.disable()
            started = time.perf_counter()
            for number in range(calls):
                case.run(number)
            times[case.name].append((time.perf_counter() - started) / calls * 1e6)
            gc.enable()
    ours = times[group.cases[0].name]
    return [
        Measured(name, statistics.median(found), statistics.median(o / t for o, t in zip(ours, found, strict=True)))
        for name, found in times.items()
    ]


def report(results: dict[str, list[Measured]], groups: Sequence[Group], path: Path) -> bool:
    """Print the tables, write the JSON, and tell whether every bar was met."""
    met = True
    for group in groups:
        print(f"\n{group.name}\n{'':2}{'':38}{'µs':>8}  ours ÷ this   bar")
        for measured in results[group.name]:
            bar = group.bars.get(measured.name)
            verdict = "" if bar is None else f"≤ {bar:<5} {'met' if measured.ours_to_this <= bar else 'MISSED'}"
            met = met and (bar is None or measured.ours_to_this <= bar)
            print(f"  {measured.name:38}{measured.median:8.1f}{measured.ours_to_this:13.2f}   {verdict}")
    document = {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        "groups": {
            group.name: [
                {
                    "case": measured.name,
                    "median_us": round(measured.median, 2),
                    "ours_to_this": round(measured.ours_to_this, 3),
                    "bar": group.bars.get(measured.name),
                }
                for measured in results[group.name]
            ]
            for group in groups
        },
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    return met
