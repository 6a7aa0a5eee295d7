"""SQL alone: engines, writers that lock, transactions that fail half-way, event loops, numbers and clocks."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from graphql_authkit import ConfigurationError
from graphql_authkit.errors import AuthError, StoreUnavailable
from graphql_authkit.revocation import RevocationKey, Rule, fingerprint
from graphql_authkit.stores import tables
from graphql_authkit.stores.sql import SQLRevocationStore
from tests.stores.contract import TOKEN, like
from tests.stores.load import tokens
from tests.stores.origins import SQLPlace, place_of, replica_of, revocations_of
from tests.stores.proxy import wait_until
from tests.stores.servers import PostgresServer
from tests.support import ISSUER, NOW, Clock, refused

KEY = RevocationKey("subject", ISSUER, "alice")


@pytest.fixture(params=["postgresql", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLPlace]:
    with place_of(request.param, request, tmp_path) as made:
        yield made


def async_engine(place: SQLPlace, **options: Any) -> Any:
    url = place.engine.url
    return create_async_engine(url.set(drivername="sqlite+aiosqlite") if url.drivername == "sqlite" else url, **options)


def verdict(store: Any, token: Any) -> str:
    try:
        revocations_of(store).check(token)
    except AuthError as error:
        return error.reason
    return "active"


async def averdict(store: Any, token: Any) -> str:
    try:
        await revocations_of(store).acheck(token)
    except AuthError as error:
        return error.reason
    return "active"


def verdict_of_revoke(store: Any, name: str) -> str:
    try:
        revocations_of(store).revoke(like(token_key=f"jti:{name}"))
    except AuthError as error:
        return error.reason
    return "recorded"


# -------------------------------------------------------------------------------------------- event loops


def test_an_asynchronous_engine_serves_event_loops_one_after_another(place: SQLPlace) -> None:
    engine = async_engine(place)
    store = SQLRevocationStore(engine, deadline=5.0)

    async def first() -> list[str]:
        await store.acreate()
        await revocations_of(store).arevoke(TOKEN)
        seen = [await averdict(store, token) for token in (TOKEN, like(token_key="jti:other"))]
        await engine.dispose()
        return seen

    async def second() -> list[str]:
        seen = await asyncio.gather(*(averdict(store, TOKEN) for _ in range(10)))
        await engine.dispose()
        return seen

    assert asyncio.run(first()) == ["TOKEN_REVOKED", "active"]
    assert asyncio.run(second()) == ["TOKEN_REVOKED"] * 10
    assert verdict(place.store(), TOKEN) == "TOKEN_REVOKED"


def test_a_replica_of_an_asynchronous_store_follows_by_another_engine(place: SQLPlace) -> None:
    engine = async_engine(place)
    store = SQLRevocationStore(engine, deadline=5.0, feed_engine=place.engine)

    async def whole() -> tuple[str, str]:
        await store.acreate()
        with replica_of(store) as replica:
            await revocations_of(store).arevoke(TOKEN)
            await asyncio.to_thread(wait_until, lambda: replica.ready() and len(replica._ledger) == 1, "followed")
            seen = await averdict(replica, TOKEN), await averdict(replica, like(token_key="jti:other"))
        await engine.dispose()
        return seen

    assert asyncio.run(whole()) == ("TOKEN_REVOKED", "active")


def test_requests_cancelled_in_the_midst_leave_no_reply_behind(place: SQLPlace) -> None:
    place.store().create()
    revoked, valid = tokens("revoked", 4), tokens("valid", 4)
    for token in revoked:
        revocations_of(place.store()).revoke(token)
    engine = async_engine(place, pool_size=4)
    store = SQLRevocationStore(engine, deadline=5.0)

    async def whole() -> list[str]:
        for round_number in range(12):
            tasks = [
                asyncio.create_task(averdict(store, token))
                for pair in zip(revoked, valid, strict=True)
                for token in pair
            ]
            await asyncio.sleep(0.0005 * (round_number % 8))
            for task in tasks[round_number % 3 :: 3]:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            for number, answer in enumerate(answers):
                expected = "active" if number % 2 else "TOKEN_REVOKED"
                assert answer == expected or isinstance(answer, asyncio.CancelledError)
        last = [await averdict(store, token) for token in (*revoked, *valid)]
        await asyncio.to_thread(wait_until, lambda: engine.pool.checkedout() == 0, "every connection is given back")
        await engine.dispose()
        return last

    assert asyncio.run(whole()) == ["TOKEN_REVOKED"] * 4 + ["active"] * 4


# ---------------------------------------------------------------------------------------- writers and locks


def test_a_sqlite_file_is_in_wal_mode(sqlite_place: SQLPlace) -> None:
    sqlite_place.store().create()
    with sqlite_place.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_sqlite_file_locked_by_another_writer_is_read_and_not_written(sqlite_place: SQLPlace) -> None:
    store = sqlite_place.store(deadline=0.25)
    store.create()
    revocations_of(store).revoke(TOKEN)
    other = sqlite3.connect(str(sqlite_place.engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    assert refused(revocations_of(store).revoke, like(token_key="jti:2")).status == 503
    assert time.monotonic() - began < 2.0
    assert verdict(store, TOKEN) == "TOKEN_REVOKED"
    other.execute("ROLLBACK")
    other.close()
    wait_until(lambda: verdict_of_revoke(store, "2") == "recorded", "it is recorded when asked again")
    assert verdict(store, like(token_key="jti:2")) == "TOKEN_REVOKED"


def test_a_postgresql_locked_by_another_writer_is_read_and_not_written(postgres_place: SQLPlace) -> None:
    store = postgres_place.store(deadline=0.25)
    store.create()
    with postgres_place.engine.connect() as other:
        other.execute(sa.text("SELECT * FROM graphql_authkit_revocation_epoch FOR UPDATE"))
        assert refused(revocations_of(store).revoke, TOKEN).status == 503
        assert verdict(store, TOKEN) == "active"
    wait_until(lambda: verdict_of_revoke(store, "2") == "recorded", "it is recorded when asked again")
    assert verdict(store, like(token_key="jti:2")) == "TOKEN_REVOKED"


@pytest.mark.parametrize("verb", ["revoke", "check"])
def test_what_was_given_up_at_a_locked_table_does_not_go_on_waiting_in_the_server(
    postgres_place: SQLPlace, verb: str
) -> None:
    store = postgres_place.store(deadline=0.1)
    store.create()
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with postgres_place.engine.connect() as other, postgres_place.engine.connect() as looking:
        other.execute(sa.text("LOCK TABLE graphql_authkit_revocation_epoch"))

        def asked_and_waiting() -> int:
            assert refused(getattr(revocations_of(store), verb), TOKEN).status == 503
            looking.rollback()
            return int(looking.execute(waiting).scalar() or 0)

        counts = [asked_and_waiting() for _ in range(24) if not threading.Event().wait(0.02)]
    assert max(counts[8:]) <= 2, counts


def test_a_postgresql_that_is_read_only_is_read_and_says_that_it_cannot_record(
    postgres_place: SQLPlace, postgres_at: PostgresServer
) -> None:
    postgres_place.store().create()
    revocations_of(postgres_place.store()).revoke(TOKEN)
    engine = sa.create_engine(postgres_at.url, connect_args={"options": "-c default_transaction_read_only=on"})
    store = SQLRevocationStore(engine, deadline=5.0)
    assert verdict(store, TOKEN) == "TOKEN_REVOKED"
    assert refused(revocations_of(store).revoke, like(token_key="jti:2")).status == 503
    with replica_of(store) as replica:
        wait_until(replica.ready, "ready")
        assert verdict(replica, TOKEN) == "TOKEN_REVOKED"
    store.close()
    wait_until(lambda: engine.pool.checkedout() == 0, "given back")  # type: ignore[attr-defined]
    engine.dispose()


def test_a_recording_that_fails_half_way_leaves_nothing(place: SQLPlace) -> None:
    place.store().create()
    good = (fingerprint(KEY), int(NOW), NOW + 100)
    bad: Any = (b"x" * 16, "no number", NOW + 100)
    with pytest.raises((ValueError, sa.exc.StatementError)), place.engine.begin() as connection:
        tables.record(connection, [good, bad], None)
    with place.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM graphql_authkit_revocations")).scalar() == 0


def test_writers_at_once_lose_nothing_and_number_in_order(place: SQLPlace) -> None:
    place.store().create()
    stores = [place.store(deadline=10.0) for _ in range(4)]
    failed: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for each in range(25):
                revocations_of(stores[number]).revoke(like(token_key=f"jti:{number}-{each % 20}"))
        except BaseException as error:
            failed.append(error)

    with replica_of(place.store()) as replica:
        wait_until(replica.ready, "ready")
        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert failed == []
        wait_until(lambda: len(replica._ledger) == 80, "all 80 followed")
    with place.engine.connect() as connection:
        changes = connection.execute(sa.text("SELECT change FROM graphql_authkit_revocations")).scalars().all()
        last = connection.execute(sa.text("SELECT change FROM graphql_authkit_revocation_epoch")).scalar()
    assert (len(set(changes)), max(changes)) == (80, last)


def test_what_has_expired_is_deleted_as_others_come(place: SQLPlace) -> None:
    clock = Clock()
    store = place.store()
    store.create()
    revocations = revocations_of(store, clock)
    for number in range(5):
        revocations.revoke_token(ISSUER, f"t-{number}", expires_at=NOW + 60)
    clock.now = NOW + 3600 + 300
    revocations.revoke_token(ISSUER, "last", expires_at=clock.now + 60)
    with place.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM graphql_authkit_revocations")).scalar() == 1


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_a_writer_whose_clock_is_an_hour_off_takes_nothing_from_others(place: SQLPlace, skew: float) -> None:
    store = place.store()
    store.create()
    revocations_of(store, time.time).revoke(like(issued_at=time.time() - 10, expires_at=time.time() + 300))
    off = place.store()
    off.record(Rule(KEY, time.time() + skew, time.time() + skew + 300), time.time() + skew)
    now = time.time()
    assert store.check(TOKEN, now).revoked_by is not None
    with replica_of(place.store()) as replica:
        wait_until(replica.ready, "ready")
        assert replica.check(TOKEN, now).revoked_by is not None


# ------------------------------------------------------------------------------------------ building


def test_what_nobody_can_share_is_refused_while_building() -> None:
    for url in ("sqlite://", "sqlite:///:memory:"):
        engine = sa.create_engine(url)
        with pytest.raises(ConfigurationError):
            SQLRevocationStore(engine)
        engine.dispose()
    with pytest.raises(ConfigurationError):
        SQLRevocationStore("sqlite:///x.db")  # type: ignore[arg-type]


def test_two_who_create_at_once_agree(place: SQLPlace) -> None:
    for _ in range(5):
        place.drop()
        stores = [place.store() for _ in range(6)]
        made: list[Any] = []
        start = threading.Barrier(6)

        def create(store: Any, made: list[Any] = made, start: threading.Barrier = start) -> None:
            start.wait(5)
            try:
                made.append(store.create())
            except Exception as error:
                made.append(type(error).__name__)

        threads = [threading.Thread(target=create, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sorted(map(str, made)) == ["False"] * 5 + ["True"]


def test_what_is_pushed_while_another_claims_is_missed_by_nobody(postgres_place: SQLPlace) -> None:
    """Numbers are in the order of commits only while each writer holds the epoch's row; without one, nobody does."""
    place = postgres_place
    place.store().create()
    place.lose()
    pushed = (fingerprint(RevocationKey("token", TOKEN.issuer, TOKEN.token_key)), None, NOW + 600)
    slow = place.engine.connect()
    transaction = slow.begin()
    tables.record(slow, [pushed], None, needs_epoch=False)
    origin = place.store()
    feed = origin.open_feed(5.0)
    claimer = threading.Thread(target=lambda: feed.claim("c" * 32))
    claimer.start()
    claimer.join(0.5)  # it may wait for the slow one
    if claimer.is_alive():
        transaction.commit()
        claimer.join(10)
    with replica_of(place.store(), start_timeout=5.0) as replica:
        wait_until(replica.ready, "ready")
        revocations_of(origin).revoke(like(token_key="jti:later"))
        wait_until(lambda: len(replica._ledger) >= 1, "followed")
        if transaction.is_active:
            transaction.commit()
        slow.close()
        feed.close()
        wait_until(lambda: verdict(replica, TOKEN) == "TOKEN_REVOKED", "what was committed late is known", 2.0)


def test_a_verb_that_cannot_work_as_built_says_so(sqlite_place: SQLPlace) -> None:
    sqlite_place.store().create()
    store = SQLRevocationStore(async_engine(sqlite_place))
    with pytest.raises(ConfigurationError, match=r"a-twin|arevoke|acheck"):
        revocations_of(store).check(TOKEN)


def test_serializable_writers_at_once_all_succeed(postgres_place: SQLPlace, postgres_at: PostgresServer) -> None:
    postgres_place.store().create()
    engine = sa.create_engine(postgres_at.url, isolation_level="SERIALIZABLE")
    stores = [SQLRevocationStore(engine, deadline=5.0) for _ in range(4)]
    failed: list[str] = []

    def write(number: int) -> None:
        for each in range(10):
            try:
                revocations_of(stores[number]).revoke(like(token_key=f"jti:{number}-{each}"))
            except StoreUnavailable as error:
                failed.append(error.detail)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for store in stores:
        store.close()
    wait_until(lambda: engine.pool.checkedout() == 0, "given back")  # type: ignore[attr-defined]
    engine.dispose()
    assert failed == []
