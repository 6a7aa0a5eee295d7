"""Where records of sessions are kept: in memory, in Redis, in a database. See `graphql_authkit.activity`."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..activity import Seen
from ..errors import ConfigurationError, StoreUnavailable
from .bounded import Bounded
from .origin import Breaker

if TYPE_CHECKING:
    import redis
    import redis.asyncio
    from sqlalchemy.engine import Connection, Engine

__all__ = ["MemoryActivityStore", "RedisActivityStore", "SQLActivityStore"]

# Merged in the server: two processes may see one session at once. ARGV: first, last, seconds to keep it.
_MERGE = """
local first, last, old = ARGV[1], ARGV[2], redis.call("GET", KEYS[1])
if old then
  local old_first, old_last = string.match(old, "^(%S+) (%S+)$")
  if not (tonumber(old_first) and tonumber(old_last)) then return redis.error_reply("the record is broken") end
  if tonumber(old_first) < tonumber(first) then first = old_first end
  if tonumber(old_last) > tonumber(last) then last = old_last end
end
redis.call("SET", KEYS[1], first .. " " .. last, "EX", ARGV[3])
return 1
"""


class MemoryActivityStore:
    """Records in this process: for one process, and for tests.

    Args:
        max_entries: The most records; beyond it the oldest go.
        clock: Monotonic seconds.
    """

    def __init__(self, *, max_entries: int = 1_000_000, clock: Callable[[], float] = time.monotonic) -> None:
        if isinstance(max_entries, bool) or not isinstance(max_entries, int) or max_entries < 1:
            raise ConfigurationError("max_entries must be a positive integer")
        self._max_entries = max_entries
        self._clock = clock
        self._records: dict[bytes, tuple[Seen, float]] = {}  # in the order of their writing
        self._lock = threading.Lock()

    def read(self, name: bytes) -> Seen | None:
        """The record of a session; see ActivityStore."""
        found = self._records.get(name)
        return None if found is None or found[1] <= self._clock() else found[0]

    def write(self, seen: Mapping[bytes, Seen], lives_for: float) -> None:
        """Merge records; see ActivityStore."""
        now = self._clock()
        with self._lock:
            for name, one in seen.items():
                known = self._records.pop(name, None)
                self._records[name] = (one if known is None else _merge(known[0], one)), now + lives_for
            while self._records:
                name, (_, ends) = next(iter(self._records.items()))
                if ends > now and len(self._records) <= self._max_entries:
                    return
                del self._records[name]


class RedisActivityStore:
    """Records in Redis or Valkey, each a key that expires by itself. Needs graphql-authkit[redis].

    Args:
        client: For its address and credentials, as RedisRevocationStore.
        prefix: Of all keys.
        deadline: Seconds for each exchange; a batch of writes has ten times as long.
    """

    def __init__(
        self,
        client: redis.Redis | redis.asyncio.Redis,
        *,
        prefix: str = "{graphql-authkit}",
        deadline: float = 0.25,
    ) -> None:
        from .redis_client import connect

        self._prefix = prefix
        self._reads, self._writes = connect(client, deadline), connect(client, deadline * 10)
        self._deadline = deadline
        self._breaker = Breaker()

    def read(self, name: bytes) -> Seen | None:
        """The record of a session; see ActivityStore."""
        from .redis_client import within

        self._breaker.enter()
        try:
            with within(self._deadline):
                found = self._reads.get(self._key(name))
            seen = None if found is None else _read(found)
        except Exception:
            self._breaker.failed()
            self._reads.connection_pool.disconnect()  # a reply that was not understood may be followed by another's
            raise
        self._breaker.succeeded()
        return seen

    def write(self, seen: Mapping[bytes, Seen], lives_for: float) -> None:
        """Merge records; see ActivityStore."""
        from .redis_client import within

        names = list(seen)
        try:
            for start in range(0, len(names), 1000):
                part = names[start : start + 1000]
                with within(self._deadline * 10):
                    merge = self._writes.script_load(_MERGE)
                    pipeline = self._writes.pipeline(transaction=False)
                    for name in part:
                        first, last = seen[name]
                        pipeline.evalsha(merge, 1, self._key(name), repr(first), repr(last), str(math.ceil(lives_for)))
                    pipeline.execute()
        except Exception:
            self._writes.connection_pool.disconnect()
            raise

    def close(self) -> None:
        """Give the connections back."""
        self._reads.close()
        self._writes.close()

    def _key(self, name: bytes) -> str:
        return f"{self._prefix}:seen:{name.hex()}"


class SQLActivityStore:
    """Records in a table by SQLAlchemy. Needs graphql-authkit[sql]; the table is in `stores.sql.metadata`.

    Args:
        engine: A SQLAlchemy Engine.
        deadline: Seconds for each exchange; a batch of writes has ten times as long.
        clock: Seconds since the epoch.
    """

    def __init__(self, engine: Engine, *, deadline: float = 0.25, clock: Callable[[], float] = time.time) -> None:
        from sqlalchemy.engine import Engine as SyncEngine

        if not isinstance(engine, SyncEngine):
            raise ConfigurationError(f"engine= takes a SQLAlchemy Engine, not a {type(engine).__name__}")
        self._engine = engine
        self._deadline = deadline
        self._clock = clock
        self._reads = Bounded("graphql-authkit-activity-read", deadline)
        self._writes = Bounded("graphql-authkit-activity-write", deadline * 10, workers=2, most_lost=2)
        self._breaker = Breaker()
        self._purged_at = -math.inf

    def create(self) -> None:
        """Make the table where it is missing."""
        from .tables import metadata, sessions_table

        metadata.create_all(self._engine, tables=[sessions_table])

    def read(self, name: bytes) -> Seen | None:
        """The record of a session; see ActivityStore."""
        from .tables import read_session
        from .transaction import transaction

        self._breaker.enter()
        try:
            work = transaction(self._engine, lambda it: read_session(it, name, self._clock()), self._deadline)
            found = self._reads(work)
        except Exception:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return None if found is None else Seen(*found)

    def write(self, seen: Mapping[bytes, Seen], lives_for: float) -> None:
        """Merge records; see ActivityStore."""
        from .tables import purge_sessions, write_sessions
        from .transaction import patient, transaction

        now = self._clock()
        ends = {"expires_at": math.ceil(now + lives_for)}

        def write(connection: Connection, part: list[bytes]) -> None:
            write_sessions(connection, [{"fingerprint": name, **seen[name]._asdict(), **ends} for name in part])
            if now >= self._purged_at + 60:
                self._purged_at = now
                purge_sessions(connection, now)

        names = sorted(seen)  # one order for all, lest two writers wait for each other
        for start in range(0, len(names), 500):
            part = functools.partial(write, part=names[start : start + 500])
            patience = self._deadline * 10
            self._writes(transaction(self._engine, patient(part, patience), patience))

    def close(self) -> None:
        """End the threads; the engine is yours."""
        self._reads.close()
        self._writes.close()


def _merge(one: Seen, other: Seen) -> Seen:
    return Seen(min(one.first, other.first), max(one.last, other.last))


def _read(value: object) -> Seen:
    try:
        first, last = (float(part) for part in bytes(value).split(b" "))  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise StoreUnavailable("the store holds what is no record of a session") from error
    if not 0 <= first <= last < math.inf:
        raise StoreUnavailable("the store holds what is no record of a session")
    return Seen(first, last)
