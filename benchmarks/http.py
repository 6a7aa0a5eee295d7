"""Throughput over HTTP on loopback, behind authentication and without it: `python -m benchmarks.http`

Each server is a process of its own, on one CPU; on another, wrk asks them in turn, with one thread and sixteen
connections, rotating 256 tokens (RS256, twelve claims), each of them seen before. A ratio is the median over the rounds
of a server's throughput divided by that of the same app without authentication. Apps answer with 20 bytes, or run a
small GraphQL query. uvicorn has uvloop beside httptools, and asyncio's own loop beside h11.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks import javascript
from benchmarks.harness import check
from benchmarks.material import AUDIENCE, ISSUER, KEY_ID, forged, pem, tokens
from benchmarks.results import Bar, Row, Table, arguments, report
from benchmarks.servers import HOST, free_port, issuer, running
from graphql_authkit import PrivateKey

SECONDS = 2
PIN = ["taskset", "--cpu-list"] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else None
ON_FIRST, ON_SECOND = ([*PIN, "0"], [*PIN, "1"]) if PIN else ([], [])  # the server and wrk: a CPU each
WRK = [
    *ON_SECOND,
    "wrk",
    "--threads",
    "1",
    "--connections",
    "16",
    "--script",
    str(Path(__file__).parent / "requests.lua"),
]
UVICORN = [
    sys.executable,
    "-m",
    "uvicorn",
    "--factory",
    "--no-access-log",
    "--log-level",
    "warning",
    "--lifespan",
    "off",
]
FAST = ["--loop", "uvloop", "--http", "httptools"]
PLAIN = ["--loop", "asyncio", "--http", "h11"]
QUERY = json.dumps({"query": "{ me { id name email posts { title } } }"})


@dataclass(frozen=True)
class Server:
    """One program.

    Args:
        name: As the table shows it.
        argv: The program; its port is appended.
        bar: The least that its throughput may be of the bare one's.
    """

    name: str
    argv: Sequence[str]
    bar: float | None = None


@dataclass(frozen=True)
class Contest:
    """Servers of one app.

    Args:
        name: The table's heading.
        servers: The last is the bare one.
        body: What is posted to them; None for GET.
    """

    name: str
    servers: Sequence[Server]
    body: str | None = None


@dataclass
class Measured:
    """A server under way: where it listens, and what wrk said, round by round."""

    server: Server
    port: int
    throughput: list[float] = field(default_factory=list)


def uvicorn(app: str, name: str, *options: str, bar: float | None = None) -> Server:
    return Server(name, [*UVICORN, *options, f"benchmarks.apps:{app}", "--host", HOST, "--port"], bar)


def node(kind: str, name: str) -> Server:
    return Server(name, ["node", str(javascript.NODE / "server.mjs"), kind])


PYTHONS = [
    Contest(
        "uvicorn with httptools: 20 bytes",
        [uvicorn("bare_guarded", "graphql-authkit", *FAST, bar=0.85), uvicorn("bare", "bare", *FAST)],
    ),
    Contest(
        "uvicorn with h11: 20 bytes",
        [uvicorn("bare_guarded", "graphql-authkit", *PLAIN, bar=0.97), uvicorn("bare", "bare", *PLAIN)],
    ),
    Contest(
        "uvicorn with httptools: graphql-core",
        [uvicorn("graphql_core_guarded", "graphql-authkit", *FAST, bar=0.97), uvicorn("graphql_core", "bare", *FAST)],
        QUERY,
    ),
]
NODES = [
    Contest(
        "Express on Node.js: 20 bytes",
        [
            node("fast-jwt", "fast-jwt, cache on"),
            node("express-jwt", "express-jwt and jwks-rsa"),
            node("express", "bare"),
        ],
    ),
    Contest(
        "GraphQL Yoga on Node.js",
        [node("plugin-jwt", "@graphql-yoga/plugin-jwt"), node("yoga", "bare")],
        QUERY,
    ),
]


def admits(port: int, body: str | None, token: str) -> bool:
    """Whether the server answers a request with this token."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request("GET" if body is None else "POST", "/graphql", body, headers)
    status = connection.getresponse().status
    connection.close()
    if status >= 500:
        raise SystemExit(f"the server on {port} answers {status}")
    return status == 200


def throughput(port: int, body: str | None, path: Path, seconds: int = SECONDS) -> float:
    """Requests a second, all of them answered with success."""
    env = os.environ | {"BENCHMARK_TOKENS": str(path)} | ({} if body is None else {"BENCHMARK_BODY": body})
    argv = [*WRK, "--duration", f"{seconds}s", f"http://{HOST}:{port}"]
    said = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    found = re.search(r"^Requests/sec:\s+([\d.]+)", said, re.MULTILINE)
    if found is None or "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"wrk said:\n{said}")
    return float(found[1])


def start(
    contests: Sequence[Contest], stack: ExitStack, env: Mapping[str, str]
) -> list[tuple[Contest, list[Measured]]]:
    """Start every server."""
    started = []
    for contest in contests:
        measured = []
        for server in contest.servers:
            port = free_port()
            stack.enter_context(running([*ON_FIRST, *server.argv, str(port)], port, env))
            measured.append(Measured(server, port))
        started.append((contest, measured))
    return started


def compare(contests: Sequence[Contest], key: PrivateKey, rounds: int) -> list[Table]:
    """Serve all of them, and ask them in turn."""
    given = tokens(key)
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "tokens"
        path.write_text("\n".join(given) + "\n")
        env = {
            "BENCHMARK_JWKS": json.dumps({"keys": [key.public_jwk()]}),
            "BENCHMARK_JWKS_URI": stack.enter_context(issuer([key.public_jwk()])).url,
            "BENCHMARK_ISSUER": ISSUER,
            "BENCHMARK_AUDIENCE": AUDIENCE,
            "BENCHMARK_PEM": pem(key),
        }
        started = start(contests, stack, env)
        for contest, servers in started:
            for one in servers:
                ask = partial(admits, one.port, contest.body)
                if one is not servers[-1]:
                    check(one.server.name, partial(ask, given[0]), partial(ask, forged(given[0])))
                throughput(one.port, contest.body, path)
        for _ in range(rounds):
            for contest, servers in random.sample(started, len(started)):
                for one in random.sample(servers, len(servers)):
                    one.throughput.append(throughput(one.port, contest.body, path))
    return [table(contest, servers) for contest, servers in started]


def table(contest: Contest, servers: Sequence[Measured]) -> Table:
    bare = servers[-1].throughput
    rows = []
    for one in servers:
        ratio = statistics.median(its / of_bare for its, of_bare in zip(one.throughput, bare, strict=True))
        bar = None if one.server.bar is None else Bar(one.server.bar, at_least=True)
        rows.append(Row(one.server.name, statistics.median(one.throughput), ratio, bar))
    return Table(contest.name, "requests/s", rows, "of bare")


def main() -> None:
    given = arguments(__doc__, "http", rounds=5)
    if shutil.which("wrk") is None:
        sys.exit("benchmarks.http needs wrk: apt-get install wrk")
    absent = javascript.missing()
    if absent is not None:
        print(absent, file=sys.stderr)
    tables = compare(
        PYTHONS if absent else [*PYTHONS, *NODES], PrivateKey.generate("RS256", key_id=KEY_ID), given.rounds
    )
    peers = ("express", "express-jwt", "jwks-rsa", "fast-jwt", "graphql-yoga", "@graphql-yoga/plugin-jwt")
    others = {} if absent else javascript.versions(*peers)
    report(tables, given.json, ("uvicorn", "httptools", "uvloop", "h11", "graphql-core"), others)


if __name__ == "__main__":
    main()
