"""Connections of our own to a Redis that somebody's client is for: a deadline, and no retries."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigurationError

try:
    import redis
    import redis.asyncio
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise ImportError("stores in Redis need: pip install 'graphql-authkit[redis]'") from error

__all__ = ["CONNECTIONS", "connect", "from_url", "matching", "settings_of"]

CONNECTIONS = 64  # at most, for threads and for each event loop; further callers wait for one
_SETTINGS = ("host", "port", "db", "username", "password", "credential_provider", "path")


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
    kind = matching(redis, client)
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
