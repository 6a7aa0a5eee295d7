"""Redis alone: which clients it takes, how rules merge in the server, clocks, event loops and connections."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel

from graphql_authkit import ConfigurationError
from graphql_authkit.errors import AuthError
from graphql_authkit.revocation import RevocationKey, Rule, fingerprint
from graphql_authkit.stores.redis import RedisRevocationStore
from tests.stores.contract import TOKEN, like
from tests.stores.load import close_in_loop, tokens
from tests.stores.origins import LONG, RedisPlace, replica_of, revocations_of
from tests.stores.proxy import wait_until
from tests.stores.servers import RedisServer
from tests.support import ISSUER, NOW, Clock, refused

KEY = RevocationKey("subject", ISSUER, "alice")
RULE = f"{{graphql-authkit}}:rule:{fingerprint(KEY).hex()}"
LOG = "{graphql-authkit}:log"


@pytest.fixture
def place(redis_at: RedisServer) -> Iterator[RedisPlace]:
    made = RedisPlace(redis_at)
    yield made
    made.close()


def store_of(client: Any, **options: Any) -> RedisRevocationStore:
    return RedisRevocationStore(client, **{"deadline": 2.0, "log_seconds": LONG, **options})


# ---------------------------------------------------------------------------------------------- clients

CLIENTS: dict[str, Callable[[int], Any]] = {
    "RESP2": lambda port: redis.Redis(port=port, protocol=2),
    "RESP3": lambda port: redis.Redis(port=port, protocol=3),
    "decoding": lambda port: redis.Redis(port=port, decode_responses=True),
    "decoding RESP3": lambda port: redis.Redis(port=port, decode_responses=True, protocol=3),
    "another encoding": lambda port: redis.Redis(port=port, encoding="latin-1", decode_responses=True),
    "by URL": lambda port: redis.Redis.from_url(f"redis://127.0.0.1:{port}/3"),
    "of a blocking pool": lambda port: redis.Redis(
        connection_pool=redis.BlockingConnectionPool(host="127.0.0.1", port=port, max_connections=1)  # type: ignore[no-untyped-call]
    ),
    "single": lambda port: redis.Redis(port=port, single_connection_client=True),
    "asynchronous": lambda port: redis.asyncio.Redis(port=port, decode_responses=True),
    "asynchronous RESP3": lambda port: redis.asyncio.Redis(port=port, protocol=3),
}


@pytest.mark.parametrize("kind", CLIENTS)
def test_any_client_tells_where_the_server_is(place: RedisPlace, kind: str) -> None:
    client = CLIENTS[kind](place.server.port)
    store = store_of(client)
    store.create()
    with replica_of(store) as replica:
        revocations_of(store).revoke(TOKEN)
        wait_until(replica.ready, "ready")
        wait_until(lambda: len(replica._ledger) == 1, "followed")
        assert refused(revocations_of(store).check, TOKEN).reason == "TOKEN_REVOKED"
        assert refused(revocations_of(replica).check, TOKEN).reason == "TOKEN_REVOKED"
    store.close()
    if isinstance(client, redis.Redis):
        client.close()


def test_what_is_no_such_client_is_refused_while_building() -> None:
    sentinel = redis.sentinel.Sentinel([("127.0.0.1", 1)])  # type: ignore[no-untyped-call]
    for client in (sentinel.master_for("x"), sentinel, "redis://127.0.0.1", None, object()):  # type: ignore[no-untyped-call]
        with pytest.raises(ConfigurationError):
            RedisRevocationStore(client)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        RedisRevocationStore(redis.cluster.RedisCluster.__new__(redis.cluster.RedisCluster))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"prefix": ""}, {"deadline": 0.0}, {"deadline": float("inf")}, {"log_seconds": -1}]
)
def test_settings_that_make_no_sense_are_refused(options: Any) -> None:
    with pytest.raises(ConfigurationError):
        RedisRevocationStore(redis.Redis(), **options)


@pytest.mark.parametrize(
    "prefix", ["a b", "a\nb\r\n", "é\U0001f600", "*", "{", "{}", "a:rule:b", "\x00", "x" * 2000, "%s"]
)
def test_any_prefix_is_only_itself(place: RedisPlace, prefix: str) -> None:
    store, other = place.store(prefix=prefix), place.store(prefix=prefix + "x")
    store.create()
    other.create()
    with replica_of(store) as replica, replica_of(other) as another:
        revocations_of(store).revoke(TOKEN)
        wait_until(lambda: replica.ready() and another.ready(), "ready")
        wait_until(lambda: len(replica._ledger) == 1, "followed")
        assert refused(revocations_of(store).check, TOKEN).status == 401
        assert revocations_of(other).check(TOKEN).token is TOKEN
        assert revocations_of(another).check(TOKEN).token is TOKEN


# ---------------------------------------------------------------------------------------------- merging


def strictest(rules: list[Rule]) -> Rule:
    dates = [rule.not_before for rule in rules]
    before = None if None in dates else max(date for date in dates if date is not None)
    return Rule(KEY, before, max(rule.expires_at for rule in rules))


RULES = [
    Rule(KEY, 0.0, NOW + 100.0),
    Rule(KEY, 9.0, NOW + 100.5),
    Rule(KEY, 10.0, NOW + 99.0),  # greater than 9 as a number, less as a text
    Rule(KEY, NOW, NOW + 1000.0),
    Rule(KEY, None, NOW + 10.0),
]


@pytest.mark.parametrize("rules", list(itertools.permutations(RULES, 2)))
def test_rules_of_one_key_merge_into_the_stricter_one(place: RedisPlace, rules: tuple[Rule, Rule]) -> None:
    store = place.store()
    store.create()
    for rule in (*rules, rules[0]):
        store.record(rule, NOW)
    expected = strictest(list(rules))
    before = b"" if expected.not_before is None else b"%d" % expected.not_before
    value: Any = place.client.get(RULE)
    assert value == before + b" %d" % -(-expected.expires_at // 1)
    logged: Any = place.client.xrange(LOG)
    assert b"".join(logged[-1][1].values()) == fingerprint(KEY) + value


def test_a_rule_and_the_log_leave_the_server_by_themselves(place: RedisPlace) -> None:
    now = time.time()
    store = place.store(log_seconds=3600.0)
    store.create()
    store.record(Rule(KEY, now, now + 60), now)
    life: Any = place.client.ttl(RULE)
    assert 3600 < life <= 3600 + 61
    for number in range(500):
        old = f"{int((now - 4000) * 1000)}-{number + 1}"
        place.client.delete(LOG) if number == 0 else None
        place.client.xadd(LOG, {"e": b"x" * 16 + b" 1"}, id=old)
    store.record(Rule(KEY, now, now + 120), now)
    length: Any = place.client.xlen(LOG)
    assert length < 150  # whole nodes of a hundred go


# ----------------------------------------------------------------------------------------------- clocks


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_a_client_whose_clock_is_an_hour_off_is_understood(place: RedisPlace, skew: float) -> None:
    """The server's expiry and the log go by the clock of the server, the rule by the client's."""
    clock = Clock(time.time() + skew)
    token = like(issued_at=clock.now - 10, expires_at=clock.now + 300)
    store = place.store(log_seconds=8 * 86_400.0)
    store.create()
    revocations_of(store, clock).revoke(token)
    revocations_of(store, clock).revoke_subject(ISSUER, "bob")
    assert refused(revocations_of(store, clock).check, token).reason == "TOKEN_REVOKED"
    with replica_of(place.store()) as replica:
        wait_until(replica.ready, "ready")
        if skew > 0:  # else the token has expired by this host's clock
            assert refused(revocations_of(replica, clock).check, token).reason == "TOKEN_REVOKED"
        bob = like(subject="bob", issued_at=clock.now - 10, expires_at=clock.now + 300)
        assert refused(revocations_of(replica, clock).check, bob).reason == "TOKEN_REVOKED"


# ------------------------------------------------------------------------------------------ event loops


async def ask(store: Any, token: Any, count: int) -> list[str]:
    revocations = revocations_of(store)

    async def one() -> str:
        try:
            await revocations.acheck(token)
        except AuthError as error:
            return error.reason
        return "active"

    try:
        return await asyncio.gather(*(one() for _ in range(count)))
    finally:
        await close_in_loop(store)


def test_event_loops_one_after_another_use_one_store(place: RedisPlace) -> None:
    store = place.store()
    store.create()
    revocations_of(store).revoke(TOKEN)
    for _ in range(3):
        assert asyncio.run(ask(store, TOKEN, 20)) == ["TOKEN_REVOKED"] * 20
        assert asyncio.run(ask(store, like(token_key="jti:other"), 20)) == ["active"] * 20


def test_requests_cancelled_in_the_midst_leave_no_reply_behind(place: RedisPlace) -> None:
    store = place.store()
    store.create()
    revoked, valid = tokens("revoked", 10), tokens("valid", 10)
    for token in revoked:
        revocations_of(store).revoke(token)

    async def verdict(token: Any) -> str:
        try:
            await revocations_of(store).acheck(token)
        except AuthError as error:
            return error.reason
        return "active"

    async def whole() -> list[str]:
        for round_number in range(40):
            tasks = [asyncio.create_task(verdict(token)) for pair in zip(revoked, valid, strict=True) for token in pair]
            for _ in range(round_number % 8):
                await asyncio.sleep(0)
            for task in tasks[round_number % 3 :: 3]:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            for number, answer in enumerate(answers):
                expected = "active" if number % 2 else "TOKEN_REVOKED"
                assert answer == expected or isinstance(answer, asyncio.CancelledError)
        last = [await verdict(token) for token in (*revoked, *valid)]
        await close_in_loop(store)
        return last

    assert asyncio.run(whole()) == ["TOKEN_REVOKED"] * 10 + ["active"] * 10


def connections(place: RedisPlace) -> int:
    return len(place.client.client_list())


def test_more_requests_at_once_than_connections_are_all_answered(place: RedisPlace) -> None:
    store = place.store()
    store.create()
    seen = asyncio.run(ask(store, TOKEN, 300))
    assert {answer: seen.count(answer) for answer in set(seen)} == {"active": 300}


def test_closing_gives_the_connections_back(place: RedisPlace) -> None:
    before = connections(place)
    store = place.store()
    store.create()
    store.check(TOKEN, NOW)
    assert connections(place) > before
    store.close()
    wait_until(lambda: connections(place) == before, "closed", 2.0)


def test_what_an_event_loop_opened_can_be_closed_in_it(place: RedisPlace) -> None:
    before = connections(place)
    store = place.store()

    async def whole() -> None:
        with_aclose: Any = store
        revocations = revocations_of(store)
        store.create()
        await revocations.acheck(TOKEN)
        try:
            aclose = with_aclose.aclose
        except AttributeError:
            await close_in_loop(store)
            raise
        await aclose()

    asyncio.run(whole())
    store.close()
    wait_until(lambda: connections(place) == before, "closed", 2.0)


def test_a_clock_far_ahead_does_not_empty_the_log_of_others(place: RedisPlace) -> None:
    store = place.store(log_seconds=3600.0)
    store.create()
    for number in range(300):  # more than the nodes that an approximate trimming leaves
        revocations_of(store, time.time).revoke_token(ISSUER, f"t-{number}", expires_at=time.time() + 600)
    mad = time.time() + 10 * 86_400.0
    store.record(Rule(KEY, mad, mad + 60), mad)
    length: Any = place.client.xlen(LOG)
    assert length == 301


def test_recording_again_what_is_known_does_not_make_the_log_grow(place: RedisPlace) -> None:
    store = place.store()
    store.create()
    for _ in range(50):
        store.record(Rule(KEY, NOW, NOW + 60), NOW)
    length: Any = place.client.xlen(LOG)
    assert length <= 2


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_evicts_rules_is_not_one_with_nothing_revoked(place: RedisPlace, policy: str) -> None:
    try:
        place.client.config_set("maxmemory-policy", policy)
        place.client.config_set("maxmemory", 6_000_000)
        store = place.store()
        try:
            store.create()
            revocations_of(store).revoke_subject(ISSUER, "alice")
            for number in range(4000):
                place.client.set(f"filler-{number}", b"x" * 2000, ex=10**7 + number)
                if number % 20 == 0:
                    place.client.get("{graphql-authkit}:epoch")  # it is in use: another key goes
                    if not place.client.exists(RULE):
                        break
            assert not place.client.exists(RULE), "it was not evicted"
            error = refused(revocations_of(store).check, TOKEN)
        except (AuthError, ConfigurationError):
            return  # said so
        assert error.status == 503
    finally:
        place.client.config_set("maxmemory", 0)
        place.client.config_set("maxmemory-policy", "noeviction")


def test_a_prefix_that_is_no_text_is_refused_while_building() -> None:
    for prefix in (b"bytes", "\ud800", 7):
        with pytest.raises(ConfigurationError):
            RedisRevocationStore(redis.Redis(), prefix=prefix)  # type: ignore[arg-type]
