"""Idle time-outs: who is refused and who is not, what is written and how often, in every store."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from graphql_authkit import Authenticator, ConfigurationError, VerifiedToken
from graphql_authkit.activity import Seen, SessionActivity
from graphql_authkit.errors import ClaimRejected, SessionExpired, StoreUnavailable
from graphql_authkit.stores.activity import MemoryActivityStore, RedisActivityStore, SQLActivityStore
from tests.stores.servers import postgres, redis_server
from tests.support import NOW, Clock, Driver, local_issuer, refused, verifier

IDLE = 600.0


def token(subject: str = "alice", *, issued: float = NOW, **claims: Any) -> VerifiedToken:
    given = {"sid": "s-1", "iat": int(issued), "exp": int(issued) + 86_400, **claims}
    given = {name: value for name, value in given.items() if value is not None}
    without = [name for name, value in claims.items() if value is None]
    return verifier(clock=Clock(issued)).verify(local_issuer().token(subject, claims=given, without=without))


class Counting(MemoryActivityStore):
    """Notes what it is asked; fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.batches: list[dict[bytes, Seen]] = []
        self.fails = False

    def read(self, name: bytes) -> Seen | None:
        self.reads += 1
        if self.fails:
            raise ValueError("garbage")
        return super().read(name)

    def write(self, seen: Mapping[bytes, Seen], lives_for: float) -> None:
        if self.fails:
            raise OSError("down")
        self.batches.append(dict(seen))
        super().write(seen, lives_for)


def activity(store: Any, clock: Clock, **options: Any) -> SessionActivity:
    return SessionActivity(store, **{"idle_timeout": IDLE, "interval": 60.0, "clock": clock, **options})


@pytest.fixture
def slow_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes happen when a test flushes."""
    monkeypatch.setattr("graphql_authkit.activity.FLUSH_AFTER", 3600.0)


@pytest.mark.usefixtures("slow_writer")
class TestOneProcess:
    def test_a_session_that_is_used_lives_on_and_one_that_is_not_ends(self, clock: Clock, drive: Driver) -> None:
        seen = activity(Counting(), clock)
        for minutes in (0, 9, 18, 27):
            clock.now = NOW + minutes * 60
            drive(seen, "see", token())
        clock.now += IDLE
        assert type(drive.error(seen, "see", token())) is SessionExpired

    def test_ten_thousand_requests_within_the_interval_are_one_write(self, clock: Clock) -> None:
        store = Counting()
        seen, one = activity(store, clock), token()
        for number in range(10_000):
            clock.now = NOW + number * 0.005
            seen.see(one)
        seen.flush()
        seen.flush()
        assert (len(store.batches), [len(batch) for batch in store.batches], store.reads) == (1, [1], 1)

    def test_many_sessions_are_written_together(self, clock: Clock) -> None:
        store = Counting()
        seen = activity(store, clock)
        for number in range(50):
            seen.see(token(sid=f"s-{number}"))
        seen.flush()
        assert [len(batch) for batch in store.batches] == [50]

    def test_a_token_without_a_record_counts_from_its_issue(self, clock: Clock, drive: Driver) -> None:
        clock.now = NOW + IDLE - 1
        drive(activity(Counting(), clock), "see", token())
        clock.now = NOW + IDLE
        assert type(drive.error(activity(Counting(), clock), "see", token())) is SessionExpired

    def test_a_new_token_does_not_revive_a_session_that_is_over_for_its_age(self, clock: Clock) -> None:
        seen = activity(Counting(), clock, max_lifetime=3600.0)
        for minutes in range(0, 60, 5):
            clock.now = NOW + minutes * 60
            seen.see(token(issued=clock.now))
        clock.now = NOW + 3600
        assert "too long ago" in refused(seen.see, token(issued=clock.now)).detail

    def test_the_beginning_is_auth_time_where_the_token_tells(self, clock: Clock) -> None:
        seen = activity(Counting(), clock, max_lifetime=3600.0)
        assert "too long ago" in refused(seen.see, token(auth_time=int(NOW) - 3600)).detail

    def test_by_subject_all_sessions_are_one(self, clock: Clock) -> None:
        seen = activity(Counting(), clock, by="subject")
        seen.see(token(sid=None))
        clock.now = NOW + IDLE - 1
        seen.see(token(sid="another"))
        clock.now = NOW + 2 * IDLE - 2
        seen.see(token(sid=None))

    def test_a_token_without_a_session_is_refused_and_the_log_says_what_helps(self, clock: Clock) -> None:
        error = refused(activity(Counting(), clock).see, token(sid=None))
        assert (type(error), 'by="subject"' in error.detail) == (ClaimRejected, True)

    def test_one_issuers_session_is_not_anothers(self, clock: Clock) -> None:
        store = Counting()
        activity(store, clock).see(token())
        other = VerifiedToken("alice", "https://other.test/", frozenset(), None, "k", "s-1", None, NOW, NOW, None, {})
        clock.now = NOW + IDLE
        assert type(refused(activity(store, clock).see, other)) is SessionExpired

    def test_a_clock_set_back_ends_nothing(self, clock: Clock) -> None:
        seen = activity(Counting(), clock)
        seen.see(token())
        clock.now = NOW - 300
        seen.see(token())
        clock.now = NOW + IDLE - 1
        seen.see(token())


@pytest.mark.usefixtures("slow_writer")
class TestSeveralProcesses:
    def test_the_store_is_asked_before_a_session_is_refused(self, clock: Clock, drive: Driver) -> None:
        store = Counting()
        here, there = activity(store, clock), activity(store, clock)
        drive(here, "see", token())
        clock.now = NOW + IDLE - 1
        drive(there, "see", token())
        there.flush()
        clock.now = NOW + IDLE + 60
        drive(here, "see", token())
        clock.now += IDLE
        assert type(drive.error(here, "see", token())) is SessionExpired

    def test_a_store_that_fails_is_503_and_never_an_end(self, clock: Clock, drive: Driver) -> None:
        store = Counting()
        store.fails = True
        assert type(drive.error(activity(store, clock), "see", token())) is StoreUnavailable

    def test_a_store_that_fails_does_not_touch_sessions_in_use(self, clock: Clock) -> None:
        store = Counting()
        seen = activity(store, clock)
        seen.see(token())
        store.fails = True
        for minutes in range(1, 30):
            clock.now = NOW + minutes * 60
            seen.see(token())
        assert type(refused(seen.flush)) is StoreUnavailable
        store.fails = False
        seen.flush()
        assert [seen.last for seen in store.batches[0].values()] == [clock.now]


def test_writes_happen_by_themselves(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphql_authkit.activity.FLUSH_AFTER", 0.001)
    written = threading.Event()

    class Telling(MemoryActivityStore):
        def write(self, seen: Mapping[bytes, Seen], lives_for: float) -> None:
            super().write(seen, lives_for)
            written.set()

    activity(Telling(), clock).see(token())
    assert written.wait(10)


def test_the_pipeline_asks_for_each_request(clock: Clock, drive: Driver) -> None:
    clock.now = NOW
    sessions = activity(MemoryActivityStore(), clock)
    auth = Authenticator(local_issuer().verifier(clock=Clock(NOW)), sessions=sessions)
    text = local_issuer().token(claims={"sid": "s-1"})
    for minutes in (0, 9, 18):
        clock.now = NOW + minutes * 60
        assert drive(auth, "authenticate_token", text).session_id == "s-1"
    clock.now += IDLE
    assert drive.error(auth, "authenticate_token", text).reason == "SESSION_EXPIRED"
    sessions.flush()


@pytest.mark.parametrize(
    "options",
    [
        {"idle_timeout": 0},
        {"idle_timeout": float("inf")},
        {"interval": 0},
        {"interval": IDLE},
        {"max_lifetime": IDLE},
        {"by": "client"},
    ],
)
def test_settings_that_contradict_are_refused_while_building(clock: Clock, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        activity(MemoryActivityStore(), clock, **options)


@pytest.mark.parametrize("store", [None, object(), {}])
def test_what_is_no_store_is_refused_while_building(clock: Clock, store: Any) -> None:
    with pytest.raises(ConfigurationError):
        activity(store, clock)
    with pytest.raises(ConfigurationError):
        Authenticator(local_issuer().verifier(), sessions=MemoryActivityStore())  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------ stores


@pytest.fixture(scope="module", params=["memory", "redis", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    directory = Path(tmp_path_factory.mktemp("activity"))
    if request.param == "memory":
        yield MemoryActivityStore()
    elif request.param == "redis":
        with redis_server(directory) as server:
            of_redis = RedisActivityStore(server.client(), deadline=5.0)
            yield of_redis
            of_redis.close()
    elif request.param == "sqlite":
        with in_database(f"sqlite:///{directory / 'seen.db'}") as of_sqlite:
            yield of_sqlite
    else:
        with postgres(directory) as url, in_database(url) as of_postgresql:
            yield of_postgresql


@contextmanager
def in_database(url: str) -> Iterator[SQLActivityStore]:
    engine = sa.create_engine(url)
    made = SQLActivityStore(engine, deadline=5.0)
    made.create()
    yield made
    made.close()
    engine.dispose()


def test_a_store_merges_the_earlier_beginning_and_the_later_sight(store: Any) -> None:
    name, other = b"m" * 16, b"o" * 16
    assert store.read(name) is None
    store.write({name: Seen(100.25, 200.5)}, 3600)
    store.write({name: Seen(150.0, 300.75), other: Seen(1.0, 2.0)}, 3600)
    store.write({name: Seen(50.0, 250.0)}, 3600)
    assert (store.read(name), store.read(other)) == (Seen(50.0, 300.75), Seen(1.0, 2.0))


def test_a_store_takes_thousands_at_once(store: Any) -> None:
    batch = {number.to_bytes(16, "big"): Seen(float(number), float(number) + 1) for number in range(2500)}
    store.write(batch, 3600)
    assert store.read((2499).to_bytes(16, "big")) == Seen(2499.0, 2500.0)


def test_writers_at_once_of_sessions_that_are_new_to_them_lose_nothing_and_do_not_fail(store: Any) -> None:
    failed: list[BaseException] = []
    for turn in range(5):
        names = [bytes([turn + 1, number]) * 8 for number in range(10)]
        start = threading.Barrier(3)

        def write(number: int, names: list[bytes] = names, start: threading.Barrier = start) -> None:
            start.wait(5)
            try:
                store.write({name: Seen(1000.0 - number, 2000.0 + number) for name in names}, 3600)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert failed == []
        assert {store.read(name) for name in names} == {Seen(998.0, 2002.0)}


def test_the_memory_store_forgets_what_has_ended_and_what_is_too_much() -> None:
    clock = Clock(0.0)
    store = MemoryActivityStore(max_entries=2, clock=clock)
    store.write({b"a": Seen(1, 1), b"b": Seen(2, 2), b"c": Seen(3, 3)}, 100)
    assert [store.read(name) for name in (b"a", b"b", b"c")] == [None, Seen(2, 2), Seen(3, 3)]
    clock.now = 100.0
    assert store.read(b"c") is None
