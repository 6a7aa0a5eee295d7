"""The bound on every wait: replies that drip, writers that wait, connections that died without a word, closing."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from graphql_authkit.errors import AuthError, StoreUnavailable
from graphql_authkit.stores import origin, redis_client
from graphql_authkit.stores.bounded import Bounded, Call
from graphql_authkit.stores.redis import RedisRevocationStore
from graphql_authkit.stores.replicated import ReplicatedRevocationStore
from graphql_authkit.stores.sql import SQLRevocationStore
from tests.stores.contract import TOKEN, like
from tests.stores.load import close_in_loop
from tests.stores.origins import RedisPlace, SQLPlace, place_of, revocations_of
from tests.stores.proxy import Proxy, proxied, wait_until
from tests.stores.servers import PostgresServer
from tests.support import refused

DEADLINE = 0.25
SLACK = 0.5  # a busy machine's


@pytest.fixture
def no_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request is let through, so that each must keep the bound by itself."""
    monkeypatch.setattr(origin, "FAILURES", 1_000_000)


def reason(call: Callable[[], object]) -> str:
    try:
        call()
    except AuthError as error:
        return error.reason
    return "done"


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


# ------------------------------------------------------------------------------------- replies that drip


@contextmanager
def dripping(place: RedisPlace) -> Iterator[tuple[RedisRevocationStore, Proxy]]:
    """A store that has asked before, and a server whose replies come a byte at a time from now on."""
    place.store().create()
    with proxied(("127.0.0.1", place.server.port)) as proxy:
        store = place.store(proxy.port, deadline=DEADLINE)
        revocations_of(store).revoke(TOKEN)
        proxy.drip(DEADLINE / 2)  # each single read has its byte in time
        yield store, proxy


@pytest.mark.usefixtures("no_breaker")
@pytest.mark.parametrize("verb", ["check", "revoke"])
def test_a_redis_reply_that_drips_does_not_outlast_the_deadline(redis_place: RedisPlace, verb: str) -> None:
    with dripping(redis_place) as (store, _):
        for _ in range(3):  # the first on a connection that was there, the others connecting
            with at_most(DEADLINE + SLACK):
                assert refused(getattr(revocations_of(store), verb), TOKEN).status == 503


@pytest.mark.usefixtures("no_breaker")
@pytest.mark.parametrize("verb", ["acheck", "arevoke"])
def test_a_redis_reply_that_drips_does_not_outlast_an_event_loops_deadline(redis_place: RedisPlace, verb: str) -> None:
    async def whole(store: Any, proxy: Proxy) -> None:
        for _ in range(3):
            with at_most(DEADLINE + SLACK), pytest.raises(StoreUnavailable):
                await getattr(revocations_of(store), verb)(TOKEN)
        proxy.heal()
        await close_in_loop(store)

    with dripping(redis_place) as (store, proxy):
        asyncio.run(whole(store, proxy))


@pytest.mark.parametrize("exchange", ["snapshot", "entries", "poll", "push", "claim"])
def test_a_redis_reply_that_drips_does_not_outlast_a_feeds_deadline(redis_place: RedisPlace, exchange: str) -> None:
    entry = b"x" * 16, 1, 2e9
    with dripping(redis_place) as (store, proxy):
        proxy.heal()
        feed = store.open_feed(DEADLINE)
        _, position, entries = feed.snapshot()
        exchanges: dict[str, Callable[[], object]] = {
            "snapshot": feed.snapshot,
            "entries": lambda: list(entries),
            "poll": lambda: feed.poll(position, 0.1),
            "push": lambda: feed.push([entry] * 20),
            "claim": lambda: feed.claim("e" * 32),
        }
        proxy.drip(DEADLINE / 2)
        with at_most(DEADLINE + SLACK), pytest.raises((TimeoutError, redis.RedisError)):
            exchanges[exchange]()
        feed.close()


# ----------------------------------------------------------------------------------- writers that wait


@contextmanager
def locked(place: SQLPlace) -> Iterator[None]:
    """Somebody else's transaction, which no other writer passes."""
    other = sqlite3.connect(str(place.engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


@pytest.mark.usefixtures("no_breaker")
def test_many_threads_writing_to_a_locked_sqlite_file_do_not_keep_readers_from_answers(sqlite_place: SQLPlace) -> None:
    store = sqlite_place.store(deadline=DEADLINE)
    store.create()
    revocations_of(store).revoke(TOKEN)
    stop = threading.Event()
    written: set[str] = set()

    def write(number: int) -> None:
        while not stop.wait(0.005):
            written.add(reason(lambda: revocations_of(store).revoke(like(token_key=f"jti:{number}"))))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    with locked(sqlite_place):
        for thread in threads:
            thread.start()
        wait_until(lambda: written, "some have waited")
        seen = [reason(lambda: revocations_of(store).check(TOKEN)) for _ in range(120) if not stop.wait(0.003)]
        stop.set()
        for thread in threads:
            thread.join(10)
    assert (set(seen), written) == ({"TOKEN_REVOKED"}, {"STORE_UNAVAILABLE"})


@pytest.mark.usefixtures("no_breaker")
def test_many_tasks_writing_to_a_locked_sqlite_file_do_not_keep_readers_from_answers(sqlite_place: SQLPlace) -> None:
    sqlite_place.store().create()
    revocations_of(sqlite_place.store()).revoke(TOKEN)
    engine = create_async_engine(sqlite_place.engine.url.set(drivername="sqlite+aiosqlite"))
    store = SQLRevocationStore(engine, deadline=DEADLINE)
    revocations = revocations_of(store)

    async def areason(call: Callable[[], Any]) -> str:
        try:
            await call()
        except AuthError as error:
            return error.reason
        return "done"

    async def whole() -> tuple[set[str], set[str]]:
        stop = asyncio.Event()
        written: set[str] = set()

        async def write(number: int) -> None:
            while not stop.is_set():
                await asyncio.sleep(0.005)
                written.add(await areason(lambda: revocations.arevoke(like(token_key=f"jti:{number}"))))

        tasks = [asyncio.create_task(write(number)) for number in range(20)]
        await asyncio.sleep(DEADLINE * 1.5)
        seen = set()
        for _ in range(100):
            await asyncio.sleep(0.005)
            seen.add(await areason(lambda: revocations.acheck(TOKEN)))
        stop.set()
        await asyncio.gather(*tasks)
        await asyncio.to_thread(wait_until, lambda: engine.pool.checkedout() == 0, "all given back")  # type: ignore[attr-defined]
        await engine.dispose()
        return seen, written

    with locked(sqlite_place):
        assert asyncio.run(whole()) == ({"TOKEN_REVOKED"}, {"STORE_UNAVAILABLE"})


# --------------------------------------------------------------- connections that died without a word


@contextmanager
def one_connection(server: PostgresServer, make: Callable[..., Any]) -> Iterator[tuple[Any, Proxy]]:
    """An engine with a pool of one, through a proxy."""
    with proxied(server.socket_path) as proxy:
        engine = make(server.url_at(proxy.address), pool_size=1, max_overflow=0)
        yield engine, proxy
        proxy.heal()
        proxy.cut()
        wait_until(lambda: engine.pool.checkedout() == 0, "given back")
        if isinstance(engine, sa.Engine):
            engine.dispose()


@pytest.mark.parametrize(
    ("verb", "when"), [("check", "asked before"), ("revoke", "asked before"), ("check", "while connecting")]
)
def test_a_postgresql_connection_that_died_silently_does_not_keep_its_place_in_the_pool(
    postgres_place: SQLPlace, postgres_at: PostgresServer, verb: str, when: str
) -> None:
    postgres_place.store().create()
    other = like(token_key="jti:other")
    with one_connection(postgres_at, sa.create_engine) as (engine, proxy):
        store = SQLRevocationStore(engine, deadline=DEADLINE)
        call = getattr(revocations_of(store), verb)
        assert reason(lambda: call(other)) == "done"
        if when == "while connecting":
            engine.dispose()
        proxy.hold()
        with at_most(DEADLINE + SLACK):
            assert refused(call, other).status == 503
        proxy.lose()
        proxy.heal()
        # libpq gives up connecting after 2 s at the earliest
        patience = 3.5 if when == "while connecting" else 2 * DEADLINE + SLACK
        wait_until(lambda: reason(lambda: call(other)) == "done", "it works again", patience)
        store.close()


@pytest.mark.parametrize("when", ["asked before", "while connecting"])
@pytest.mark.parametrize("verb", ["acheck", "arevoke"])
def test_a_postgresql_connection_that_died_silently_does_not_keep_an_event_loop_from_another(
    postgres_place: SQLPlace, postgres_at: PostgresServer, when: str, verb: str
) -> None:
    postgres_place.store().create()
    other = like(token_key="jti:other")

    async def works(call: Callable[[Any], Any]) -> bool:
        try:
            await call(other)
        except StoreUnavailable:
            return False
        return True

    async def whole(engine: Any, proxy: Proxy) -> None:
        call = getattr(revocations_of(SQLRevocationStore(engine, deadline=DEADLINE)), verb)
        assert await works(call)
        if when == "while connecting":
            await engine.dispose()
        proxy.hold()
        with at_most(DEADLINE + SLACK):
            assert not await works(call)
        proxy.lose()
        proxy.heal()
        with at_most(2 * DEADLINE + SLACK):
            while not await works(call):
                await asyncio.sleep(0.01)
        await engine.dispose()

    with one_connection(postgres_at, create_async_engine) as (engine, proxy):
        asyncio.run(whole(engine, proxy))


def test_a_feeds_connection_that_died_silently_is_replaced(
    postgres_place: SQLPlace, postgres_at: PostgresServer
) -> None:
    postgres_place.store().create()
    with one_connection(postgres_at, sa.create_engine) as (engine, proxy):
        replica = ReplicatedRevocationStore(SQLRevocationStore(engine), max_staleness=0.5)
        wait_until(replica.ready, "ready")
        proxy.lose()
        wait_until(lambda: not replica.ready(), "stale")
        wait_until(replica.ready, "ready again", 1.0 + SLACK)
        replica.close()


def test_a_postgresql_connection_is_still_its_owners_to_bound(
    postgres_place: SQLPlace, postgres_at: PostgresServer
) -> None:
    """What the owner of the engine does with it has no time-out of ours."""
    postgres_place.store().create()
    given: list[Any] = []
    engine = sa.create_engine(postgres_at.url)
    store = SQLRevocationStore(engine, deadline=DEADLINE)
    store.check(TOKEN, 0.0)
    store.close()
    engine.dispose()
    sa.event.listen(engine, "do_connect", lambda *arguments: given.append(dict(arguments[3])))
    with engine.connect():
        pass
    engine.dispose()
    assert "connect_timeout" not in given[0]


# ------------------------------------------------------------------------------------------- closing


@contextmanager
def followed(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Callable[[], Any], Proxy, Callable[[], int]]]:
    """A way to make origins through a proxy, the proxy, and how many connections they have."""
    with place_of(kind, request, tmp_path) as place:
        place.store().create()
        if kind == "redis":
            with proxied(("127.0.0.1", place.server.port)) as proxy:
                yield lambda: place.store(proxy.port), proxy, lambda: proxy.connections
            return
        server: PostgresServer = request.getfixturevalue("postgres_at")
        with proxied(server.socket_path) as proxy:
            engine = sa.create_engine(server.url_at(proxy.address))
            pool: Any = engine.pool
            yield lambda: SQLRevocationStore(engine), proxy, lambda: int(pool.checkedout())
            proxy.heal()
            proxy.cut()
            wait_until(lambda: pool.checkedout() == 0, "given back")
            engine.dispose()


@pytest.mark.parametrize("kind", ["redis", "postgresql"])
def test_a_replica_that_nobody_holds_ends_its_thread_and_its_connection(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    with followed(kind, request, tmp_path) as (make, _, connections):
        replica = ReplicatedRevocationStore(make())
        wait_until(replica.ready, "ready")
        follower: Any = replica._follower
        del replica
        gc.collect()
        wait_until(lambda: not follower.is_alive(), "its thread has ended", 2.0)
        wait_until(lambda: connections() == 0, "its connection is given back", 2.0)


@pytest.mark.parametrize("when", ["following", "loading", "connecting"])
@pytest.mark.parametrize("kind", ["redis", "postgresql"])
def test_closing_does_not_wait_for_a_server_that_hangs(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, when: str
) -> None:
    with followed(kind, request, tmp_path) as (make, proxy, _):
        origin = make()
        if when == "loading":
            origin.check(TOKEN, 0.0)
        if when != "following":
            proxy.hold()
        replica = ReplicatedRevocationStore(origin)
        replica.start()
        if when == "following":
            wait_until(replica.ready, "ready")
            proxy.hold()
        threading.Event().wait(0.1)  # it is in the midst of an exchange
        with at_most(1.0):
            replica.close()
            origin.close()


def test_closing_sends_away_who_waits_and_refuses_who_comes_later() -> None:
    bounded = Bounded("test", 10.0)
    hung = threading.Event()
    told: list[str] = []

    def hang(call: Call[None]) -> None:
        with call.on(hung.set, lost=lambda: told.append("lost")):
            assert hung.wait(10)

    waiter = threading.Thread(target=lambda: told.append(reason(lambda: bounded(hang))))
    waiter.start()
    wait_until(lambda: bounded._idle == bounded._pending == 0 and bounded._threads == 1, "it runs")
    with at_most(1.0):
        bounded.close()
        waiter.join(5)
    assert sorted(told) == ["STORE_UNAVAILABLE", "lost"]
    assert reason(lambda: bounded(lambda _call: None)) == "STORE_UNAVAILABLE"


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphql_authkit.stores.bounded.IDLE", 0.02)
    bounded = Bounded("test-idle", 1.0)
    for _ in range(3):
        assert bounded(lambda _call: 7) == 7
        wait_until(lambda: "test-idle" not in {thread.name for thread in threading.enumerate()}, "ended")
    assert (bounded._threads, bounded._idle, bounded._pending) == (0, 0, 0)


def test_calls_that_never_end_are_bounded_in_number() -> None:
    bounded = Bounded("test", 0.02, workers=2, most_lost=3)
    free = threading.Event()
    for _ in range(3):
        assert reason(lambda: bounded(lambda _call: free.wait(10))) == "STORE_UNAVAILABLE"
    assert "3 calls do not end" in refused(bounded, lambda _call: 1).detail
    free.set()
    wait_until(lambda: reason(lambda: bounded(lambda _call: 1)) == "done", "as they end others are begun")
    bounded.close()


def test_what_is_done_within_a_deadline_is_not_bounded_by_it_afterwards(redis_place: RedisPlace) -> None:
    client = redis_client.connect(redis.Redis(port=redis_place.server.port), 5.0)
    with redis_client.within(0.05):
        assert client.ping()
    threading.Event().wait(0.06)
    assert client.ping()
    client.close()
