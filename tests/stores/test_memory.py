"""The memory store keeps the contract, and has bounds of its own."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from graphql_authkit import ConfigurationError, MemoryRevocationStore, Revocations
from graphql_authkit.errors import StoreUnavailable
from graphql_authkit.revocation import Revocable, RevocationKey, RevocationStore, Rule, Verdict, keys_of
from tests.stores.contract import LATER, TOKEN, StoreContract, like
from tests.support import ISSUER, NOW, Clock, refused


class TestMemory(StoreContract):
    def make_store(self) -> RevocationStore:
        return MemoryRevocationStore()


class SyncOrigin:
    """A memory store that is asked as a remote one is: only `check` can say."""

    def __init__(self) -> None:
        self.store = MemoryRevocationStore()

    def record(self, rule: Rule, now: float) -> None:
        self.store.record(rule, now)

    def check(self, token: Revocable, now: float) -> Verdict:
        return self.store.check(token, now)

    def local_check(self, token: Revocable, now: float) -> Verdict | None:
        return None


class TestSyncOrigin(StoreContract):
    def make_store(self) -> RevocationStore:
        return SyncOrigin()


def test_expired_rules_are_forgotten_as_others_come(clock: Clock) -> None:
    store = MemoryRevocationStore()
    revocations = Revocations(store, clock=clock)
    for number in range(100):
        revocations.revoke_token(ISSUER, f"t-{number}", expires_at=NOW + number * 60)
    clock.now = NOW + 50 * 60 + 60  # the leeway
    revocations.revoke_token(ISSUER, "last", expires_at=NOW + LATER)
    assert len(store) == 50


def test_a_full_store_says_so_and_forgets_nothing(clock: Clock) -> None:
    store = MemoryRevocationStore(max_entries=2)
    revocations = Revocations(store, clock=clock)
    revocations.revoke_token(ISSUER, "t-1", expires_at=NOW + 300)
    revocations.revoke_token(ISSUER, "t-2", expires_at=NOW + 400)
    assert type(refused(lambda: revocations.revoke_token(ISSUER, "t-3", expires_at=NOW + 300))) is StoreUnavailable
    assert refused(lambda: revocations.check(TOKEN)).reason == "TOKEN_REVOKED"
    revocations.revoke_token(ISSUER, "t-2", expires_at=NOW + 400)  # known already: there is room
    clock.now = NOW + 360
    revocations.revoke_token(ISSUER, "t-3", expires_at=NOW + 900)  # t-1 has gone
    assert len(store) == 2


def test_a_longer_life_outlives_the_shorter_one_it_replaces(clock: Clock) -> None:
    store = MemoryRevocationStore()
    revocations = Revocations(store, clock=clock)
    revocations.revoke_token(ISSUER, "t-1", expires_at=NOW + 1)
    revocations.revoke_token(ISSUER, "t-1", expires_at=NOW + 500)
    clock.now = NOW + 100
    revocations.revoke_all(before=NOW - 5000)
    assert len(store) == 2


def test_a_tokens_own_rule_is_stricter_than_any_date() -> None:
    store = MemoryRevocationStore()
    Revocations(store, clock=Clock()).revoke(TOKEN)
    store.record(Rule(keys_of(TOKEN)[0], NOW - 1000, NOW + 600), NOW)
    assert [not_before for _, not_before, _ in store._ledger.entries(NOW)] == [None]


def test_threads_that_write_at_once_lose_nothing() -> None:
    store = MemoryRevocationStore()
    revocations = Revocations(store, clock=Clock(), on_event=lambda _event: None)

    def write(worker: int) -> None:
        for number in range(200):
            revocations.revoke_subject(ISSUER, f"{worker}-{number}")

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store) == 1600
    assert refused(lambda: revocations.check(like(subject="7-199"))).reason == "TOKEN_REVOKED"


@pytest.mark.parametrize("max_entries", [0, -1, True, 1.5, None])
def test_a_store_without_room_is_refused_while_building(max_entries: Any) -> None:
    with pytest.raises(ConfigurationError):
        MemoryRevocationStore(max_entries=max_entries)


def test_a_rule_that_has_expired_is_not_held_against_a_token(clock: Clock) -> None:
    store = MemoryRevocationStore()
    store.record(Rule(RevocationKey("subject", ISSUER, "alice"), NOW, NOW + 10), NOW)
    revocations = Revocations(store, clock=clock)
    clock.now = NOW + 59.9  # an expiry is rounded up to the minute
    assert refused(revocations.check, TOKEN).reason == "TOKEN_REVOKED"
    clock.now = NOW + 60
    assert revocations.check(TOKEN).token is TOKEN


def test_renewing_one_rule_for_ever_takes_no_more_room(clock: Clock) -> None:
    store = MemoryRevocationStore(max_entries=1)
    revocations = Revocations(store, clock=clock, on_event=lambda _event: None)
    for number in range(1000):
        clock.now = NOW + number
        revocations.revoke_subject(ISSUER, "alice")
    assert (len(store), store._ledger._written < 70) == (1, True)


def test_a_rule_that_lives_longer_is_forgotten_in_the_end(clock: Clock) -> None:
    store = MemoryRevocationStore()
    for expires in (10, 500):
        store.record(Rule(RevocationKey("token", ISSUER, "jti:t"), None, NOW + expires), NOW)
    store.record(Rule(RevocationKey("all"), NOW, NOW + 9000), NOW + 600)
    assert len(store) == 1
