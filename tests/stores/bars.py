"""The bars for a server that fails under a replica, as a table: `python -m tests.stores.bars`. It takes a minute.

Requests go on all the while, by threads and by an event loop. Some tokens were revoked long before the failure,
some by another process just before it or, where the server still has other clients, in its midst.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import redis
import sqlalchemy as sa

from graphql_authkit.stores.redis import RedisRevocationStore
from graphql_authkit.stores.sql import SQLRevocationStore, metadata
from tests.stores.load import Load, tokens, under_load
from tests.stores.origins import LONG, is_revoked, replica_of, revocations_of
from tests.stores.proxy import Proxy, proxied, wait_until
from tests.stores.servers import PostgresServer, RedisServer, postgres_server, redis_server

MAX_STALENESS = 2.0
LASTS = MAX_STALENESS + 1.5  # seconds of each failure
REVOKED, VALID, LATE = tokens("revoked"), tokens("valid"), tokens("late")


class Site(NamedTuple):
    """A server, the way to it of the process that is watched, and a way around."""

    server: Any
    proxy: Proxy
    origin: Any
    direct: Any
    save: Callable[[], object]
    empty: Callable[[], object]


class Bars(NamedTuple):
    """What was seen of one failure."""

    accepted: int  # requests with a revoked token that were let in later than they may
    longest: float  # milliseconds that a request took
    refused: int  # requests with a valid token that got a 401
    recovery: float  # seconds from the end of the failure to the last 503
    unavailable: int  # requests that got a 503
    requests: int


@contextmanager
def redis_site(server: RedisServer) -> Iterator[Site]:
    server.lose_data()
    with server.client() as client, proxied(("127.0.0.1", server.port)) as proxy:
        client.flushall()
        origin = RedisRevocationStore(redis.Redis(port=proxy.port), log_seconds=LONG)
        direct = RedisRevocationStore(server.client(), log_seconds=LONG, deadline=5.0)
        yield Site(server, proxy, origin, direct, client.save, server.lose_data)
        origin.close()
        direct.close()


@contextmanager
def postgres_site(server: PostgresServer) -> Iterator[Site]:
    with proxied(server.socket_path) as proxy:
        engine, around = sa.create_engine(server.url_at(proxy.address)), sa.create_engine(server.url)
        metadata.drop_all(around)
        origin, direct = SQLRevocationStore(engine), SQLRevocationStore(around, deadline=5.0)

        def empty() -> None:
            around.dispose()
            with around.begin() as connection:
                for table in metadata.sorted_tables:
                    connection.execute(sa.delete(table))

        yield Site(server, proxy, origin, direct, lambda: None, empty)
        for store in (origin, direct):
            store.close()
        for each in (engine, around):
            each.dispose()


def kill(site: Site) -> Callable[[], object]:
    site.save()
    end(site)
    return site.server.start  # type: ignore[no-any-return]


def cut(site: Site) -> Callable[[], object]:
    site.proxy.refuse()
    return site.proxy.heal


def hang(site: Site) -> Callable[[], object]:
    site.server.pause()
    return site.server.go_on  # type: ignore[no-any-return]


def corrupt(site: Site) -> Callable[[], object]:
    site.proxy.corrupt(lambda data: b"!" * len(data))
    return site.proxy.heal


def restart_empty(site: Site) -> Callable[[], object]:
    site.proxy.refuse()
    end(site)

    def start() -> None:
        if isinstance(site.server, RedisServer):
            site.empty()
        site.server.start()
        if isinstance(site.server, PostgresServer):
            site.empty()
        site.proxy.heal()

    return start


def end(site: Site) -> None:
    site.server.end() if isinstance(site.server, RedisServer) else site.server.crash()


FAILURES: dict[str, tuple[Callable[[Site], Callable[[], object]], bool]] = {
    # how it begins, which gives how it ends; and whether another process can write in its midst
    "kill": (kill, False),
    "cut": (cut, True),
    "hang": (hang, False),
    "corrupt": (corrupt, True),
    "restart empty": (restart_empty, False),
}


def measure(site: Site, failure: str) -> Bars:
    """One failure under load."""
    begin, goes_on = FAILURES[failure]
    site.direct.create()
    revoke_by_another(site, REVOKED)
    with replica_of(site.origin, max_staleness=MAX_STALENESS, start_timeout=10.0) as replica:
        wait_until(replica.ready, "ready")
        with under_load(revocations_of(replica), REVOKED + LATE, VALID) as load:
            load.wait_for("active", 50)
            if not goes_on:
                revoke_by_another(site, LATE)
                wait_until(lambda: all(is_revoked(replica, token) for token in LATE), "what it can lose is known")
            heal = begin(site)
            if goes_on:
                revoke_by_another(site, LATE)
            revoked_at = time.monotonic()
            threading.Event().wait(LASTS)
            heal()
            healed_at = time.monotonic()
            wait_until(replica.ready, "ready", 30.0)
            wait_until(lambda: all(is_revoked(site.direct, token) for token in REVOKED + LATE), "the origin has all")
            load.wait_for("active", 200)
    return bars_of(load, revoked_at, healed_at)


def revoke_by_another(site: Site, which: list[Any]) -> None:
    for token in which:
        revocations_of(site.direct).revoke(token)


def bars_of(load: Load, revoked_at: float, healed_at: float) -> Bars:
    late = {token.token_key for token in LATE}
    limit = {
        token.token_key: revoked_at + MAX_STALENESS if token.token_key in late else 0.0 for token in REVOKED + LATE
    }
    accepted = [o for o in load.outcomes if o.answer == "active" and o.began > limit.get(o.token_key, float("inf"))]
    wrongly = [o for o in load.outcomes if o.token_key in load.valid_keys and o.answer not in ("active", "unavailable")]
    unavailable = [o for o in load.outcomes if o.answer == "unavailable"]
    last = max((o.began + o.took for o in unavailable), default=healed_at)
    recovery = max(0.0, last - healed_at)
    return Bars(len(accepted), load.longest() * 1000, len(wrongly), recovery, len(unavailable), len(load.outcomes))


def main() -> int:
    """Print the table; 1 where a bar is missed."""
    directory = Path(tempfile.mkdtemp())
    (directory / "redis").mkdir()
    (directory / "postgres").mkdir(0o700)
    print(f"max_staleness = {MAX_STALENESS:g} s; each failure lasts {LASTS:g} s")
    print(
        f"{'origin':<11}{'failure':<15}{'accepted':>9}{'longest':>10}{'401s':>6}{'recovery':>10}{'503s':>8}{'requests':>10}"
    )
    is_missed = False
    with redis_server(directory / "redis") as of_redis, postgres_server(directory / "postgres") as of_postgres:
        sites: dict[str, Callable[[], Any]] = {
            "Redis": lambda: redis_site(of_redis),
            "PostgreSQL": lambda: postgres_site(of_postgres),
        }
        for name, site_of in sites.items():
            for failure in FAILURES:
                with site_of() as site:
                    seen = measure(site, failure)
                is_missed |= bool(seen.accepted or seen.refused)
                print(
                    f"{name:<11}{failure:<15}{seen.accepted:>9}{seen.longest:>7.0f} ms{seen.refused:>6}"
                    f"{seen.recovery:>8.2f} s{seen.unavailable:>8}{seen.requests:>10}",
                    flush=True,
                )
    return int(is_missed)


if __name__ == "__main__":
    sys.exit(main())
