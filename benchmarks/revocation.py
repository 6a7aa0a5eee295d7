"""Revocation: a check against many live rules, and how soon other processes know: `python -m benchmarks.revocation`

The replica's own table of rules is measured at 1,000 and at 1,000,000; beside it, one exchange for each check with
Redis and with a SQLite file. Two processes then share a Redis: one takes a thousand tokens back each second, the other
says when it knew of each.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
import sqlalchemy as sa

from benchmarks.material import ISSUER, key_set, token, verifier
from benchmarks.results import Bar, Row, Table, arguments, report
from graphql_authkit import PrivateKey, VerifiedToken
from graphql_authkit.revocation import RevocationKey, Rule
from graphql_authkit.stores.ledger import Ledger
from graphql_authkit.stores.redis import RedisRevocationStore
from graphql_authkit.stores.replicated import ReplicatedRevocationStore
from graphql_authkit.stores.sql import SQLRevocationStore
from tests.stores.servers import redis_server

FEW, MANY = 1_000, 1_000_000
TOKENS = 2_000
RATE, SECONDS = 1_000, 20
SNAPSHOT = 100_000
DAY = 86_400.0


def filled(entries: int, now: float) -> Ledger:
    ledger = Ledger()
    for _ in range(entries):
        ledger.add((os.urandom(16), None, now + random.random() * DAY))
    return ledger


def per_call(call: Callable[[VerifiedToken], object], given: list[VerifiedToken], rounds: int) -> float:
    """The median over rounds of the microseconds of one call; every token once in each, in random order."""
    found = []
    for _ in range(rounds):
        random.shuffle(given)
        began = time.perf_counter()
        for one in given:
            call(one)
        found.append((time.perf_counter() - began) / len(given) * 1e6)
    return statistics.median(found)


def checks(directory: Path, client: redis.Redis, rounds: int) -> Table:
    key = PrivateKey.generate(key_id="key-1")
    good = verifier(key_set(key))
    given = [good.verify(token(key, number)) for number in range(TOKENS)]
    now = time.time()
    few, many = filled(FEW, now), filled(MANY, now)
    of_redis = RedisRevocationStore(client)
    of_redis.create()
    of_sqlite = SQLRevocationStore(sa.create_engine(f"sqlite:///{directory / 'revocations.db'}"))
    of_sqlite.create()
    little = per_call(lambda one: few.check(one, now), given, rounds)
    much = per_call(lambda one: many.check(one, now), given, rounds)
    rows = [
        Row(f"replica of {FEW:,} rules", little),
        Row(f"replica of {MANY:,} rules", much, much / little, Bar(4.0)),
        Row(f"replica of {MANY:,} rules, as it stands", much, None, Bar(1.2, "value")),
        Row("Redis, one exchange", per_call(lambda one: of_redis.check(one, now), given, 3)),
        Row("SQLite file, one query", per_call(lambda one: of_sqlite.check(one, now), given, 3)),
    ]
    return Table("One check of a token, all scopes", "µs", rows, ratio="÷ few")


def memory() -> Table:
    """In a process of its own, so that nothing else counts."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        grown = pool.apply(_grown)
    return Table("Memory of a replica", "MB", [Row(f"{MANY:,} rules", grown, None, Bar(115.0, "value"))])


def _grown() -> float:
    before = resident()
    ledger = filled(MANY, time.time())
    grown = resident() - before
    return grown if len(ledger) == MANY else float("nan")


def resident() -> float:
    """Of this process, in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def spread(port: int) -> Table:
    """One process takes back, another one watches."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    watcher = context.Process(target=_watch, args=(port, results))
    watcher.start()
    results.get(timeout=30)  # it follows
    store = ReplicatedRevocationStore(RedisRevocationStore(redis.Redis(port=port), deadline=2.0))
    now = time.time()
    done: list[float] = []
    began = time.monotonic()
    for number in range(RATE * SECONDS):
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        store.record(_rule(number, now), now)
        done.append(time.monotonic())
    seen: list[float] = results.get(timeout=60)
    watcher.join()
    store.close()
    lags = sorted((knew - said) * 1000 for knew, said in zip(seen, done, strict=True) if knew)
    rows = [
        Row("median", statistics.median(lags)),
        Row("p99", lags[int(len(lags) * 0.99)], None, Bar(100.0, "value")),
        Row("the slowest", lags[-1]),
        Row("lost", float(RATE * SECONDS - len(lags)), None, Bar(0.0, "value")),
        Row("taken back each second", len(done) / (done[-1] - began)),
    ]
    return Table(f"From one process to another by Redis, {RATE:,} each second for {SECONDS} s", "ms", rows)


def _rule(number: int, now: float) -> Rule:
    return Rule(RevocationKey("token", ISSUER, f"jti:spread-{number}"), None, now + DAY)


class _Named:
    """What a store asks of a token."""

    issuer, session_id, subject, client_id, issued_at = ISSUER, None, "nobody", None, None

    def __init__(self, number: int) -> None:
        self.token_key = f"jti:spread-{number}"


def _watch(port: int, results: Any) -> None:
    store = ReplicatedRevocationStore(RedisRevocationStore(redis.Redis(port=port)))
    while not store.ready():
        time.sleep(0.01)
    results.put("ready")
    seen: list[float] = []
    until = time.monotonic() + SECONDS * 2
    while len(seen) < RATE * SECONDS and time.monotonic() < until:
        if store.check(_Named(len(seen)), time.time()).revoked_by is None:
            time.sleep(0.001)
        else:
            seen.append(time.monotonic())
    results.put(seen + [0.0] * (RATE * SECONDS - len(seen)))
    store.close()


def snapshot(client: redis.Redis) -> Table:
    client.flushall()
    origin = RedisRevocationStore(client)
    origin.create()
    now = time.time()
    feed = origin.open_feed(30.0)
    feed.push((os.urandom(16), None, now + DAY) for _ in range(SNAPSHOT))
    feed.close()
    store = ReplicatedRevocationStore(origin)
    began = time.monotonic()
    store.start()
    while not store.ready():
        time.sleep(0.005)
    took = time.monotonic() - began
    loaded = store.health().entries
    store.close()
    if loaded != SNAPSHOT:
        raise SystemExit(f"{loaded} of {SNAPSHOT} rules were loaded")
    return Table("A new replica", "s", [Row(f"{SNAPSHOT:,} rules from Redis", took, None, Bar(2.0, "value"))])


def main() -> None:
    given = arguments(__doc__, "revocation", rounds=30)
    with tempfile.TemporaryDirectory() as directory, redis_server(Path(directory)) as server:
        client = server.client()
        tables = [checks(Path(directory), client, given.rounds), memory(), snapshot(client), spread(server.port)]
        server_version = str(client.info()["redis_version"])
    report(tables, given.json, ("redis", "sqlalchemy"), {"redis-server": server_version})


if __name__ == "__main__":
    main()
