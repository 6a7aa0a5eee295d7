"""Servers that are killed, cut off, hung, slow, or answer garbage, under requests: no wrong answer, no long wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from graphql_authkit import Revocations
from graphql_authkit.revocation import fingerprint, keys_of
from graphql_authkit.stores.redis import RedisRevocationStore
from graphql_authkit.stores.sql import SQLRevocationStore, metadata
from tests.stores.contract import TOKEN, like
from tests.stores.load import close_in_loop, tokens, under_load
from tests.stores.proxy import Proxy, proxied, wait_until
from tests.stores.servers import PostgresServer, RedisServer
from tests.support import Clock, refused

DEADLINE = 0.25
LONGEST = 2 * DEADLINE + 1.5  # waiting for a connection and then for an answer; the rest is a busy machine's
REVOKED, VALID = tokens("revoked"), tokens("valid")


class Site(NamedTuple):
    """A server, the way to it, and a store on this side."""

    server: Any
    proxy: Proxy
    store: Any
    drivers: tuple[str, ...]
    close: Callable[[], object] | None = None  # awaited in each event loop that used the store, at its end


@contextmanager
def redis_site(server: RedisServer) -> Iterator[Site]:
    with server.client() as client, proxied(("127.0.0.1", server.port)) as proxy:
        client.flushall()
        store = RedisRevocationStore(redis.Redis(port=proxy.port), deadline=DEADLINE, log_seconds=4e7)
        store.create()
        yield Site(server, proxy, store, ("sync", "asyncio"), lambda: close_in_loop(store))
        proxy.heal()
        store.close()


@contextmanager
def postgres_site(server: PostgresServer, listen: str | None = None, **pool: int) -> Iterator[Site]:
    with proxied(server.socket_path, listen) as proxy:
        engine = sa.create_engine(server.url_at(proxy.address), **pool)
        metadata.drop_all(engine)
        store = SQLRevocationStore(engine, deadline=DEADLINE)
        store.create()
        try:
            yield Site(server, proxy, store, ("sync", "asyncio"))
        finally:
            proxy.heal()
            proxy.cut()
            wait_until(lambda: engine.pool.checkedout() == 0, "every exchange has ended")  # type: ignore[attr-defined]
            store.close()
            engine.dispose()


@contextmanager
def async_postgres_site(server: PostgresServer) -> Iterator[Site]:
    direct = sa.create_engine(server.url)
    metadata.drop_all(direct)
    SQLRevocationStore(direct, deadline=5.0).create()
    with proxied(server.socket_path) as proxy:
        engine = create_async_engine(server.url_at(proxy.address))
        yield Site(server, proxy, SQLRevocationStore(engine, deadline=DEADLINE), ("asyncio",), engine.dispose)
        proxy.heal()
    direct.dispose()


def garbage(data: bytes) -> bytes:
    """Bytes that no protocol knows, of the same length."""
    return b"!" * len(data)


FAULTS: dict[str, Callable[[Site], object]] = {
    "cut": lambda site: site.proxy.refuse(),
    "black hole": lambda site: site.proxy.hold(),
    "slow": lambda site: site.proxy.delay(0.6),
    "stopped": lambda site: site.server.pause(),
    "garbage": lambda site: site.proxy.corrupt(garbage),
}


def revoke_all_of(site: Site, clock: Clock) -> Revocations:
    """Revoke REVOKED by whichever driver the site has."""
    revocations = Revocations(site.store, clock=clock, on_event=lambda _event: None)

    async def revoke() -> None:
        for token in REVOKED:
            await revocations.arevoke(token)
        if site.close is not None:
            await site.close()  # type: ignore[misc]

    if "sync" in site.drivers:
        for token in REVOKED:
            revocations.revoke(token)
    else:
        asyncio.run(revoke())
    return revocations


def endure(site: Site, clock: Clock, fault: str) -> None:
    revocations = revoke_all_of(site, clock)
    with under_load(revocations, REVOKED, VALID, drivers=site.drivers, close=site.close) as load:
        load.wait_for("active", 10)
        load.wait_for("revoked", 10)
        FAULTS[fault](site)
        load.wait_for("unavailable", 20)
        site.proxy.heal()
        site.server.go_on()
        load.wait_for("active", 10)
        load.wait_for("revoked", 10)
    assert load.wrong() == []
    assert load.longest() < LONGEST


@pytest.fixture(scope="module", autouse=True)
def warm(redis_at: RedisServer, postgres_at: PostgresServer) -> None:
    """Start both before anything is timed."""


@pytest.mark.parametrize("fault", FAULTS)
def test_redis_that_fails_is_unavailable_and_comes_back(redis_at: RedisServer, clock: Clock, fault: str) -> None:
    with redis_site(redis_at) as site:
        endure(site, clock, fault)


@pytest.mark.parametrize("fault", FAULTS)
def test_postgresql_that_fails_is_unavailable_and_comes_back(
    postgres_at: PostgresServer, clock: Clock, fault: str
) -> None:
    with postgres_site(postgres_at) as site:
        endure(site, clock, fault)


def test_postgresql_by_a_unix_socket_that_is_cut_comes_back(
    postgres_at: PostgresServer, clock: Clock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = Path(tmp_path_factory.mktemp("s", numbered=True))
    with postgres_site(postgres_at, str(directory / ".s.PGSQL.5432")) as site:
        endure(site, clock, "cut")


@pytest.mark.parametrize("fault", ["cut", "slow", "garbage"])
def test_postgresql_that_fails_an_event_loop_is_unavailable_and_comes_back(
    postgres_at: PostgresServer, clock: Clock, fault: str
) -> None:
    with async_postgres_site(postgres_at) as site:
        endure(site, clock, fault)


# ------------------------------------------------------------------------------------------ lost data


def test_a_redis_that_is_killed_and_comes_back_empty_is_unavailable_until_it_is_created(
    redis_at: RedisServer, clock: Clock
) -> None:
    redis_at.lose_data()
    with redis_site(redis_at) as site:
        revocations = revoke_all_of(site, clock)
        with under_load(revocations, REVOKED, VALID, close=site.close) as load:
            load.wait_for("active", 5)
            redis_at.end()
            load.wait_for("unavailable", 10)
            redis_at.start()
            since = len(load.outcomes)
            load.wait_for("unavailable", 20)
            assert {outcome.answer for outcome in load.outcomes[since:]} == {"unavailable"}
        assert load.wrong() == []
        assert load.longest() < LONGEST
        wait_until(lambda: "no epoch" in refused(revocations.check, VALID[0]).detail, "the loss is named")
        wait_until(lambda: created(site.store), "create() once the breaker lets it")
        wait_until(lambda: is_active(revocations), "active after create()")


def created(store: Any) -> bool:
    try:
        return bool(store.create())
    except Exception:
        return False


def is_active(revocations: Revocations) -> bool:
    try:
        return revocations.check(VALID[0]).token is VALID[0]
    except Exception:
        return False


def test_a_redis_that_is_killed_and_comes_back_with_its_data_goes_on(redis_at: RedisServer, clock: Clock) -> None:
    with redis_site(redis_at) as site:
        revocations = revoke_all_of(site, clock)
        with redis_at.client() as client:
            client.save()
        with under_load(revocations, REVOKED, VALID, close=site.close) as load:
            load.wait_for("revoked", 5)
            redis_at.end()
            load.wait_for("unavailable", 10)
            redis_at.start()
            load.wait_for("active", 5)
            load.wait_for("revoked", 5)
        redis_at.lose_data()
    assert load.wrong() == []
    assert load.longest() < LONGEST


def test_a_postgresql_that_crashes_and_comes_back_goes_on(postgres_at: PostgresServer, clock: Clock) -> None:
    with postgres_site(postgres_at) as site:
        revocations = revoke_all_of(site, clock)
        with under_load(revocations, REVOKED, VALID, close=site.close) as load:
            load.wait_for("revoked", 5)
            postgres_at.crash()
            load.wait_for("unavailable", 10)
            postgres_at.start()
            load.wait_for("active", 5)
            load.wait_for("revoked", 5)
    assert load.wrong() == []
    assert load.longest() < LONGEST


def test_tables_that_were_emptied_are_unavailable(postgres_at: PostgresServer, clock: Clock) -> None:
    with postgres_site(postgres_at) as site:
        revocations = revoke_all_of(site, clock)
        engine = sa.create_engine(postgres_at.url)
        with engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(sa.delete(table))
        assert "no epoch" in refused(revocations.check, VALID[0]).detail
        metadata.drop_all(engine)
        assert refused(revocations.check, VALID[0]).status == 503
        assert refused(revocations.revoke, VALID[0]).status == 503
        engine.dispose()


# ------------------------------------------------------------------------------------- another's reply


def shorter(data: bytes) -> bytes:
    """An array that claims one element fewer than it has: the last is left over for the next reader."""
    return data.replace(b"*7\r\n", b"*6\r\n").replace(b"*6\r\n", b"*5\r\n") if data.startswith(b"*") else data


def test_after_a_redis_reply_that_was_cut_short_nobody_reads_the_rest_of_it(
    redis_at: RedisServer, clock: Clock
) -> None:
    with redis_site(redis_at) as site:
        revocations = revoke_all_of(site, clock)
        with under_load(revocations, REVOKED, VALID, close=site.close) as load:
            load.wait_for("revoked", 5)
            for _ in range(3):
                site.proxy.corrupt(shorter)
                load.wait_for("unavailable", 5)
                site.proxy.heal()
                load.wait_for("active", 5)
                load.wait_for("revoked", 5)
    assert load.wrong() == []


@pytest.mark.parametrize("site_of", [redis_site, postgres_site])
def test_a_late_reply_is_nobodys(
    redis_at: RedisServer, postgres_at: PostgresServer, clock: Clock, site_of: Callable[[Any], Any]
) -> None:
    """One whose question was given up arrives, when the black hole ends, at a connection that may be in use again."""
    with site_of(redis_at if site_of is redis_site else postgres_at) as site:
        revocations = revoke_all_of(site, clock)
        with under_load(revocations, REVOKED, VALID, close=site.close) as load:
            for _ in range(3):
                load.wait_for("active", 5)
                site.proxy.hold()
                load.wait_for("unavailable", 5)
                site.proxy.heal()
            load.wait_for("active", 5)
            load.wait_for("revoked", 5)
    assert load.wrong() == []


# ----------------------------------------------------------------------------------------- recording


@pytest.mark.parametrize("fault", ["cut", "black hole", "garbage"])
def test_what_could_not_be_recorded_is_said_to_be_unavailable_in_time(
    redis_at: RedisServer, clock: Clock, fault: str
) -> None:
    with redis_site(redis_at) as site:
        revocations = Revocations(site.store, clock=clock)
        FAULTS[fault](site)
        began = time.monotonic()
        assert refused(revocations.revoke, TOKEN).status == 503
        assert time.monotonic() - began < LONGEST
        site.proxy.heal()
        wait_until(lambda: is_recorded(revocations), "recorded after it is healed")
        assert refused(revocations.check, TOKEN).reason == "TOKEN_REVOKED"


def is_recorded(revocations: Revocations) -> bool:
    try:
        revocations.revoke(TOKEN)
    except Exception:
        return False
    return True


def test_a_breaker_lets_nobody_wait_for_a_server_that_hangs(redis_at: RedisServer, clock: Clock) -> None:
    with redis_site(redis_at) as site:
        revocations = Revocations(site.store, clock=clock)
        site.proxy.hold()
        began = time.monotonic()
        seen = [refused(revocations.check, TOKEN).status for _ in range(200)]
        assert seen == [503] * 200
        assert time.monotonic() - began < 200 * DEADLINE / 10, "200 requests waited each"


@pytest.mark.parametrize("site_of", [redis_site])
def test_connections_that_died_silently_are_replaced(
    redis_at: RedisServer, postgres_at: PostgresServer, clock: Clock, site_of: Callable[[Any], Any]
) -> None:
    with site_of(redis_at if site_of is redis_site else postgres_at) as site:
        revocations = revoke_all_of(site, clock)
        with under_load(revocations, REVOKED, VALID, close=site.close) as load:
            load.wait_for("active", 5)
            site.proxy.hold()
            load.wait_for("unavailable", 20)
            site.proxy.lose()
            site.proxy.heal()
            try:
                load.wait_for("active", 5, seconds=6.0)
            finally:
                site.proxy.cut()
    assert load.wrong() == []
    assert load.longest() < LONGEST


@pytest.mark.parametrize("fault", ["black hole", "stopped"])
def test_a_hung_postgresql_does_not_hold_an_event_loops_request_beyond_the_deadline(
    postgres_at: PostgresServer, clock: Clock, fault: str
) -> None:
    with async_postgres_site(postgres_at) as site:
        endure(site, clock, fault)


def test_a_rule_that_is_broken_concerns_nobody_but_those_who_ask_for_it(redis_at: RedisServer, clock: Clock) -> None:
    with redis_site(redis_at) as site, redis_at.client() as client:
        revocations = revoke_all_of(site, clock)
        broken = like(token_key="jti:broken", session_id="broken-session")
        revocations.revoke(broken)
        for name in client.scan_iter("*:rule:*"):
            if name not in {rule for token in REVOKED for rule in rule_names(token)}:
                client.set(name, b"garbage")
        assert refused(revocations.check, broken).status == 503
        with under_load(revocations, REVOKED, VALID, drivers=("sync",)) as load:
            load.wait_for("active", 5)
            answers = {refused(revocations.check, broken).reason for _ in range(50)}
        assert answers == {"STORE_UNAVAILABLE"}
        assert load.wrong() == []
        assert load.answers() == {"active", "revoked"}


def rule_names(token: Any) -> set[bytes]:
    return {f"{{graphql-authkit}}:rule:{fingerprint(key).hex()}".encode() for key in keys_of(token)}


def test_a_caller_who_asks_for_too_long_a_rule_does_not_open_the_breaker(redis_at: RedisServer, clock: Clock) -> None:
    with redis_site(redis_at) as site:
        revocations = Revocations(site.store, clock=clock)
        for _ in range(5):
            error = refused(revocations.revoke_token, TOKEN.issuer, "t", expires_at=clock.now + 1e9)
            assert "log_seconds" in error.detail
        assert revocations.check(TOKEN).token is TOKEN


@pytest.mark.parametrize("site_of", [redis_site, postgres_site])
def test_creating_at_a_server_that_is_down_is_unavailable(
    redis_at: RedisServer, postgres_at: PostgresServer, site_of: Callable[[Any], Any]
) -> None:
    with site_of(redis_at if site_of is redis_site else postgres_at) as site:
        site.proxy.refuse()
        assert refused(site.store.create).status == 503
