"""Revocations in a database by SQLAlchemy: PostgreSQL, or a SQLite file that processes share. Needs [sql].

When is asked what, by whom, and for how long anyone waits; the statements are in `tables`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ..errors import ConfigurationError, StoreUnavailable
from ..revocation import Revocable, Rule, Verdict, fingerprint
from . import tables
from .bounded import Bounded
from .ledger import Entry
from .origin import (
    Breaker,
    News,
    NoEpoch,
    Snapshot,
    as_unavailable,
    checked_entry,
    judge_found,
    looked_up,
)

try:
    import sqlalchemy as sa
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine
except ImportError as error:
    raise ImportError("SQLRevocationStore needs: pip install 'graphql-authkit[sql]'") from error

from .transaction import AsyncTransaction, patient, transaction

__all__ = ["SQLRevocationStore", "metadata"]

T = TypeVar("T")

metadata = tables.metadata
"""The tables, for Alembic or `metadata.create_all(engine)`."""

CHUNK = 10_000
PURGE = 60.0  # seconds between deletions of what has expired
POLL = 0.05  # seconds between looks for something new
SETTING_UP = 10.0  # seconds that the making of tables may take
WRITERS = 4  # at a time: databases let them take turns, and each of them keeps a connection from readers


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
        self._engine: Engine | AsyncEngine = _read_committed(engine)
        self._deadline = deadline
        self._feed_engine = engine if isinstance(engine, Engine) else feed_engine
        # Writers wait for each other; readers must not wait for them.
        self._reads = Bounded("graphql-authkit-sql", deadline)
        self._writes = Bounded("graphql-authkit-sql", deadline, workers=WRITERS, most_lost=WRITERS)
        self._of_reads, self._of_writes = Breaker(), Breaker()
        self._given_up: set[asyncio.Future[Any]] = set()  # held, lest they be collected while they run
        self._turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
        self._turns = weakref.WeakKeyDictionary()
        _stores.add(self)
        self._purged_at = -math.inf
        self._purge_lock = threading.Lock()

    @property
    def is_async_only(self) -> bool:
        """Whether only asyncio can use it."""
        return isinstance(self._engine, AsyncEngine)

    @property
    def is_followable(self) -> bool:
        """Whether a replica can follow it: that takes a synchronous engine."""
        return self._feed_engine is not None

    def create(self) -> bool:
        """Make the tables where they are missing, and mark them as holding the list from now on.

        Returns:
            False if they were marked already.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        engine = self._sync_engine()
        for pause in (0.05, 0.2, 0.5, None):
            try:
                return self._writes(transaction(engine, patient(tables.mark, SETTING_UP), SETTING_UP), SETTING_UP)
            except Exception as error:  # another may be creating too, and databases say so in many ways
                if pause is None:
                    raise as_unavailable(error) from error
                time.sleep(pause)
        raise StoreUnavailable("the tables cannot be made")

    async def acreate(self) -> bool:
        """`create` on asyncio."""
        if isinstance(self._engine, Engine):
            return await asyncio.to_thread(self.create)
        try:
            return await self._within(self._engine, patient(tables.mark, SETTING_UP), SETTING_UP)
        except Exception as error:
            raise as_unavailable(error) from error

    def record(self, rule: Rule, now: float) -> None:
        """Keep a rule; see RevocationStore."""
        entry, purges = _entry(rule), self._is_purge_due(now)
        self._exchange(lambda connection: tables.record(connection, [entry], now if purges else None), writes=True)

    async def arecord(self, rule: Rule, now: float) -> None:
        """`record` on asyncio."""
        entry, purges = _entry(rule), self._is_purge_due(now)
        await self._aexchange(
            lambda connection: tables.record(connection, [entry], now if purges else None), writes=True
        )

    def check(self, token: Revocable, now: float) -> Verdict:
        """The verdict on a token, in one query."""
        keys = looked_up(token)
        return judge_found(token, keys, self._exchange(lambda connection: tables.find(connection, keys)), now)

    async def acheck(self, token: Revocable, now: float) -> Verdict:
        """`check` on asyncio."""
        keys = looked_up(token)
        return judge_found(token, keys, await self._aexchange(lambda connection: tables.find(connection, keys)), now)

    def local_check(self, token: Revocable, now: float) -> None:
        """None: only the database can say."""

    def open_feed(self, timeout: float) -> SQLFeed:
        """A follower; see `origin`."""
        if self._feed_engine is None:
            raise ConfigurationError("a replica of a store with an AsyncEngine needs feed_engine=")
        return SQLFeed(self._feed_engine, timeout)

    def close(self) -> None:
        """End the threads; the engine is yours."""
        self._reads.close()
        self._writes.close()

    def _sync_engine(self) -> Engine:
        if not isinstance(self._engine, Engine):
            raise ConfigurationError("the store has an AsyncEngine: await the a-twin instead")
        return self._engine

    def _exchange(self, work: Callable[[Connection], T], *, writes: bool = False) -> T:
        whole = transaction(self._sync_engine(), self._patient(work, writes), self._deadline)
        with self._counted(writes):
            return (self._writes if writes else self._reads)(whole)

    async def _aexchange(self, work: Callable[[Connection], T], *, writes: bool = False) -> T:
        engine = self._engine
        if isinstance(engine, Engine):
            return await asyncio.to_thread(self._exchange, work, writes=writes)
        with self._counted(writes):
            turns = self._writers() if writes else None
            return await self._within(engine, self._patient(work, writes), self._deadline, turns)

    def _patient(self, work: Callable[[Connection], T], writes: bool) -> Callable[[Connection], T]:
        """Readers wait for nobody, but where a table is locked as a whole; then they too must not pile up."""
        return patient(work, self._deadline) if writes or self._of_reads.is_wary else work

    async def _within(
        self,
        engine: AsyncEngine,
        work: Callable[[Connection], T],
        deadline: float,
        turns: asyncio.Semaphore | None = None,
    ) -> T:
        whole = AsyncTransaction(engine, work)

        async def in_turn() -> Any:
            async with turns or contextlib.nullcontext():
                return await whole.run()

        task = asyncio.ensure_future(in_turn())
        self._given_up.add(task)
        task.add_done_callback(self._given_up.discard)
        try:
            done, _ = await asyncio.wait({task}, timeout=deadline)
            if done:
                result: T = task.result()
                return result
            raise StoreUnavailable(f"no answer within {deadline:g} s")
        finally:
            if not task.done():  # it is not waited for: to give a hung connection back may hang too
                if not whole.give_up():
                    task.cancel()
                task.add_done_callback(lambda given_up: given_up.cancelled() or given_up.exception())

    def _writers(self) -> asyncio.Semaphore:
        return self._turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(WRITERS))

    @contextlib.contextmanager
    def _counted(self, writes: bool) -> Iterator[None]:
        breaker = self._of_writes if writes else self._of_reads
        breaker.enter()
        try:
            yield
        except Exception as error:
            breaker.failed()
            raise as_unavailable(error) from error
        breaker.succeeded()

    def _is_purge_due(self, now: float) -> bool:
        with self._purge_lock:
            if now < self._purged_at + PURGE:
                return False
            self._purged_at = now
            return True


_stores: weakref.WeakSet[SQLRevocationStore] = weakref.WeakSet()


def _after_fork() -> None:
    """The parent's connections are the parent's."""
    for store in tuple(_stores):
        engine = store._engine.sync_engine if isinstance(store._engine, AsyncEngine) else store._engine
        engine.dispose(close=False)
        if store._feed_engine is not None:
            store._feed_engine.dispose(close=False)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


class SQLFeed:
    """One follower; see `origin.Feed`."""

    def __init__(self, engine: Engine, timeout: float) -> None:
        self._engine = engine
        self._timeout = timeout
        self._bounded = Bounded("graphql-authkit-sql-feed", timeout, workers=2)
        self._is_closed = False

    def snapshot(self) -> Snapshot:
        """Read every rule that lives."""
        if not self._exchange(tables.has_tables):
            raise NoEpoch("the tables are not there")
        epoch, change = self._exchange(tables.read_epoch)
        return Snapshot(epoch, str(change), self._entries())

    def _entries(self) -> Iterator[Entry]:
        after = b""
        least = int(time.time()) - tables.SLACK
        while True:
            page = functools.partial(tables.read_page, after=after, least=least, limit=CHUNK)
            rows = self._exchange(page)
            yield from (checked_entry(*row) for row in rows)
            if len(rows) < CHUNK:
                return
            after = bytes(rows[-1][0])

    def poll(self, position: str, wait: float) -> News:
        """What changed after a position."""
        until = time.monotonic() + wait
        if not self._exchange(tables.has_tables):
            raise NoEpoch("the tables are not there")
        while True:
            epoch, rows = self._exchange(lambda connection: tables.read_changes(connection, int(position), CHUNK))
            if rows or self._is_closed or time.monotonic() >= until:
                break
            time.sleep(POLL)
        last = int(rows[-1][3]) if rows else int(position)
        return News(epoch, str(last), [checked_entry(*row[:3]) for row in rows], len(rows) < CHUNK)

    def push(self, entries: Iterable[Entry]) -> None:
        """Merge rules into the database, whether or not it has an epoch."""
        self._exchange(patient(tables.metadata.create_all, self._timeout))
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
        work = functools.partial(tables.record, entries=entries, purge=None, needs_epoch=False)
        self._exchange(patient(work, self._timeout))

    def claim(self, epoch: str) -> bool:
        """Give a database that has no epoch this one."""
        return self._exchange(patient(functools.partial(tables.mark, epoch=epoch), self._timeout))

    def close(self) -> None:
        """End the waiting, of whatever exchange is under way too, and the threads."""
        self._is_closed = True
        self._bounded.close()

    def _exchange(self, work: Callable[[Connection], T]) -> T:
        return self._bounded(transaction(self._engine, work, self._timeout))


def from_url(url: str) -> Engine:
    """An engine for a URL; a wrong one is a ConfigurationError that does not show it."""
    try:
        return sa.create_engine(url)
    except (sa.exc.ArgumentError, ImportError) as error:
        raise ConfigurationError(f"not the URL of a database that can be opened: {type(error).__name__}") from None


def _read_committed(engine: Any) -> Any:
    """Writers here take turns by a row's lock; stricter isolation would only make them fail."""
    return engine.execution_options(isolation_level="READ COMMITTED") if engine.dialect.name == "postgresql" else engine


def _entry(rule: Rule) -> Entry:
    return fingerprint(rule.key), rule.not_before, rule.expires_at
