"""What the processes of `test_processes` run: `python -m tests.stores.workers <what> <store> <where> <arguments>`."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from graphql_authkit import Revocations
from graphql_authkit.errors import AuthError
from graphql_authkit.stores.replicated import ReplicatedRevocationStore
from tests.stores.contract import like
from tests.stores.proxy import wait_until


def origin_of(kind: str, where: str, deadline: float = 5.0) -> Any:
    if kind == "redis":
        import redis

        from graphql_authkit.stores.redis import RedisRevocationStore

        return RedisRevocationStore(redis.Redis(port=int(where)), deadline=deadline)
    import sqlalchemy as sa

    from graphql_authkit.stores.sql import SQLRevocationStore

    return SQLRevocationStore(sa.create_engine(where), deadline=deadline)


@functools.cache
def named(name: str) -> Any:
    return like(token_key=f"jti:{name}", issued_at=time.time() - 10, expires_at=time.time() + 600)


def is_revoked(revocations: Revocations, name: str) -> bool:
    try:
        revocations.check(named(name))
    except AuthError as error:
        return error.status == 401
    return False


def quietly(store: Any) -> Revocations:
    return Revocations(store, on_event=lambda _event: None)


def talk(kind: str, where: str, me: str, others: str, count: str) -> None:
    """Revoke so many, and see all of the others'; print how long each took to be seen at most."""
    replica = ReplicatedRevocationStore(origin_of(kind, where))
    revocations = quietly(replica)
    wait_until(replica.ready, "ready", 20.0)
    for number in range(int(count)):
        revocations.revoke(named(f"{me}-{number}"))
    revoked_at = time.monotonic()
    awaited = [f"{other}-{number}" for other in others.split(",") for number in range(int(count))]
    wait_until(lambda: all(is_revoked(revocations, name) for name in awaited), f"{me} sees {others}", 20.0)
    print(f"{me} saw all {time.monotonic() - revoked_at:.3f} s after its own last")
    wait_until(lambda: not is_revoked(revocations, "nobody"), "others are active")
    replica.close()


def fork(kind: str, where: str, used: str) -> None:
    """Follow, fork, and go on in both: each sees what the other revokes, and nobody reads another's replies."""
    origin = origin_of(kind, where)
    replica = ReplicatedRevocationStore(origin)
    revocations, direct = quietly(replica), quietly(origin)
    wait_until(replica.ready, "ready", 20.0)
    revocations.revoke(named("before"))
    if used == "used":
        assert is_revoked(direct, "before")
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            os._exit(as_worker(revocations, direct, f"child-{number}", ["parent", f"child-{(number + 1) % 3}"]))
        children.append(child)
    status = as_worker(revocations, direct, "parent", ["child-0", "child-1", "child-2"])
    statuses = [os.waitpid(child, 0)[1] for child in children]
    assert (status, statuses) == (0, [0, 0, 0]), (status, statuses)
    replica.close()


def as_worker(revocations: Revocations, direct: Revocations, me: str, others: list[str]) -> int:
    try:
        assert is_revoked(revocations, "before"), f"{me} forgot what was there before the fork"
        for number in range(15):
            revocations.revoke(named(f"{me}-{number}"))
            assert is_revoked(direct, f"{me}-{number}"), f"{me} was given another's reply"
            assert not is_revoked(direct, "nobody"), f"{me} was given another's reply"
        names = [f"{other}-{number}" for other in others for number in range(15)]
        wait_until(lambda: all(is_revoked(revocations, name) for name in names), f"{me} sees {others}", 10.0)
    except BaseException as error:
        print(f"{me}: {error!r}", flush=True)
        return 1
    return 0


def leave(kind: str, where: str) -> None:
    """Ask a server that does not answer, and end."""
    revocations = quietly(origin_of(kind, where, 0.5))
    began = time.monotonic()
    try:
        revocations.check(named("x"))
    except AuthError as error:
        print(f"{error.status} after {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {"talk": talk, "fork": fork, "leave": leave}
    commands[sys.argv[1]](*sys.argv[2:])
