"""Revocations in a database by SQLAlchemy: PostgreSQL, or a SQLite file that processes share. Needs [sql].

Two tables: the rules, by fingerprint, each with the number of the change that wrote it last, and one row
with the epoch and the last number. Every writer takes that row first, so numbers become visible in their
order, and a follower that reads on from a number misses none. Times are whole seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from ..errors import ConfigurationError
from ..revocation import FINGERPRINT_BYTES, Revocable, Rule, Verdict, fingerprint
from .ledger import Entry
from .origin import Bounded, Breaker, NoEpoch, Snapshot, checked_entry, judge_found, looked_up

try:
    import sqlalchemy as sa
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine
except ImportError as error:
    raise ImportError("SQLRevocationStore needs: pip install 'graphql-authkit[sql]'") from error

__all__ = ["SQLRevocationStore", "metadata", "purge_sessions", "read_session", "sessions_table", "write_session"]

T = TypeVar("T")

CHUNK = 10_000
PURGE = 60.0  # seconds between deletions of what has expired
POLL = 0.05  # seconds between looks for something new
SLACK = 3600  # seconds that a rule is kept beyond its end, since clocks differ

_NO_EPOCH = "the tables have no epoch: they lost their data, or create() was never called"

metadata = sa.MetaData()
"""The tables, for Alembic or `metadata.create_all(engine)`."""

_rules = sa.Table(
    "graphql_authkit_revocations",
    metadata,
    sa.Column("fingerprint", sa.LargeBinary(FINGERPRINT_BYTES), primary_key=True),
    sa.Column("not_before", sa.BigInteger, nullable=True),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("change", sa.BigInteger, nullable=False, index=True),
)
_epochs = sa.Table(
    "graphql_authkit_revocation_epoch",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.String(32), nullable=False),
    sa.Column("change", sa.BigInteger, nullable=False),
)

sessions_table = sa.Table(
    "graphql_authkit_sessions",
    metadata,
    sa.Column("fingerprint", sa.LargeBinary(FINGERPRINT_BYTES), primary_key=True),
    sa.Column("first", sa.Float(53), nullable=False),
    sa.Column("last", sa.Float(53), nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
)


class SQLRevocationStore:
    """Rules in a database. Alone, it is asked once for each request; under a ReplicatedRevocationStore, never.

    Before its first use `create()` must have been called once, by whoever sets the system up: tables
    without the row that it writes have lost their data, and every answer is then StoreUnavailable.

    Args:
        engine: A SQLAlchemy Engine, or an AsyncEngine: then only asyncio can use the store, and a
            replica needs `feed_engine` besides. A SQLite file is put into WAL mode by `create()`.
        deadline: Seconds for each exchange.
        feed_engine: A synchronous engine of the same database, for followers.

    Raises:
        ConfigurationError: Not an engine, or a SQLite database in memory, which nobody could share.
    """

    def __init__(
        self, engine: Engine | AsyncEngine, *, deadline: float = 0.25, feed_engine: Engine | None = None
    ) -> None:
        if not isinstance(engine, Engine | AsyncEngine):
            raise ConfigurationError(f"engine= takes a SQLAlchemy engine, not a {type(engine).__name__}")
        if not 0 < deadline < math.inf:
            raise ConfigurationError("deadline must be a positive number of seconds")
        if engine.dialect.name == "sqlite" and engine.url.database in (None, "", ":memory:"):
            raise ConfigurationError("a SQLite database in memory is no shared one: MemoryRevocationStore is for that")
        self._engine = engine
        self._deadline = deadline
        self._feed_engine = engine if isinstance(engine, Engine) else feed_engine
        self._bounded = Bounded("graphql-authkit-sql", deadline)
        self._breaker = Breaker()
        self._purged_at = -math.inf
        self._purge_lock = threading.Lock()

    @property
    def is_async_only(self) -> bool:
        """Whether only asyncio can use it."""
        return isinstance(self._engine, AsyncEngine)

    def create(self) -> bool:
        """Make the tables where they are missing, and mark them as holding the list from now on.

        Returns:
            False if they were marked already.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        return _create(self._sync_engine().begin)

    async def acreate(self) -> bool:
        """`create` on asyncio."""
        if isinstance(self._engine, Engine):
            return await asyncio.to_thread(self.create)
        async with self._engine.begin() as connection:
            return await connection.run_sync(_mark)

    def record(self, rule: Rule, now: float) -> None:
        """Keep a rule; see RevocationStore."""
        entry, purges = _entry(rule), self._is_purge_due(now)
        self._exchange(lambda connection: _record(connection, [entry], now if purges else None))

    async def arecord(self, rule: Rule, now: float) -> None:
        """`record` on asyncio."""
        entry, purges = _entry(rule), self._is_purge_due(now)
        await self._aexchange(lambda connection: _record(connection, [entry], now if purges else None))

    def check(self, token: Revocable, now: float) -> Verdict:
        """The verdict on a token, in one query."""
        keys = looked_up(token)
        return judge_found(token, keys, self._exchange(lambda connection: _find(connection, keys)), now)

    async def acheck(self, token: Revocable, now: float) -> Verdict:
        """`check` on asyncio."""
        keys = looked_up(token)
        return judge_found(token, keys, await self._aexchange(lambda connection: _find(connection, keys)), now)

    def local_check(self, token: Revocable, now: float) -> None:
        """None: only the database can say."""

    def open_feed(self, timeout: float) -> SQLFeed:
        """A follower; see `origin`."""
        if self._feed_engine is None:
            raise ConfigurationError("a replica of a store with an AsyncEngine needs feed_engine=")
        return SQLFeed(self._feed_engine, timeout)

    def close(self) -> None:
        """End the threads; the engine is yours."""
        self._bounded.close()

    def _sync_engine(self) -> Engine:
        if not isinstance(self._engine, Engine):
            raise ConfigurationError("the store has an AsyncEngine: await the a-twin instead")
        return self._engine

    def _exchange(self, work: Callable[[Connection], T]) -> T:
        engine = self._sync_engine()

        def whole() -> T:
            with engine.begin() as connection:
                return work(connection)

        with self._counted():
            return self._bounded(whole)

    async def _aexchange(self, work: Callable[[Connection], T]) -> T:
        engine = self._engine
        if isinstance(engine, Engine):
            return await asyncio.to_thread(self._exchange, work)
        with self._counted():
            async with asyncio.timeout(self._deadline), engine.begin() as connection:
                return await connection.run_sync(work)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._breaker.enter()
        try:
            yield
        except Exception:
            self._breaker.failed()
            raise
        self._breaker.succeeded()

    def _is_purge_due(self, now: float) -> bool:
        with self._purge_lock:
            if now < self._purged_at + PURGE:
                return False
            self._purged_at = now
            return True


class SQLFeed:
    """One follower; see `origin.Feed`."""

    def __init__(self, engine: Engine, timeout: float) -> None:
        self._engine = engine
        self._bounded = Bounded("graphql-authkit-sql-feed", timeout, workers=2)
        self._is_closed = False

    def snapshot(self) -> Snapshot:
        """Read every rule that lives."""
        epoch, change = self._exchange(_read_epoch)
        return Snapshot(epoch, str(change), self._entries())

    def _entries(self) -> Iterator[Entry]:
        after = b""
        least = int(time.time()) - SLACK
        while True:
            query = (
                sa.select(_rules.c.fingerprint, _rules.c.not_before, _rules.c.expires_at)
                .where(_rules.c.expires_at > least, _rules.c.fingerprint > after)
                .order_by(_rules.c.fingerprint)
                .limit(CHUNK)
            )
            rows = self._exchange(lambda connection, query=query: connection.execute(query).all())  # type: ignore[misc]
            yield from (checked_entry(*row) for row in rows)
            if len(rows) < CHUNK:
                return
            after = bytes(rows[-1][0])

    def poll(self, position: str, wait: float) -> tuple[str, str, Sequence[Entry]]:
        """What changed after a position."""
        until = time.monotonic() + wait
        while True:
            epoch, change, rows = self._exchange(lambda connection: _read_changes(connection, int(position)))
            if change < int(position):
                raise LookupError("the table ends before what was read of it")
            if rows or self._is_closed or time.monotonic() >= until:
                break
            time.sleep(POLL)
        last = int(rows[-1][3]) if rows else int(position)
        return epoch, str(last), [checked_entry(*row[:3]) for row in rows]

    def push(self, entries: Iterable[Entry]) -> None:
        """Merge rules into the database, whether or not it has an epoch."""
        batch: list[Entry] = []
        for entry in entries:
            batch.append(entry)
            if len(batch) == 500:
                self._push(batch)
                batch = []
        if batch:
            self._push(batch)

    def _push(self, batch: list[Entry]) -> None:
        entries = list(batch)
        self._exchange(lambda connection: _record(connection, entries, None, needs_epoch=False))

    def claim(self, epoch: str) -> bool:
        """Give a database that has no epoch this one."""
        return self._exchange(lambda connection: _mark(connection, epoch))

    def close(self) -> None:
        """End the threads that are not busy, and the waiting."""
        self._is_closed = True
        self._bounded.close()

    def _exchange(self, work: Callable[[Connection], T]) -> T:
        def whole() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        return self._bounded(whole)


def from_url(url: str) -> Engine:
    """An engine for a URL; a wrong one is a ConfigurationError that does not show it."""
    try:
        return sa.create_engine(url)
    except (sa.exc.ArgumentError, ImportError) as error:
        raise ConfigurationError(f"not the URL of a database that can be opened: {type(error).__name__}") from None


def _create(begin: Callable[[], Any]) -> bool:
    with begin() as connection:
        return _mark(connection)


def _mark(connection: Connection, epoch: str | None = None) -> bool:
    if connection.dialect.name == "sqlite":
        with contextlib.suppress(sa.exc.OperationalError):  # within a transaction of an asynchronous driver
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    metadata.create_all(connection)
    if connection.execute(sa.select(_epochs.c.epoch)).first() is not None:
        return False
    last = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(_rules.c.change), 0)))
    connection.execute(sa.insert(_epochs).values(id=1, epoch=epoch or secrets.token_hex(16), change=last or 0))
    return True


def _record(connection: Connection, entries: list[Entry], purge: float | None, *, needs_epoch: bool = True) -> None:
    number = _take_numbers(connection, len(entries), needs_epoch=needs_epoch)
    for name, not_before, expires_at in entries:
        number += 1
        _merge(connection, name, None if not_before is None else int(not_before), math.ceil(expires_at), number)
    if purge is not None:
        connection.execute(sa.delete(_rules).where(_rules.c.expires_at < int(purge) - SLACK))


def _take_numbers(connection: Connection, count: int, *, needs_epoch: bool) -> int:
    """The number before the first of `count` that are ours now. No other writer goes on until we commit.

    They follow the clock, in microseconds, where it is ahead: in a database that was set back to a backup
    they so begin beyond what followers read before.
    """
    by_clock = int(time.time() * 1_000_000)
    following = _epochs.c.change + count
    following = sa.case((following > by_clock, following), else_=by_clock)
    if connection.execute(sa.update(_epochs).values(change=following)).rowcount == 1:
        return int(connection.scalar(sa.select(_epochs.c.change)) or 0) - count
    if needs_epoch:
        raise NoEpoch(_NO_EPOCH)
    return max(by_clock, int(connection.scalar(sa.select(sa.func.max(_rules.c.change))) or 0))


def _merge(connection: Connection, name: bytes, not_before: int | None, expires_at: int, change: int) -> None:
    this = _rules.c.fingerprint == name
    old = connection.execute(sa.select(_rules.c.not_before, _rules.c.expires_at).where(this)).first()
    if old is None:
        values = {"fingerprint": name, "not_before": not_before, "expires_at": expires_at, "change": change}
        connection.execute(sa.insert(_rules).values(values))
        return
    before = None if not_before is None or old[0] is None else max(not_before, old[0])
    merged = {"not_before": before, "expires_at": max(expires_at, old[1]), "change": change}
    connection.execute(sa.update(_rules).where(this).values(merged))


def _find(connection: Connection, keys: Iterable[bytes]) -> list[Entry]:
    query = (
        sa.select(_epochs.c.epoch, _rules.c.fingerprint, _rules.c.not_before, _rules.c.expires_at)
        .select_from(_epochs)
        .outerjoin(_rules, _rules.c.fingerprint.in_(list(keys)))
    )
    rows = connection.execute(query).all()
    if not rows:
        raise NoEpoch(_NO_EPOCH)
    return [checked_entry(*row[1:]) for row in rows if row[1] is not None]


def _read_epoch(connection: Connection) -> tuple[str, int]:
    row = connection.execute(sa.select(_epochs.c.epoch, _epochs.c.change)).first()
    if row is None:
        raise NoEpoch(_NO_EPOCH)
    return str(row[0]), int(row[1])


def _read_changes(connection: Connection, position: int) -> tuple[str, int, Sequence[Any]]:
    epoch, change = _read_epoch(connection)
    query = (
        sa.select(_rules.c.fingerprint, _rules.c.not_before, _rules.c.expires_at, _rules.c.change)
        .where(_rules.c.change > position)
        .order_by(_rules.c.change)
        .limit(CHUNK)
    )
    return epoch, change, connection.execute(query).all()


def _entry(rule: Rule) -> Entry:
    return fingerprint(rule.key), rule.not_before, rule.expires_at


# ---------------------------------------------------------------------- records of sessions, for `activity`


def read_session(connection: Connection, name: bytes, now: float) -> tuple[float, float] | None:
    """First and last of the record, if it has not expired."""
    table = sessions_table
    query = sa.select(table.c.first, table.c.last).where(table.c.fingerprint == name, table.c.expires_at > now)
    row = connection.execute(query).first()
    return None if row is None else (float(row[0]), float(row[1]))


def write_session(connection: Connection, name: bytes, seen: tuple[float, float], expires_at: float) -> None:
    """Merge a record."""
    table, this = sessions_table, sessions_table.c.fingerprint == name
    first = sa.case((table.c.first < seen[0], table.c.first), else_=seen[0])
    last = sa.case((table.c.last > seen[1], table.c.last), else_=seen[1])
    values = {"first": first, "last": last, "expires_at": math.ceil(expires_at)}
    if connection.execute(sa.update(table).where(this).values(values)).rowcount == 0:
        values = {"fingerprint": name, "first": seen[0], "last": seen[1], "expires_at": math.ceil(expires_at)}
        connection.execute(sa.insert(table).values(values))


def purge_sessions(connection: Connection, now: float) -> None:
    """Forget the records that have expired."""
    connection.execute(sa.delete(sessions_table).where(sessions_table.c.expires_at < now))
