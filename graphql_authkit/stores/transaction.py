"""One transaction on somebody's engine, that keeps nothing of it for longer than anyone waits."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .origin import Call

try:
    import sqlalchemy as sa
    from sqlalchemy.engine import Connection, Engine
except ImportError as error:
    raise ImportError("stores in a database need: pip install 'graphql-authkit[sql]'") from error

__all__ = ["transaction"]

T = TypeVar("T")


def transaction(engine: Engine, work: Callable[[Connection], T], patience: float) -> Callable[[Call[T]], T]:
    """An exchange in a transaction of its own, for a `Bounded`; given up, it lets its connection go."""

    def whole(call: Call[T]) -> T:
        with engine.begin() as connection:
            driver = connection.connection.dbapi_connection
            with call.on(functools.partial(_hang_up, driver)), _busy(connection, patience):
                return work(connection)

    return whole


def _hang_up(driver: Any) -> None:
    """End what a connection waits for; else one that died without a word keeps its place in the pool."""
    fileno = getattr(driver, "fileno", None)  # SQLite has none, and does not wait for long
    if fileno is not None:
        with socket.socket(fileno=os.dup(fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _busy(connection: Connection, patience: float) -> Iterator[None]:
    """SQLite waits for other writers by itself; not longer than anyone waits for it."""
    if connection.dialect.name != "sqlite":
        yield
        return
    before = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    connection.exec_driver_sql(f"PRAGMA busy_timeout={int(patience * 1000)}")
    try:
        yield
    finally:
        with contextlib.suppress(sa.exc.SQLAlchemyError):
            connection.exec_driver_sql(f"PRAGMA busy_timeout={before}")
