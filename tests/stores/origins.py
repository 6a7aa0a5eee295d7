"""Origins for replicas: real ones, in a place of their own, and one whose follower a test holds by the hand."""

from __future__ import annotations

import abc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from graphql_authkit import Revocations
from graphql_authkit.errors import AuthError
from graphql_authkit.stores.ledger import Entry
from graphql_authkit.stores.origin import Feed, News, Snapshot
from graphql_authkit.stores.redis import RedisRevocationStore
from graphql_authkit.stores.replicated import ReplicatedRevocationStore
from graphql_authkit.stores.sql import SQLRevocationStore, metadata
from tests.stores.servers import PostgresServer, RedisServer
from tests.support import Clock

LONG = 4e7  # the clock of these tests stands in the future


class Place(abc.ABC):
    """A server's data, as a test may reach and ruin it."""

    @abc.abstractmethod
    def store(self, port: int | None = None) -> Any:
        """Another store of the same data, perhaps through a proxy."""

    @abc.abstractmethod
    def lose(self) -> None:
        """Lose everything."""

    @abc.abstractmethod
    def save(self) -> None:
        """Make a backup."""

    @abc.abstractmethod
    def restore(self) -> None:
        """Go back to it."""


class RedisPlace(Place):
    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.client = server.client()
        self.client.flushall()
        self._made: list[Any] = []
        self._saved: list[tuple[bytes, bytes, int]] = []

    def store(self, port: int | None = None, **options: Any) -> Any:
        client = redis.Redis(port=port or self.server.port)
        store = RedisRevocationStore(client, **{"deadline": 2.0, "log_seconds": LONG, **options})
        self._made.append(store)
        return store

    def lose(self) -> None:
        self.client.flushall()

    def save(self) -> None:
        names: Any = self.client.keys("*")
        lives: list[Any] = [self.client.pttl(name) for name in names]
        dumps: list[Any] = [self.client.dump(name) for name in names]
        self._saved = [(name, dump, max(0, life)) for name, dump, life in zip(names, dumps, lives, strict=True)]

    def restore(self) -> None:
        pipeline = self.client.pipeline()
        pipeline.flushall()
        for name, value, life in self._saved:
            pipeline.restore(name, life, value)
        pipeline.execute()

    def close(self) -> None:
        for store in self._made:
            store.close()
        self.client.close()


class SQLPlace(Place):
    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url)
        metadata.drop_all(self.engine)
        self._made: list[Any] = []
        self._saved: dict[str, list[Any]] = {}

    def store(self, port: int | None = None, **options: Any) -> Any:
        store = SQLRevocationStore(self.engine, **{"deadline": 2.0, **options})
        self._made.append(store)
        return store

    def lose(self) -> None:
        with self.engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(sa.delete(table))

    def drop(self) -> None:
        metadata.drop_all(self.engine)

    def save(self) -> None:
        with self.engine.begin() as connection:
            self._saved = {t.name: list(connection.execute(sa.select(t)).mappings()) for t in metadata.sorted_tables}

    def restore(self) -> None:
        with self.engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(sa.delete(table))
                if self._saved[table.name]:
                    connection.execute(sa.insert(table), [dict(row) for row in self._saved[table.name]])

    def close(self) -> None:
        for store in self._made:
            store.close()
        self.engine.dispose()


@contextmanager
def place_of(kind: str, request: pytest.FixtureRequest, directory: Path) -> Iterator[Any]:
    place: Any
    if kind == "redis":
        place = RedisPlace(request.getfixturevalue("redis_at"))
    elif kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_at")
        server.free()
        place = SQLPlace(server.url)
    else:
        place = SQLPlace(f"sqlite:///{directory / 'revocations.db'}")
    try:
        yield place
    finally:
        place.close()


class HeldOrigin:
    """An origin whose followers' polls wait while a test says so.

    Args:
        origin: The real one.
    """

    def __init__(self, origin: Any) -> None:
        self._origin = origin
        self._changed = threading.Condition()
        self._allowed: float = float("inf")
        self.polls = 0
        self.snapshots = 0
        self.before_entries: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._origin, name)

    def open_feed(self, timeout: float) -> Feed:
        return HeldFeed(self, self._origin.open_feed(timeout))

    def hold(self, *, after: int = 0) -> None:
        """Let so many more polls begin."""
        with self._changed:
            self._allowed = after
            self._changed.notify_all()

    def let_go(self) -> None:
        self.hold(after=1_000_000_000)

    def enter(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._allowed > 0, 10)
            self._allowed -= 1

    def left(self) -> None:
        with self._changed:
            self.polls += 1


class HeldFeed:
    def __init__(self, held: HeldOrigin, feed: Feed) -> None:
        self._held = held
        self._feed = feed

    def snapshot(self) -> Snapshot:
        epoch, position, entries = self._feed.snapshot()
        self._held.snapshots += 1
        return Snapshot(epoch, position, self._entries(entries))

    def _entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        self._held.before_entries()
        yield from entries

    def poll(self, position: str, wait: float) -> News:
        self._held.enter()
        answer = self._feed.poll(position, wait)
        self._held.left()
        return answer

    def push(self, entries: Iterable[Entry]) -> None:
        self._feed.push(entries)

    def claim(self, epoch: str) -> bool:
        return self._feed.claim(epoch)

    def close(self) -> None:
        self._feed.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feed, name)


@contextmanager
def replica_of(origin: Any, **options: Any) -> Iterator[ReplicatedRevocationStore]:
    """A replica, closed at the end; it has begun to follow."""
    replica = ReplicatedRevocationStore(origin, **options)
    replica.start()
    try:
        yield replica
    finally:
        if isinstance(origin, HeldOrigin):
            origin.let_go()
        replica.close()


def revocations_of(store: Any, clock: Callable[[], float] | None = None) -> Revocations:
    return Revocations(store, clock=clock or Clock(), on_event=lambda _event: None)


def passed(seconds: float) -> Callable[[], bool]:
    """A condition that holds after so long."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def is_revoked(store: Any, token: Any) -> bool | None:
    """None where nobody can say."""
    try:
        revocations_of(store).check(token)
    except AuthError as error:
        return None if error.status == 503 else True
    return False
