"""The tables of the SQL stores, and every statement on them, each within a transaction of its caller's.

Three tables hold the list: the rules, by fingerprint, each with the number of the change that wrote it last;
one row with the epoch and the last number; and the numbers of late. Every writer takes that row first, so
numbers become visible in their order, and a follower that reads on from a number misses none. A follower
whose number is not among those of late has read what is here no more. Times are whole seconds. A fourth
table holds when sessions were seen.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any

from ..revocation import FINGERPRINT_BYTES
from .ledger import Entry
from .origin import NoEpoch, checked_entry

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.engine import Connection
except ImportError as error:
    raise ImportError("stores in a database need: pip install 'graphql-authkit[sql]'") from error

__all__ = [
    "SLACK",
    "epochs",
    "find",
    "has_tables",
    "mark",
    "metadata",
    "numbers",
    "purge_sessions",
    "read_changes",
    "read_epoch",
    "read_page",
    "read_session",
    "record",
    "rules",
    "sessions_table",
    "write_sessions",
]

SLACK = 3600  # seconds that a rule is kept beyond its end, since clocks differ
NUMBERS_KEPT = 600 * 1_000_000  # microseconds for which a follower may be away without reading all anew

_NO_EPOCH = "the tables have no epoch: they lost their data, or create() was never called"

metadata = sa.MetaData()
"""The tables, for Alembic or `metadata.create_all(engine)`."""

rules = sa.Table(
    "graphql_authkit_revocations",
    metadata,
    sa.Column("fingerprint", sa.LargeBinary(FINGERPRINT_BYTES), primary_key=True),
    sa.Column("not_before", sa.BigInteger, nullable=True),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("change", sa.BigInteger, nullable=False, index=True),
)
epochs = sa.Table(
    "graphql_authkit_revocation_epoch",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.String(32), nullable=False),
    sa.Column("change", sa.BigInteger, nullable=False),
)

numbers = sa.Table(
    "graphql_authkit_revocation_numbers",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
)

sessions_table = sa.Table(
    "graphql_authkit_sessions",
    metadata,
    sa.Column("fingerprint", sa.LargeBinary(FINGERPRINT_BYTES), primary_key=True),
    sa.Column("first", sa.Float(53), nullable=False),
    sa.Column("last", sa.Float(53), nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
)


def mark(connection: Connection, epoch: str | None = None) -> bool:
    """Make what is missing, and begin an epoch if there is none; whether it did."""
    if connection.dialect.name == "sqlite":
        with contextlib.suppress(sa.exc.OperationalError):  # within a transaction of an asynchronous driver
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    metadata.create_all(connection)
    _lock_epoch(connection)
    if connection.execute(sa.select(epochs.c.epoch)).first() is not None:
        return False
    first = max(int(time.time() * 1_000_000), _last_number(connection) + 1)
    connection.execute(sa.insert(epochs).values(id=1, epoch=epoch or secrets.token_hex(16), change=first))
    connection.execute(sa.insert(numbers).values(number=first))
    return True


def record(connection: Connection, entries: list[Entry], purge: float | None, *, needs_epoch: bool = True) -> None:
    """Merge rules, and delete what ended before `purge`, if given."""
    number = _take_numbers(connection, len(entries), needs_epoch=needs_epoch)
    connection.execute(sa.insert(numbers), [{"number": number + 1 + step} for step in range(len(entries))])
    for name, not_before, expires_at in entries:
        number += 1
        _merge(connection, name, None if not_before is None else int(not_before), math.ceil(expires_at), number)
    if purge is not None:
        connection.execute(sa.delete(rules).where(rules.c.expires_at < int(purge) - SLACK))
        old = sa.select(sa.func.max(numbers.c.number)).where(numbers.c.number < number - NUMBERS_KEPT)
        connection.execute(sa.delete(numbers).where(numbers.c.number < old.scalar_subquery()))


def _take_numbers(connection: Connection, count: int, *, needs_epoch: bool) -> int:
    """The number before the first of `count` that are ours now. No other writer goes on until we commit.

    They follow the clock, in microseconds, where it is ahead: in a database that was set back to a backup
    they so begin beyond what followers read before.
    """
    by_clock = int(time.time() * 1_000_000)
    following = epochs.c.change + count
    following = sa.case((following > by_clock, following), else_=by_clock)
    if not needs_epoch:
        _lock_epoch(connection)
    if connection.execute(sa.update(epochs).values(change=following)).rowcount == 1:
        return int(connection.scalar(sa.select(epochs.c.change)) or 0) - count
    if needs_epoch:
        raise NoEpoch(_NO_EPOCH)
    return max(by_clock, _last_number(connection))


def _last_number(connection: Connection) -> int:
    """Where the epoch does not tell."""
    columns = rules.c.change, numbers.c.number
    return max(int(connection.scalar(sa.select(sa.func.max(column))) or 0) for column in columns)


def _merge(connection: Connection, name: bytes, not_before: int | None, expires_at: int, change: int) -> None:
    this = rules.c.fingerprint == name
    old = connection.execute(sa.select(rules.c.not_before, rules.c.expires_at).where(this)).first()
    if old is None:
        values = {"fingerprint": name, "not_before": not_before, "expires_at": expires_at, "change": change}
        connection.execute(sa.insert(rules).values(values))
        return
    before = None if not_before is None or old[0] is None else max(not_before, old[0])
    merged = {"not_before": before, "expires_at": max(expires_at, old[1]), "change": change}
    connection.execute(sa.update(rules).where(this).values(merged))


def find(connection: Connection, keys: Iterable[bytes]) -> list[Entry]:
    """The rules of these keys."""
    query = (
        sa.select(epochs.c.epoch, rules.c.fingerprint, rules.c.not_before, rules.c.expires_at)
        .select_from(epochs)
        .outerjoin(rules, rules.c.fingerprint.in_(list(keys)))
    )
    rows = connection.execute(query).all()
    if not rows:
        raise NoEpoch(_NO_EPOCH)
    return [checked_entry(*row[1:]) for row in rows if row[1] is not None]


def read_epoch(connection: Connection) -> tuple[str, int]:
    """Epoch and last number."""
    row = connection.execute(sa.select(epochs.c.epoch, epochs.c.change)).first()
    if row is None:
        raise NoEpoch(_NO_EPOCH)
    return str(row[0]), int(row[1])


def read_page(connection: Connection, *, after: bytes, least: int, limit: int) -> Sequence[Any]:
    """The rules that end after `least`, in the order of their fingerprints, some at a time."""
    query = (
        sa.select(rules.c.fingerprint, rules.c.not_before, rules.c.expires_at)
        .where(rules.c.expires_at > least, rules.c.fingerprint > after)
        .order_by(rules.c.fingerprint)
        .limit(limit)
    )
    return connection.execute(query).all()


def read_changes(connection: Connection, position: int, limit: int) -> tuple[str, Sequence[Any]]:
    """Epoch, and what has a later number than the position.

    Raises:
        LookupError: The position is not among the numbers of late.
        NoEpoch: There is none.
    """
    row = connection.execute(
        sa.select(epochs.c.epoch, numbers.c.number).outerjoin_from(epochs, numbers, numbers.c.number == position)
    ).first()
    if row is None:
        raise NoEpoch(_NO_EPOCH)
    if row[1] is None:
        raise LookupError("what was read last is not in the database: it was restored, or that is long ago")
    query = (
        sa.select(rules.c.fingerprint, rules.c.not_before, rules.c.expires_at, rules.c.change)
        .where(rules.c.change > position)
        .order_by(rules.c.change)
        .limit(limit)
    )
    return str(row[0]), connection.execute(query).all()


def has_tables(connection: Connection) -> bool:
    """Whether anything was ever set up here."""
    return sa.inspect(connection).has_table(epochs.name)


def _lock_epoch(connection: Connection) -> None:
    """Where there is no row to lock, the table is: numbers must become visible in their order."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE {epochs.name} IN SHARE ROW EXCLUSIVE MODE")


# ---------------------------------------------------------------------- records of sessions, for `activity`


def read_session(connection: Connection, name: bytes, now: float) -> tuple[float, float] | None:
    """First and last of the record, if it has not expired."""
    table = sessions_table
    query = sa.select(table.c.first, table.c.last).where(table.c.fingerprint == name, table.c.expires_at > now)
    row = connection.execute(query).first()
    return None if row is None else (float(row[0]), float(row[1]))


def write_sessions(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Merge records: of one that is new to two writers at once, neither must fail."""
    inserts: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
    insert = inserts.get(connection.dialect.name)
    if insert is None:
        for row in rows:
            _write_session(connection, row)
        return
    statement, old = insert(sessions_table), sessions_table.c
    new = statement.excluded
    merged = {
        "first": sa.case((old.first < new.first, old.first), else_=new.first),
        "last": sa.case((old.last > new.last, old.last), else_=new.last),
        "expires_at": new.expires_at,
    }
    connection.execute(statement.on_conflict_do_update(index_elements=[old.fingerprint], set_=merged), rows)


def _write_session(connection: Connection, row: dict[str, Any]) -> None:
    """In a database whose words for it are not known here."""
    table, this = sessions_table, sessions_table.c.fingerprint == row["fingerprint"]
    first = sa.case((table.c.first < row["first"], table.c.first), else_=row["first"])
    last = sa.case((table.c.last > row["last"], table.c.last), else_=row["last"])
    values = {"first": first, "last": last, "expires_at": row["expires_at"]}
    if connection.execute(sa.update(table).where(this).values(values)).rowcount == 0:
        connection.execute(sa.insert(table).values(row))


def purge_sessions(connection: Connection, now: float) -> None:
    """Forget the records that have expired."""
    connection.execute(sa.delete(sessions_table).where(sessions_table.c.expires_at < now))
