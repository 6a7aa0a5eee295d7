"""One transaction on somebody's engine, that keeps nothing of it for longer than anyone waits."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .bounded import Call

try:
    import sqlalchemy as sa
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
except ImportError as error:
    raise ImportError("stores in a database need: pip install 'graphql-authkit[sql]'") from error

__all__ = ["AsyncTransaction", "patient", "transaction"]

T = TypeVar("T")

_this_thread = threading.local()


def transaction(engine: Engine, work: Callable[[Connection], T], patience: float) -> Callable[[Call[T]], T]:
    """An exchange in a transaction of its own, for a `Bounded`; given up, it lets its connection go."""

    def whole(call: Call[T]) -> T:
        with _connecting(engine, patience):
            connection = engine.connect()
        with connection:
            driver = connection.connection.driver_connection
            with call.on(functools.partial(_hang_up, driver), lost=connection.invalidate), connection.begin():
                return work(connection)

    return whole


class AsyncTransaction:
    """The same on asyncio, to be run as a task.

    Args:
        engine: Somebody's.
        work: What is done in the transaction.
    """

    def __init__(self, engine: AsyncEngine, work: Callable[[Connection], T]) -> None:
        self._engine = engine
        self._work: Callable[[Connection], Any] = work
        self._driver: Any = None
        self._is_given_up = False

    async def run(self) -> Any:
        """Do it."""
        async with self._engine.connect() as connection:
            try:
                self._driver = (await connection.get_raw_connection()).driver_connection
                async with connection.begin():
                    return await connection.run_sync(self._work)
            finally:
                await self._let_go(connection)

    def give_up(self) -> bool:
        """Let the connection go; whether that ends the task soon, so that it need not be cancelled.

        To cancel a query drivers ask the server, and wait for it: not where it may have died without a word.
        """
        self._is_given_up = True
        return self._driver is not None and _hang_up(self._driver)

    async def _let_go(self, connection: AsyncConnection) -> None:
        self._driver = None
        if self._is_given_up and not connection.invalidated:
            await connection.invalidate()


def patient(work: Callable[[Connection], T], patience: float) -> Callable[[Connection], T]:
    """Work for which the database waits for other writers no longer than anyone waits for it."""

    def whole(connection: Connection) -> T:
        if connection.dialect.name == "postgresql":  # whose server would wait on when the connection is gone
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, int(patience * 1000))}")
        with _busy(connection, patience):
            return work(connection)

    return whole


def _hang_up(driver: Any) -> bool:
    """End what a connection waits for; else one that died without a word keeps its place in the pool."""
    fileno = getattr(driver, "fileno", None)  # SQLite has none, and does not wait for long
    if fileno is None:
        return False
    with contextlib.suppress(Exception), socket.socket(fileno=os.dup(fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
    return True


@contextlib.contextmanager
def _connecting(engine: Engine, patience: float) -> Iterator[None]:
    """A connection that is being made cannot be ended; that of psycopg can be told how long it may take."""
    if not sa.event.contains(engine, "do_connect", _limit):
        sa.event.listen(engine, "do_connect", _limit)
    _this_thread.patience = patience
    try:
        yield
    finally:
        _this_thread.patience = None


def _limit(dialect: Any, _record: object, _given: object, settings: dict[str, Any]) -> None:
    patience = getattr(_this_thread, "patience", None)
    if patience is not None and dialect.driver in ("psycopg", "psycopg2"):
        settings.setdefault("connect_timeout", max(2, math.ceil(patience)))  # libpq takes no less


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
