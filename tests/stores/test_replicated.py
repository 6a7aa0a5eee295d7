"""Replicas: what they know, how old they may be, what they do in between, and when the origin lost everything."""

from __future__ import annotations

import asyncio
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from graphql_authkit import ConfigurationError
from graphql_authkit.errors import AuthError
from graphql_authkit.revocation import ACTIVE
from graphql_authkit.stores import redis as redis_module
from graphql_authkit.stores import replicated
from graphql_authkit.stores import sql as sql_module
from graphql_authkit.stores.replicated import ReplicatedRevocationStore
from graphql_authkit.stores.sql import SQLRevocationStore
from tests.stores.contract import TOKEN, like
from tests.stores.load import Outcome, tokens, under_load
from tests.stores.origins import (
    HeldOrigin,
    RedisPlace,
    SQLPlace,
    is_revoked,
    passed,
    place_of,
    replica_of,
    revocations_of,
)
from tests.stores.proxy import Proxy, proxied, wait_until
from tests.stores.servers import PostgresServer
from tests.support import refused

STALE = 0.4
REVOKED, VALID, LATE = tokens("revoked"), tokens("valid"), tokens("late")


# ------------------------------------------------------------------------------------------- following


def test_what_one_process_revokes_another_learns(place: Any) -> None:
    place.store().create()
    with replica_of(place.store()) as one, replica_of(place.store()) as other:
        wait_until(lambda: one.ready() and other.ready(), "both ready")
        for token in LATE:
            revocations_of(one).revoke(token)
            assert one.local_check(token, 0.0) is not ACTIVE
        wait_until(lambda: all(is_revoked(other, token) for token in LATE), "the other knows")
        assert [is_revoked(other, token) for token in VALID] == [False] * len(VALID)
        assert (other.health().entries, other.health().last_error) == (len(LATE), None)


def test_a_replica_that_starts_late_reads_what_was(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_module, "CHUNK", 7)
    monkeypatch.setattr(sql_module, "CHUNK", 7)
    origin = place.store()
    origin.create()
    many = tokens("many", 40)
    for token in many:
        revocations_of(origin).revoke(token)
    with replica_of(place.store()) as replica:
        wait_until(replica.ready, "ready")
        assert [is_revoked(replica, token) for token in many] == [True] * 40


def test_a_replica_that_was_behind_reads_on_in_pieces(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_module, "CHUNK", 7)
    monkeypatch.setattr(sql_module, "CHUNK", 7)
    origin = place.store()
    origin.create()
    held = HeldOrigin(place.store())
    many = tokens("many", 40)
    with replica_of(held) as replica:
        wait_until(replica.ready, "ready")
        held.hold()
        for token in many:
            revocations_of(origin).revoke(token)
        held.let_go()
        wait_until(lambda: all(is_revoked(replica, token) for token in many), "all 40")


def test_a_verdict_needs_no_exchange_with_the_origin(redis_place: RedisPlace) -> None:
    redis_place.store().create()
    with replica_of(redis_place.store()) as replica:
        wait_until(replica.ready, "ready")
        revocations = revocations_of(replica)
        before = redis_place.client.info("commandstats").get("cmdstat_mget")
        for _ in range(100):
            revocations.check(TOKEN)
        assert redis_place.client.info("commandstats").get("cmdstat_mget") == before


# -------------------------------------------------------------------------------------- under failures


def accepted_too_late(outcomes: list[Outcome], revoked_at: float) -> list[Outcome]:
    late = {token.token_key for token in LATE}
    return [o for o in outcomes if o.token_key in late and o.answer == "active" and o.began > revoked_at + STALE]


FAULTS: dict[str, Callable[[Any, Proxy], object]] = {
    "cut": lambda _, proxy: proxy.refuse(),
    "black hole": lambda _, proxy: proxy.hold(),
    "garbage": lambda _, proxy: proxy.corrupt(lambda data: b"!" * len(data)),
    "drip": lambda _, proxy: proxy.drip(0.2),
}


def endure(writer: Any, origin: Any, proxy: Proxy, break_it: Callable[[], object]) -> None:
    """Revoke REVOKED before, LATE in the midst of a failure that only the replica sees."""
    writer.create()
    for token in REVOKED:
        revocations_of(writer).revoke(token)
    with replica_of(origin, max_staleness=STALE, start_timeout=10.0) as replica:
        wait_until(replica.ready, "ready")
        with under_load(revocations_of(replica), REVOKED, VALID + LATE) as load:
            load.valid_keys -= {token.token_key for token in LATE}
            load.wait_for("active", 10)
            break_it()
            for token in LATE:
                revocations_of(writer).revoke(token)
            revoked_at = time.monotonic()
            load.wait_for("unavailable", 20)
            wait_until(lambda: not replica.ready(), "not ready")
            proxy.heal()
            load.wait_for("active", 10)
            wait_until(replica.ready, "ready again")
            wait_until(lambda: all(is_revoked(replica, token) for token in LATE), "the late ones are known")
    assert load.wrong() == []
    assert accepted_too_late(load.outcomes, revoked_at) == []
    assert load.longest() < 1.5


@pytest.mark.parametrize("fault", FAULTS)
def test_a_replica_that_cannot_reach_redis_is_stale_no_longer_than_it_may(redis_place: RedisPlace, fault: str) -> None:
    with proxied(("127.0.0.1", redis_place.server.port)) as proxy:
        origin = redis_place.store(proxy.port)
        endure(redis_place.store(), origin, proxy, lambda: FAULTS[fault](redis_place, proxy))


@pytest.mark.parametrize("fault", ["cut", "black hole"])
def test_a_replica_that_cannot_reach_postgresql_is_stale_no_longer_than_it_may(
    postgres_at: PostgresServer, fault: str
) -> None:
    place = SQLPlace(postgres_at.url)
    with proxied(postgres_at.socket_path) as proxy:
        engine = sa.create_engine(postgres_at.url_at(proxy.address))
        endure(place.store(), SQLRevocationStore(engine), proxy, lambda: FAULTS[fault](place, proxy))
        wait_until(lambda: engine.pool.checkedout() == 0, "given back")  # type: ignore[attr-defined]
        engine.dispose()
    place.close()


def test_a_stopped_redis_makes_replicas_stale_and_goes_on(redis_place: RedisPlace) -> None:
    redis_place.store().create()
    with replica_of(redis_place.store(), max_staleness=STALE) as replica:
        wait_until(replica.ready, "ready")
        redis_place.server.pause()
        wait_until(lambda: is_revoked(replica, TOKEN) is None, "unavailable")
        assert replica.health().is_ready is False
        redis_place.server.go_on()
        wait_until(lambda: is_revoked(replica, TOKEN) is False, "active")


# ------------------------------------------------------------------------------------------ policies


def test_confirm_asks_the_origin_while_the_replica_is_stale(redis_place: RedisPlace) -> None:
    origin = redis_place.store()
    origin.create()
    held = HeldOrigin(redis_place.store())
    with replica_of(held, max_staleness=STALE, on_stale="confirm") as replica:
        wait_until(replica.ready, "ready")
        held.hold()
        revocations_of(origin).revoke(TOKEN)
        wait_until(lambda: not replica.ready(), "stale")
        assert replica.local_check(TOKEN, 0.0) is None
        assert [is_revoked(replica, token) for token in (TOKEN, VALID[0])] == [True, False]


def test_confirm_is_unavailable_while_the_origin_is(redis_place: RedisPlace) -> None:
    redis_place.store().create()
    with (
        proxied(("127.0.0.1", redis_place.server.port)) as proxy,
        replica_of(redis_place.store(proxy.port), max_staleness=STALE, on_stale="confirm") as replica,
    ):
        wait_until(replica.ready, "ready")
        proxy.refuse()
        wait_until(lambda: not replica.ready(), "stale")
        assert refused(revocations_of(replica).check, TOKEN).status == 503
        proxy.heal()
        wait_until(lambda: is_revoked(replica, TOKEN) is False, "active again")


def test_serving_on_knows_what_it_knew(redis_place: RedisPlace) -> None:
    origin = redis_place.store()
    origin.create()
    held = HeldOrigin(redis_place.store())
    with replica_of(held, max_staleness=STALE, insecure_on_stale="serve") as replica:
        revocations_of(replica).revoke(TOKEN)
        wait_until(replica.ready, "ready")
        held.hold()
        wait_until(lambda: not replica.ready(), "stale")
        assert [is_revoked(replica, token) for token in (TOKEN, VALID[0])] == [True, False]


def test_a_replica_that_never_loaded_serves_nothing(redis_place: RedisPlace) -> None:
    with replica_of(redis_place.store(), insecure_on_stale="serve", start_timeout=0.1) as replica:
        assert refused(revocations_of(replica).check, TOKEN).status == 503


# --------------------------------------------------------------------------------------------- starting


def test_a_replica_started_while_the_origin_is_down_is_unavailable_and_then_there(redis_place: RedisPlace) -> None:
    origin = redis_place.store()
    origin.create()
    revocations_of(origin).revoke(TOKEN)
    with proxied(("127.0.0.1", redis_place.server.port)) as proxy:
        proxy.refuse()
        with replica_of(redis_place.store(proxy.port), start_timeout=0.1) as replica:
            began = time.monotonic()
            assert refused(revocations_of(replica).check, TOKEN).status == 503
            assert time.monotonic() - began < 1.5
            assert (replica.ready(), replica.health().age) == (False, None)
            proxy.heal()
            wait_until(replica.ready, "ready")
            assert is_revoked(replica, TOKEN) is True


def test_the_first_requests_wait_for_the_first_snapshot(place: Any) -> None:
    origin = place.store()
    origin.create()
    revocations_of(origin).revoke(TOKEN)
    seen: list[bool | None] = []
    with replica_of(place.store(), start_timeout=10.0) as replica:
        threads = [threading.Thread(target=lambda: seen.append(is_revoked(replica, TOKEN))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert seen == [True] * 8


def test_a_closed_replica_refuses_and_its_thread_is_gone(place: Any) -> None:
    place.store().create()
    before = threading.active_count()
    with replica_of(place.store(), start_timeout=0.1) as replica:
        wait_until(replica.ready, "ready")
        replica.close()
        assert refused(revocations_of(replica).check, TOKEN).status == 503
        assert (replica.ready(), replica.health().last_error) == (False, "closed")
        replica.close()
    wait_until(lambda: threading.active_count() <= before, f"no more threads than {before}")


# ----------------------------------------------------------------------------------------------- epochs


def test_two_who_create_agree_on_one_epoch(place: Any) -> None:
    assert [place.store().create(), place.store().create()] == [True, False]


def test_an_origin_without_epoch_is_never_one_with_nothing_revoked(place: Any) -> None:
    origin = place.store()
    origin.create()
    place.lose()
    assert refused(revocations_of(origin).check, TOKEN).status == 503
    assert refused(revocations_of(origin).revoke, TOKEN).status == 503
    with replica_of(place.store(), start_timeout=0.1) as replica:
        assert refused(revocations_of(replica).check, TOKEN).status == 503


def held_apart(place: Any, held: list[HeldOrigin], replicas: list[ReplicatedRevocationStore]) -> None:
    """Let each of two replicas know what the other and the origin do not."""
    wait_until(lambda: all(replica.ready() for replica in replicas), "ready")
    for origin in held:
        origin.hold()
    place.save()
    for number, replica in enumerate(replicas):
        revocations_of(replica).revoke(LATE[number])
    place.lose()


def test_two_live_replicas_of_redis_republish_the_union_under_one_epoch(redis_place: RedisPlace) -> None:
    origin = redis_place.store()
    origin.create()
    revocations_of(origin).revoke(TOKEN)
    held = [HeldOrigin(redis_place.store()), HeldOrigin(redis_place.store())]
    with replica_of(held[0]) as one, replica_of(held[1]) as other:
        held_apart(redis_place, held, [one, other])
        old = one.health().epoch
        for each in held:
            each.let_go()
        wait_until(lambda: one.health().epoch == other.health().epoch != old, "one new epoch")
        wait_until(lambda: all(is_revoked(r, t) for r in (one, other) for t in [TOKEN, *LATE[:2]]), "the union")
        assert [is_revoked(origin, token) for token in [TOKEN, *LATE[:2], VALID[0]]] == [True, True, True, False]
        with replica_of(redis_place.store()) as third:
            wait_until(third.ready, "ready")
            assert [is_revoked(third, token) for token in [TOKEN, *LATE[:2]]] == [True] * 3


def test_a_replica_that_is_too_old_does_not_republish_and_an_operator_may_create(redis_place: RedisPlace) -> None:
    origin = redis_place.store()
    origin.create()
    held = HeldOrigin(redis_place.store())
    with replica_of(held, max_staleness=STALE, republish_within=0.05) as replica:
        wait_until(replica.ready, "ready")
        revocations_of(replica).revoke(TOKEN)
        held.hold()
        redis_place.lose()
        wait_until(lambda: (replica.health().age or 0) > 0.3, "too old")
        held.let_go()
        wait_until(lambda: "no epoch" in (replica.health().last_error or ""), "it says why")
        assert redis_place.client.keys("*") == []
        wait_until(lambda: is_revoked(replica, TOKEN) is None, "unavailable")
        assert origin.create() is True
        wait_until(lambda: is_revoked(replica, TOKEN), "what it holds is there again")
        wait_until(lambda: is_revoked(origin, TOKEN), "and in the origin")


def test_a_new_epoch_takes_nothing_back(place: Any) -> None:
    origin = place.store()
    origin.create()
    held = HeldOrigin(place.store())
    with replica_of(held, republish_within=0) as replica:
        wait_until(replica.ready, "ready")
        revocations_of(replica).revoke(TOKEN)
        held.hold()
        place.lose()
        wait_until(lambda: created(origin), "the breaker lets it")
        held.let_go()
        wait_until(lambda: is_revoked(origin, TOKEN), "written again")
        assert is_revoked(replica, TOKEN) is True


def created(origin: Any) -> bool:
    try:
        return bool(origin.create())
    except AuthError:
        return False


def test_many_who_claim_at_once_make_one_epoch(redis_place: RedisPlace) -> None:
    feeds = [redis_place.store().open_feed(2.0) for _ in range(8)]
    won: list[bool] = []
    start = threading.Barrier(8)

    def claim(number: int) -> None:
        start.wait(5)
        won.append(feeds[number].claim(f"{number:032x}"))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    for feed in feeds:
        feed.close()
    assert sorted(won) == [False] * 7 + [True]


def test_a_backup_that_is_restored_is_given_what_it_lacks(place: Any) -> None:
    origin = place.store()
    origin.create()
    held = HeldOrigin(place.store())
    with replica_of(held) as replica:
        wait_until(replica.ready, "ready")
        place.save()
        revocations_of(replica).revoke(TOKEN)
        wait_until(lambda: held.polls > 5 and replica.health().entries == 1, "followed")
        settled = held.polls
        wait_until(lambda: held.polls > settled + 2, "its own is read back")
        place.restore()
        assert is_revoked(origin, TOKEN) is False
        wait_until(lambda: is_revoked(origin, TOKEN), "written again")
        assert is_revoked(replica, TOKEN) is True


@pytest.mark.parametrize("options", [{"max_staleness": 0.0}, {"on_stale": "serve"}, {"insecure_on_stale": "yes"}])
def test_settings_that_make_no_sense_are_refused(redis_place: RedisPlace, options: Any) -> None:
    with pytest.raises(ConfigurationError):
        ReplicatedRevocationStore(redis_place.store(), **options)


def test_a_replica_that_read_a_part_of_the_backlog_does_not_say_it_is_fresh(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_module, "CHUNK", 5)
    monkeypatch.setattr(sql_module, "CHUNK", 5)
    origin = place.store()
    origin.create()
    held = HeldOrigin(place.store())
    many = tokens("many", 12)
    with replica_of(held) as replica:
        wait_until(replica.ready, "ready")
        held.hold()
        wait_until(passed(0.1), "the poll under way ends")
        polls = held.polls
        for token in many:
            revocations_of(origin).revoke(token)
        recorded_at = time.monotonic()
        wait_until(passed(0.05), "a little later")
        held.hold(after=2)  # the one that began before, and one that begins now
        wait_until(lambda: held.polls >= polls + 2, "two more polls")
        wait_until(lambda: replica.health().entries >= 10, "their entries")
        wait_until(passed(0.05), "it has noted its age")
        seen = replica.health()
        assert seen.entries == 12 or (seen.age or 0.0) >= time.monotonic() - recorded_at - 0.01


def test_data_lost_while_a_snapshot_is_read_are_not_nothing_revoked(place: Any) -> None:
    origin = place.store()
    origin.create()
    revocations_of(origin).revoke(TOKEN)
    held = HeldOrigin(place.store())
    held.before_entries = place.lose
    with replica_of(held, start_timeout=0.3) as replica:
        seen = {is_revoked(replica, TOKEN) for _ in range(100)}
    assert seen == {None}


@pytest.mark.parametrize("how", ["lose", "drop"])
@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_a_live_replica_republishes_to_tables_that_were_lost(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, how: str
) -> None:
    with place_of(kind, request, tmp_path) as place:
        origin = place.store()
        origin.create()
        with replica_of(place.store()) as replica:
            wait_until(replica.ready, "ready")
            revocations_of(replica).revoke(TOKEN)
            getattr(place, how)()
            wait_until(lambda: is_revoked(origin, TOKEN), "written again", 4.0)
            wait_until(replica.ready, "ready")


def test_a_replica_of_an_empty_log_republishes_as_well(redis_place: RedisPlace) -> None:
    origin = redis_place.store()
    origin.create()
    with replica_of(redis_place.store()) as replica:
        wait_until(replica.ready, "ready")
        redis_place.lose()
        wait_until(lambda: is_revoked(origin, TOKEN) is False, "a new epoch", 3.0)


def test_requests_at_the_start_wait_once_and_not_in_turn(redis_place: RedisPlace) -> None:
    async def ask(replica: ReplicatedRevocationStore) -> list[int]:
        revocations = revocations_of(replica)

        async def one() -> int:
            try:
                await revocations.acheck(TOKEN)
            except AuthError as error:
                return error.status
            return 200

        return await asyncio.gather(*(one() for _ in range(60)))

    with replica_of(redis_place.store(), start_timeout=0.3) as replica:  # which has no epoch
        began = time.monotonic()
        assert asyncio.run(ask(replica)) == [503] * 60
        assert time.monotonic() - began < 0.3 + 1.0
        began = time.monotonic()
        assert [is_revoked(replica, TOKEN) for _ in range(10)] == [None] * 10
        assert time.monotonic() - began < 1.0, "long after the start each still waits for the first snapshot"


def test_a_store_that_cannot_be_followed_is_refused_while_building(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(ConfigurationError, match="feed_engine"):
        ReplicatedRevocationStore(SQLRevocationStore(engine))


def test_the_least_max_staleness_that_is_taken_is_kept(
    redis_place: RedisPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicated, "POLL", 0.25)
    redis_place.store().create()
    with replica_of(redis_place.store(), max_staleness=1.0) as replica:
        wait_until(replica.ready, "ready")
        seen = []
        until = passed(1.2)
        while not until():
            seen.append(replica.health().is_ready)
            threading.Event().wait(0.0002)
        assert seen.count(False) == 0


def test_a_rule_of_the_longest_life_does_not_stop_a_republication(redis_place: RedisPlace) -> None:
    """A replica rounds an expiry up to the minute, and what it then pushes is longer than `log_seconds`."""
    options: dict[str, Any] = {"log_seconds": 3600.0}
    origin = redis_place.store(**options)
    origin.create()
    revocations = revocations_of(origin, time.time)
    with replica_of(redis_place.store(**options)) as replica:
        wait_until(replica.ready, "ready")
        revocations.revoke_token(TOKEN.issuer, "t-1", expires_at=time.time() + 3539.5)  # and a minute's leeway
        wait_until(lambda: replica.health().entries == 1, "followed")
        redis_place.lose()
        wait_until(lambda: is_recorded(revocations), "it republished", 4.0)


def is_recorded(revocations: Any) -> bool:
    try:
        revocations.revoke_token(TOKEN.issuer, "other", expires_at=time.time() + 10)
    except AuthError:
        return False
    return True


def test_a_clock_that_leaps_ahead_and_comes_back_forgets_nothing(
    redis_place: RedisPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = redis_place.store()
    origin.create()
    with replica_of(redis_place.store()) as replica:
        revocations_of(replica, time.time).revoke(like(expires_at=time.time() + 600))
        wait_until(replica.ready, "ready")
        ahead = types.SimpleNamespace(time=lambda: time.time() + 3000, monotonic=time.monotonic)
        monkeypatch.setattr(replicated, "time", ahead)
        wait_until(passed(0.3), "some polls")
        monkeypatch.undo()
        assert replica.check(TOKEN, time.time()).revoked_by is not None


def test_a_closed_replica_does_not_serve_on(redis_place: RedisPlace) -> None:
    redis_place.store().create()
    with replica_of(redis_place.store(), insecure_on_stale="serve") as replica:
        wait_until(replica.ready, "ready")
        replica.close()
        assert is_revoked(replica, TOKEN) is None


def test_closing_does_not_wait_for_a_redis_that_hangs(redis_place: RedisPlace) -> None:
    redis_place.store().create()
    with proxied(("127.0.0.1", redis_place.server.port)) as proxy, replica_of(redis_place.store(proxy.port)) as replica:
        wait_until(replica.ready, "ready")
        proxy.hold()
        began = time.monotonic()
        replica.close()
        assert time.monotonic() - began < 2.0


def test_a_redis_that_lost_its_log_alone_gives_no_empty_snapshot(redis_place: RedisPlace) -> None:
    origin = redis_place.store()
    origin.create()
    revocations_of(origin).revoke(TOKEN)
    redis_place.client.delete("{graphql-authkit}:log")
    with replica_of(redis_place.store(), start_timeout=0.3) as replica:
        seen = {is_revoked(replica, TOKEN) for _ in range(20)}
    assert False not in seen


def test_a_log_with_what_is_no_rule_is_named_and_not_read_for_ever(redis_place: RedisPlace) -> None:
    origin = redis_place.store()
    origin.create()
    with replica_of(redis_place.store(), max_staleness=STALE, start_timeout=0.1) as replica:
        wait_until(replica.ready, "ready")
        redis_place.client.xadd("{graphql-authkit}:log", {"x": "y"})
        wait_until(lambda: not replica.ready(), "stale: never skipped in silence")
        assert "no rule" in (replica.health().last_error or "")
