"""Databases that are set back to a backup: what followers knew is noticed to be missing, and written again."""

from __future__ import annotations

import time
from typing import Any

import pytest
import sqlalchemy as sa

from graphql_authkit.stores import sql, tables
from tests.stores.contract import TOKEN
from tests.stores.load import tokens
from tests.stores.origins import HeldOrigin, SQLPlace, is_revoked, passed, replica_of, revocations_of
from tests.stores.proxy import wait_until

LATE, VALID = tokens("late"), tokens("valid")


def test_a_backup_that_is_restored_and_written_to_is_given_what_it_lacks(place: Any) -> None:
    origin = place.store()
    origin.create()
    held = HeldOrigin(place.store())
    with replica_of(held) as replica:
        wait_until(replica.ready, "ready")
        place.save()
        revocations_of(origin).revoke(TOKEN)
        wait_until(lambda: is_revoked(replica, TOKEN), "followed")
        held.hold()
        wait_until(passed(0.05), "the poll under way ends")
        place.restore()
        for token in LATE:
            revocations_of(origin).revoke(token)  # beyond where the replica was
        assert is_revoked(origin, TOKEN) is False
        held.let_go()
        wait_until(lambda: is_revoked(replica, LATE[0]), "it follows")
        wait_until(lambda: is_revoked(origin, TOKEN), "written again", 3.0)
        assert is_revoked(replica, TOKEN) is True
        with replica_of(place.store()) as new:
            wait_until(new.ready, "ready")
            assert [is_revoked(new, token) for token in (TOKEN, *LATE, VALID[0])] == [True] * 6 + [False]


def test_every_follower_of_a_restored_backup_notices(sql_place: SQLPlace) -> None:
    """Each lacks nothing that the others knew: one may have read what another had not yet."""
    origin = sql_place.store()
    origin.create()
    held = [HeldOrigin(sql_place.store()), HeldOrigin(sql_place.store())]
    with replica_of(held[0]) as one, replica_of(held[1]) as other:
        wait_until(lambda: one.ready() and other.ready(), "ready")
        sql_place.save()
        revocations_of(origin).revoke(LATE[0])
        wait_until(lambda: is_revoked(one, LATE[0]) and is_revoked(other, LATE[0]), "both followed")
        held[0].hold()
        wait_until(passed(0.05), "the poll under way ends")
        revocations_of(origin).revoke(LATE[1])
        wait_until(lambda: is_revoked(other, LATE[1]), "only the other followed")
        held[1].hold()
        wait_until(passed(0.05), "the poll under way ends")
        sql_place.restore()
        revocations_of(origin).revoke(LATE[2])
        for each in held:
            each.let_go()
        wait_until(lambda: all(is_revoked(r, t) for r in (one, other, origin) for t in LATE[:3]), "the union", 3.0)


def test_after_a_long_quiet_a_follower_reads_on_where_it_was(
    sql_place: SQLPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "NUMBERS_KEPT", 50_000)
    monkeypatch.setattr(sql, "PURGE", 0.0)
    origin = sql_place.store()
    origin.create()
    held = HeldOrigin(sql_place.store())
    with replica_of(held) as replica:
        wait_until(replica.ready, "ready")
        for token in LATE:
            held.hold()
            wait_until(passed(0.1), "longer than numbers are kept")
            revocations_of(origin).revoke(token)
            held.let_go()
            wait_until(lambda token=token: is_revoked(replica, token), "followed")  # type: ignore[misc]
        assert (held.snapshots, replica.health().last_error) == (1, None)
    with sql_place.engine.connect() as connection:
        assert len(connection.execute(sa.select(tables.numbers)).all()) <= 2


def test_a_follower_that_was_away_for_longer_than_numbers_are_kept_reads_all_anew(
    sql_place: SQLPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "NUMBERS_KEPT", 50_000)
    monkeypatch.setattr(sql, "PURGE", 0.0)
    origin = sql_place.store()
    origin.create()
    held = HeldOrigin(sql_place.store())
    with replica_of(held) as replica:
        wait_until(replica.ready, "ready")
        held.hold()
        for token in LATE:
            time.sleep(0.06)
            revocations_of(origin).revoke(token)
        held.let_go()
        wait_until(lambda: all(is_revoked(replica, token) for token in LATE), "all are known")
        assert held.snapshots >= 2
