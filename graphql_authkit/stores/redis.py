"""Revocations in Redis or Valkey, shared by every process that can reach it. Needs graphql-authkit[redis].

Keys, all in one hash slot: `<prefix>:epoch`; `<prefix>:rule:<fingerprint>` for each rule, which expires by
itself; and `<prefix>:log`, a stream of what was recorded, which replicas follow. Identifiers are kept as
fingerprints only. What survives a crash of the server is what its own settings say (`appendonly yes`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import re
import secrets
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import ConfigurationError, StoreUnavailable
from ..revocation import FINGERPRINT_BYTES, Revocable, Rule, Verdict, fingerprint
from .ledger import Entry
from .origin import Breaker, News, NoEpoch, Snapshot, as_unavailable, checked_entry, judge_found, looked_up
from .redis_client import CONNECTIONS, connect, matching, settings_of, within

try:
    import redis
    import redis.asyncio
    from redis.backoff import NoBackoff
except ImportError as error:
    raise ImportError("RedisRevocationStore needs: pip install 'graphql-authkit[redis]'") from error

__all__ = ["RedisRevocationStore"]

CHUNK = 10_000
_VALUE = re.compile(rb"(\d{1,12})? (\d{1,12})")
_STREAM_ID = re.compile(r"(\d+)-(\d+)")

# The server keeps a rule an hour beyond its end, since clocks differ.
# KEYS: epoch, rule, log. ARGV: fingerprint, not_before or "", expires_at, seconds of log, whether to need the epoch.
_RECORD = """
if ARGV[5] == "1" and redis.call("EXISTS", KEYS[1]) == 0 then return 0 end
local before, expires = ARGV[2], tonumber(ARGV[3])
local old = redis.call("GET", KEYS[2])
if old then
  local old_before, old_expires = string.match(old, "^(%d*) (%d+)$")
  if not old_expires then return redis.error_reply("the rule is broken") end
  expires = math.max(expires, tonumber(old_expires))
  if before == "" or old_before == "" then before = ""
  else before = string.format("%.0f", math.max(tonumber(before), tonumber(old_before))) end
end
local value = before .. " " .. string.format("%.0f", expires)
if value == old then return 1 end
local least = string.format("%.0f-0", math.max(0, tonumber(redis.call("TIME")[1]) - tonumber(ARGV[4])) * 1000)
redis.call("SET", KEYS[2], value, "EXAT", string.format("%.0f", expires + 3600))
redis.call("XADD", KEYS[3], "MINID", "~", least, "*", "e", ARGV[1] .. value)
return 1
"""


class RedisRevocationStore:
    """Rules in Redis. Alone, it is asked once for each request; under a ReplicatedRevocationStore, never.

    Before its first use `create()` must have been called once, by whoever sets the system up: a server
    without the marker that it makes has lost its data, and every answer is then StoreUnavailable.

    Args:
        client: A `redis.Redis` or `redis.asyncio.Redis`, for its address and credentials: the store makes
            connections of its own, for threads and for asyncio, with the deadline and without retries.
        prefix: Of all keys. One in braces keeps them in one slot of a cluster.
        deadline: Seconds for each exchange.
        log_seconds: How long the log goes back; no rule may live longer.

    Raises:
        ConfigurationError: Not such a client, or no sensible numbers.
    """

    def __init__(
        self,
        client: redis.Redis | redis.asyncio.Redis,
        *,
        prefix: str = "{graphql-authkit}",
        deadline: float = 0.25,
        log_seconds: float = 8 * 86_400.0,
    ) -> None:
        if not isinstance(prefix, str) or prefix != prefix.encode("utf-8", "ignore").decode():
            raise ConfigurationError("prefix must be text that UTF-8 can hold")
        if not prefix or not 0 < deadline < math.inf or not 0 < log_seconds < math.inf:
            raise ConfigurationError("prefix, deadline and log_seconds must be given, and positive")
        self._client = client
        self._prefix = prefix
        self._deadline = deadline
        self._log_seconds = log_seconds
        self._epoch_key, self._log_key = f"{prefix}:epoch", f"{prefix}:log"
        self._sync = connect(client, deadline)
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis]
        self._loops = weakref.WeakKeyDictionary()
        self._breaker = Breaker()

    # ------------------------------------------------------------------------------------ the store

    def create(self) -> bool:
        """Mark the server as holding the list from now on; False if it was marked already.

        Raises:
            StoreUnavailable: It cannot be reached.
            ConfigurationError: It throws keys away when its memory is full: rules would be forgotten.
        """
        with self._exchange():
            memory: Any = self._sync.info("memory")
        if memory.get("maxmemory") and memory.get("maxmemory_policy") != "noeviction":
            raise ConfigurationError(f"maxmemory-policy {memory['maxmemory_policy']} evicts rules: set noeviction")
        with self._exchange():
            return _claim(self._sync, self._epoch_key, self._log_key, secrets.token_hex(16))

    def record(self, rule: Rule, now: float) -> None:
        """Keep a rule; see RevocationStore."""
        recording = self._recording(_entry(rule), now)
        with self._exchange():
            reply = self._sync.eval(_RECORD, 3, *recording)
        _check_recorded(reply)

    async def arecord(self, rule: Rule, now: float) -> None:
        """`record` on asyncio."""
        recording = self._recording(_entry(rule), now)
        async with self._aexchange() as client:
            reply = await client.eval(_RECORD, 3, *recording)
        _check_recorded(reply)

    def check(self, token: Revocable, now: float) -> Verdict:
        """The verdict on a token, in one exchange."""
        keys = looked_up(token)
        with self._exchange():
            reply = _listed(self._sync.mget(self._asked(keys)), len(keys) + 1)
        return judge_found(token, keys, _found(keys, reply), now)

    async def acheck(self, token: Revocable, now: float) -> Verdict:
        """`check` on asyncio."""
        keys = looked_up(token)
        async with self._aexchange() as client:
            reply = _listed(await client.mget(self._asked(keys)), len(keys) + 1)
        return judge_found(token, keys, _found(keys, reply), now)

    def local_check(self, token: Revocable, now: float) -> None:
        """None: only the server can say."""

    def open_feed(self, timeout: float) -> RedisFeed:
        """A connection for a follower; see `origin`."""
        return RedisFeed(self, connect(self._client, timeout), timeout)

    def close(self) -> None:
        """Give back the connections made for threads."""
        self._sync.connection_pool.disconnect()

    async def aclose(self) -> None:
        """Give back the connections made for the running event loop, and those for threads."""
        client = self._loops.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.connection_pool.disconnect()
        self.close()

    # --------------------------------------------------------------------------------- connections

    def _aconnect(self) -> redis.asyncio.Redis:
        loop = asyncio.get_running_loop()
        client = self._loops.get(loop)
        if client is None:
            from redis.asyncio.retry import Retry as AsyncRetry

            kind = matching(redis.asyncio, self._client)
            settings = settings_of(self._client, self._deadline)
            retry = AsyncRetry(NoBackoff(), 0)
            pool = redis.asyncio.BlockingConnectionPool(
                connection_class=kind, retry=retry, max_connections=CONNECTIONS, timeout=self._deadline, **settings
            )
            client = self._loops[loop] = redis.asyncio.Redis(connection_pool=pool)
        return client

    @contextlib.contextmanager
    def _exchange(self) -> Iterator[None]:
        self._breaker.enter()
        try:
            with within(self._deadline):
                yield
        except Exception as error:
            self._breaker.failed()
            # After a reply that was not understood the next one on this connection may be another's.
            self._sync.connection_pool.disconnect()
            raise as_unavailable(error) from error
        self._breaker.succeeded()

    @contextlib.asynccontextmanager
    async def _aexchange(self) -> Any:
        self._breaker.enter()
        client = self._aconnect()
        try:
            async with asyncio.timeout(self._deadline):
                yield client
        except Exception as error:
            self._breaker.failed()
            await client.connection_pool.disconnect()
            raise as_unavailable(error) from error
        self._breaker.succeeded()

    # --------------------------------------------------------------------------------------- words

    def _asked(self, keys: Iterable[bytes]) -> list[str]:
        return [self._epoch_key, *(f"{self._prefix}:rule:{name.hex()}" for name in keys)]

    def _recording(self, entry: Entry, now: float, *, needs_epoch: bool = True) -> tuple[str | bytes, ...]:
        name, not_before, expires_at = entry
        if needs_epoch and expires_at - now > self._log_seconds:
            raise StoreUnavailable("the rule lives longer than log_seconds=: make that longer than max_token_lifetime=")
        rule_key = f"{self._prefix}:rule:{name.hex()}"
        before = "" if not_before is None else str(int(not_before))
        seconds, flag = str(math.ceil(self._log_seconds)), "1" if needs_epoch else "0"
        return self._epoch_key, rule_key, self._log_key, name, before, str(math.ceil(expires_at)), seconds, flag


class RedisFeed:
    """One follower's connection; see `origin.Feed`."""

    def __init__(self, store: RedisRevocationStore, client: redis.Redis, timeout: float) -> None:
        self._store = store
        self._client = client
        self._timeout = timeout
        self._is_closed = False

    def snapshot(self) -> Snapshot:
        """Read the log from its beginning."""
        with within(self._timeout):
            epoch = _check_epoch(self._client.get(self._store._epoch_key))
            return Snapshot(epoch, self._last_id(), self._entries())

    def _entries(self) -> Iterator[Entry]:
        """By the bare protocol: redis-py's own reading of streams takes as long again."""
        with within(self._timeout):
            connection: Any = self._client.connection_pool.get_connection()
        try:
            least = "-"
            while True:
                with within(self._timeout):
                    connection.send_command("XRANGE", self._store._log_key, least, "+", "COUNT", CHUNK)
                    reply: Any = connection.read_response()
                for _, fields in reply:
                    yield _read_logged(fields)
                if len(reply) < CHUNK:
                    return
                least = "(" + _text(reply[-1][0])
        finally:
            connection.disconnect()  # a reply may be left in it
            self._client.connection_pool.release(connection)

    def poll(self, position: str, wait: float) -> News:
        """What the log got after a position."""
        if self._is_closed:  # redis-py would connect again
            raise StoreUnavailable("the feed is closed")
        with within(self._timeout):
            return self._poll(position, wait)

    def _poll(self, position: str, wait: float) -> News:
        pipeline = self._client.pipeline(transaction=False)
        block = max(1, int(wait * 1000)) if wait > 0 else None  # to wait at all is to wait for the server's next tick
        pipeline.xread({self._store._log_key: position}, count=CHUNK, block=block)
        pipeline.get(self._store._epoch_key)
        pipeline.xrange(self._store._log_key, min=position, max=position)
        logged, epoch, here = pipeline.execute()
        if not here and position != "0-0":  # restored from a backup, or trimmed meanwhile
            raise LookupError("the log no longer has what was read of it last")
        entries = [] if not logged else _streamed(logged)
        if not entries and _ordered(self._last_id()) < _ordered(position):
            raise LookupError("the log ends before what was read of it")
        new = position if not entries else _text(entries[-1][0])
        return News(_check_epoch(epoch), new, [_read_logged(f) for _, f in entries], len(entries) < CHUNK)

    def push(self, entries: Iterable[Entry]) -> None:
        """Merge rules into the server, whether or not it has an epoch."""
        with within(self._timeout):
            now = self._client.time()[0]
            known = self._client.script_load(_RECORD)
        pipeline = self._client.pipeline(transaction=False)
        entries = iter(entries)
        while batch := list(itertools.islice(entries, 1000)):
            for entry in batch:
                pipeline.evalsha(known, 3, *self._store._recording(entry, now, needs_epoch=False))
            with within(self._timeout):
                pipeline.execute()

    def claim(self, epoch: str) -> bool:
        """Give a server that has no epoch this one."""
        with within(self._timeout):
            return _claim(self._client, self._store._epoch_key, self._store._log_key, epoch)

    def close(self) -> None:
        """Give the connection back, whatever it is waiting for."""
        self._is_closed = True
        self._client.connection_pool.disconnect()

    def _last_id(self) -> str:
        try:
            return _text(self._client.xinfo_stream(self._store._log_key)["last-generated-id"])
        except redis.ResponseError as error:
            if "no such key" in str(error):
                raise NoEpoch("the server has no log: it lost its data, or create() was never called") from error
            raise


def _claim(client: redis.Redis, epoch_key: str, log_key: str, epoch: str) -> bool:
    """Make the log, so that one that is missing is one that was lost, and then the epoch."""
    with contextlib.suppress(redis.ResponseError):  # the group, and so the log, are there
        client.xgroup_create(log_key, "graphql-authkit", mkstream=True)
    return bool(client.set(epoch_key, epoch, nx=True))


def _entry(rule: Rule) -> Entry:
    return fingerprint(rule.key), rule.not_before, rule.expires_at


def _listed(reply: object, length: int) -> list[Any]:
    """A reply of the right shape; one of another is some other question's."""
    if not isinstance(reply, list) or len(reply) != length:
        raise StoreUnavailable("the reply is not one to the question")
    return reply


def _found(keys: Iterable[bytes], reply: list[Any]) -> list[Entry]:
    _check_epoch(reply[0])
    return [_read(name, value) for name, value in zip(keys, reply[1:], strict=True) if value is not None]


def _check_epoch(value: object) -> str:
    if value is None:
        raise NoEpoch("the server has no epoch: it lost its data, or create() was never called")
    return _text(value)


def _check_recorded(reply: object) -> None:
    if reply == 0:
        _check_epoch(None)
    if reply != 1:
        raise StoreUnavailable("the reply is not one to the question")


def _text(value: object) -> str:
    if not isinstance(value, bytes):
        raise StoreUnavailable("the reply is not one to the question")
    return value.decode("ascii")


def _read(name: bytes, value: object) -> Entry:
    match = _VALUE.fullmatch(value) if isinstance(value, bytes) else None
    if match is None:
        raise StoreUnavailable("the server holds what is no rule")
    return checked_entry(name, match[1], match[2])


def _read_logged(fields: Any) -> Entry:
    """An entry's one field, as a list of name and value or, by redis-py, a dict."""
    logged = fields.get(b"e") if isinstance(fields, dict) else fields[1] if isinstance(fields, list) else None
    if not isinstance(logged, bytes):
        raise StoreUnavailable("the log holds what is no rule")
    return _read(logged[:FINGERPRINT_BYTES], logged[FINGERPRINT_BYTES:])


def _streamed(reply: Any) -> list[Any]:
    """RESP2 gives a list of streams, RESP3 a map of them."""
    streams = list(reply.values()) if isinstance(reply, dict) else [stream[1] for stream in reply]
    entries = streams[0]
    if entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], tuple | list):
        entries = entries[0]
    return list(entries)


def _ordered(stream_id: str) -> tuple[int, int]:
    match = _STREAM_ID.fullmatch(stream_id)
    if match is None:
        raise StoreUnavailable("the reply is not one to the question")
    return int(match[1]), int(match[2])
