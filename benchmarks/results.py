"""What was measured: rows in tables, printed, and written as JSON, from which `benchmarks.page` makes a page."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Bar:
    """What we hold ourselves to.

    Args:
        limit: The number.
        of: Whether the row's ratio is held to it, or its value as it stands, in the table's unit.
        at_least: It is the least that will do, not the most.
    """

    limit: float
    of: Literal["ratio", "value"] = "ratio"
    at_least: bool = False

    def is_met(self, value: float, ratio: float | None) -> bool:
        held = value if self.of == "value" else ratio
        if held is None:
            return False
        return held >= self.limit if self.at_least else held <= self.limit


@dataclass(frozen=True)
class Row:
    """One thing that was measured, or counted.

    Args:
        case: Its name.
        value: In the table's unit.
        ratio: What the table's `ratio` says.
        bar: Where we hold ourselves to something.
    """

    case: str
    value: float
    ratio: float | None = None
    bar: Bar | None = None

    @property
    def is_met(self) -> bool | None:
        return None if self.bar is None else self.bar.is_met(self.value, self.ratio)


@dataclass(frozen=True)
class Table:
    """Rows that are read together.

    Args:
        name: The heading.
        unit: Of every value.
        rows: Ours is the first.
        ratio: What the rows' ratios are, such as "ours ÷ this"; "" where they have none.
    """

    name: str
    unit: str
    rows: Sequence[Row]
    ratio: str = ""


def arguments(document: str | None, name: str, rounds: int) -> argparse.Namespace:
    """What every benchmark takes: `--rounds`, and where its JSON goes."""
    parser = argparse.ArgumentParser(description=(document or name).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", type=Path, default=HERE / f"{name}.json")
    return parser.parse_args()


def report(
    tables: Sequence[Table], path: Path, packages: Iterable[str], others: Mapping[str, str] | None = None
) -> bool:
    """Print the tables, write the JSON, and tell whether every bar was met.

    Args:
        tables: What was measured.
        path: Where the JSON goes.
        packages: Python distributions whose versions belong to the figures, besides our own.
        others: Versions of anything else.
    """
    for table in tables:
        _show(table)
    versions = {name: importlib.metadata.version(name) for name in ("graphql-authkit", *packages)}
    document = {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "versions": versions | dict(others or {}),
        "tables": [
            {**asdict(table), "rows": [{**asdict(row), "is_met": row.is_met} for row in table.rows]} for table in tables
        ],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    missed = [f"{table.name}: {row.case}" for table in tables for row in table.rows if row.is_met is False]
    print(f"\nwritten to {path.name}; " + ("every bar met" if not missed else f"missed: {missed}"), file=sys.stderr)
    return not missed


def shown(number: float) -> str:
    """A number with as many digits as one reads."""
    if number == int(number) and abs(number) < 1e6:
        return f"{number:,.0f}"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}" if abs(number) < 10 else f"{number:.1f}"


def shown_bar(bar: Bar, unit: str) -> str:
    """A bar as tables show it: one on a value names the unit."""
    sign = "≥" if bar.at_least else "≤"
    return f"{sign} {shown(bar.limit)}" + (f" {unit}" if bar.of == "value" else "")


def _show(table: Table) -> None:
    width = max(len(row.case) for row in table.rows) + 2
    print(f"\n{table.name}\n  {'':{width}}{table.unit:>12}{table.ratio:>14}   bar", flush=True)
    for row in table.rows:
        ratio = "" if row.ratio is None else shown(row.ratio)
        verdict = ""
        if row.bar is not None:
            verdict = f"{shown_bar(row.bar, table.unit)}: {'met' if row.is_met else 'MISSED'}"
        print(f"  {row.case:{width}}{shown(row.value):>12}{ratio:>14}   {verdict}", flush=True)
