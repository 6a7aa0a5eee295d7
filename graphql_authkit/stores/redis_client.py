"""Connections of our own to a Redis that somebody's client is for: a deadline, and no retries.

redis-py's time-outs are for each single read, so that a reply in small pieces lasts as long as it likes. What
is done `within` a deadline ends by it as a whole, connecting included.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

from ..errors import ConfigurationError

try:
    import redis
    import redis.asyncio
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise ImportError("stores in Redis need: pip install 'graphql-authkit[redis]'") from error

__all__ = ["CONNECTIONS", "connect", "from_url", "matching", "settings_of", "within"]

CONNECTIONS = 64  # at most, for threads and for each event loop; further callers wait for one
_SETTINGS = ("host", "port", "db", "username", "password", "credential_provider", "path")


_this_thread = threading.local()


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """All that this thread asks of our synchronous clients here ends by then, or raises TimeoutError."""
    _this_thread.until = time.monotonic() + seconds
    try:
        yield
    finally:
        _this_thread.until = None


def _left(patience: float | None) -> float | None:
    """Seconds that a single wait may take: its own patience, or what is left for the whole."""
    until = getattr(_this_thread, "until", None)
    if until is None or patience == 0:
        return patience
    left: float = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline of the exchange has passed")
    return left if patience is None else min(left, patience)


class _Timed:
    """A socket each of whose waits is for what is left of the whole."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._patience = connected.gettimeout()

    def settimeout(self, seconds: float | None) -> None:
        self._patience = seconds
        self._socket.settimeout(seconds)

    def recv(self, *args: Any) -> bytes:
        self._socket.settimeout(_left(self._patience))
        return self._socket.recv(*args)

    def recv_into(self, *args: Any) -> int:
        self._socket.settimeout(_left(self._patience))
        return self._socket.recv_into(*args)

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(_left(self._patience))
        self._socket.sendall(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


@cache
def _timed(kind: Any) -> Any:
    """That class of connections, with timed sockets."""

    class Timed(kind):  # type: ignore[misc]
        socket_connect_timeout: float | None

        def _connect(self) -> _Timed:
            patience = self.socket_connect_timeout
            self.socket_connect_timeout = _left(patience)
            try:
                return _Timed(super()._connect())
            finally:
                self.socket_connect_timeout = patience

    return Timed


def from_url(url: str) -> redis.Redis:
    """A client for a URL; a wrong one is a ConfigurationError that does not show it."""
    try:
        return redis.Redis.from_url(url)
    except ValueError:
        raise ConfigurationError("not the URL of a Redis: redis://host:port/0") from None


def connect(client: Any, timeout: float) -> redis.Redis:
    """A client of our own to the same server, with a deadline and without retries.

    Raises:
        ConfigurationError: Not a `redis.Redis`, sync or async.
    """
    if not isinstance(client, redis.Redis | redis.asyncio.Redis):
        raise ConfigurationError(f"client= takes a redis.Redis, sync or async, not a {type(client).__name__}")
    kind = _timed(matching(redis, client))
    retry, settings = Retry(NoBackoff(), 0), settings_of(client, timeout)
    pool = redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]
        connection_class=kind, retry=retry, max_connections=CONNECTIONS, timeout=timeout, **settings
    )
    return redis.Redis(connection_pool=pool)


def settings_of(client: Any, timeout: float) -> dict[str, Any]:
    """What of its settings says where the server is and who we are, with the deadline."""
    given = client.connection_pool.connection_kwargs
    kept = {name: value for name, value in given.items() if name in _SETTINGS or name.startswith("ssl_")}
    return {**kept, "socket_timeout": timeout, "socket_connect_timeout": timeout, "decode_responses": False}


def matching(module: Any, client: Any) -> Any:
    """The connection class of that module that reaches the server in the same way."""
    name = client.connection_pool.connection_class.__name__
    kind = getattr(module.connection, name, None)
    if kind is None:
        raise ConfigurationError(f"connections of class {name} are not known here")
    return kind
