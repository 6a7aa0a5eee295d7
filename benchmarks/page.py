"""The page `docs/benchmarks.md` and its plot, from what the benchmarks wrote: `python -m benchmarks.page`

It says what the JSON says, and nothing else; a benchmark whose JSON is not there was not run.
"""

from __future__ import annotations

import ast
import json
from typing import Any

from benchmarks.plot import Chart, svg
from benchmarks.results import HERE, Bar, shown, shown_bar

DOCS = HERE.parent / "docs"
MODULES = ("verify", "warm", "middleware", "http", "keys", "revocation", "authorization")
INTRODUCTION = """\
# Benchmarks

`make bench` measures the library beside others, in one run and in turn, and writes this page. It needs `wrk` for
throughput over HTTP, and Node.js with npm for the peers written in JavaScript; what is missing is left out, and said.

```console
$ apt-get install wrk nodejs npm
$ make bench
```

Cases of a table are measured in random order, round after round. A value is the median over the rounds, a ratio the
median of each round's ratio: microseconds belong to one machine and one hour, ratios mostly do not. Each peer was
checked to take a good token and to refuse a forged one before it was measured. A *bar* is what we hold ourselves to:
on the ratio, or, where it has a unit, on the value as it stands.

{verdict}

```{{image}} _static/benchmarks.svg
:alt: Bars that show figures of the tables below
```
"""


def read(name: str) -> dict[str, Any] | None:
    """What a benchmark wrote."""
    path = HERE / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def verdict(found: dict[str, dict[str, Any] | None]) -> str:
    """How many bars were met, and which were not."""
    rows = [
        (table["name"], row)
        for document in found.values()
        if document is not None
        for table in document["tables"]
        for row in table["rows"]
        if row["bar"] is not None
    ]
    missed = [f"- {name}: {row['case']}" for name, row in rows if not row["is_met"]]
    said = f"{len(rows) - len(missed)} of {len(rows)} bars were met"
    return "\n".join([f"{said}; these were not:", "", *missed]) if missed else f"{said}."


def section(name: str, document: dict[str, Any] | None) -> str:
    """One benchmark: what its module says of itself, its tables, and what it ran on."""
    title, _, text = (ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text())) or name).partition("\n")
    parts = [f"## {title.partition(': `')[0].partition('. `')[0]}", text.strip()]
    if document is None:
        return "\n\n".join([*parts, "Not run."]) + "\n"
    parts += [_table(table) for table in document["tables"]]
    versions = ", ".join(f"{package} {version}" for package, version in document["versions"].items())
    parts.append(
        f"`python -m benchmarks.{name}`, {document['date']}: Python {document['python']} on {document['machine']} "
        f"with {document['cpus']} CPUs; {versions}."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: dict[str, Any]) -> str:
    lines = [
        f"| {table['name']} | {table['unit']} | {table['ratio']} | bar |",
        "| --- | ---: | ---: | --- |",
    ]
    for row in table["rows"]:
        ratio = "" if row["ratio"] is None else shown(row["ratio"])
        bar = ""
        if row["bar"] is not None:
            bar = f"{shown_bar(Bar(**row['bar']), table['unit'])}: {'met' if row['is_met'] else '**missed**'}"
        lines.append(f"| {row['case']} | {shown(row['value'])} | {ratio} | {bar} |")
    return "\n".join(lines)


def charts(found: dict[str, dict[str, Any] | None]) -> list[Chart]:
    """One verification, in microseconds; and what is left of a server's throughput."""
    tables = {
        table["name"]: table for document in found.values() if document is not None for table in document["tables"]
    }
    drawn = []
    verifications = [
        (f"{row['case']}{suffix}", row["value"], row["case"].startswith("graphql-authkit"))
        for name, suffix in (("RS256: a token never seen before", ""), ("256 tokens in turn", ""))
        for row in tables.get(name, {"rows": []})["rows"]
    ]
    if verifications:
        drawn.append(Chart("One RS256 token verified, µs (logarithmic)", _once(verifications), logarithmic=True))
    throughputs = [
        (f"{name}, {row['case']}", 100 * row["ratio"], row["case"].startswith("graphql-authkit"))
        for name, table in tables.items()
        if table["ratio"] == "of bare"
        for row in table["rows"]
        if row["case"] != "bare"
    ]
    if throughputs:
        drawn.append(Chart("Throughput over HTTP, % of the same app without authentication", throughputs))
    return drawn


def _once(bars: list[tuple[str, float, bool]]) -> list[tuple[str, float, bool]]:
    """The slowest first, each name once."""
    return sorted({bar[0]: bar for bar in reversed(bars)}.values(), key=lambda bar: -bar[1])


def main() -> None:
    found = {name: read(name) for name in MODULES}
    parts = [INTRODUCTION.format(verdict=verdict(found)), *(section(name, found[name]) for name in MODULES)]
    (DOCS / "benchmarks.md").write_text("\n".join(parts))
    plot = DOCS / "_static" / "benchmarks.svg"
    plot.parent.mkdir(exist_ok=True)
    plot.write_text(svg(charts(found)))
    print(f"written: docs/benchmarks.md, docs/_static/{plot.name}")


if __name__ == "__main__":
    main()
