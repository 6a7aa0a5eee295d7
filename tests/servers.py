"""Real programs on loopback, for tests: started, awaited, and ended by their own process id.

Output goes to a file, so that no pipe can fill up and block a server.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02


class ServerError(Exception):
    """A program ended, or never listened; the text holds what it printed."""


class Server:
    """A program that listens on loopback.

    Args:
        port: Where.
        process: The program; with its children it is a process group of its own.
        log: Where its stdout and stderr go.
    """

    def __init__(self, port: int, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._process = process
        self._log = log

    def output(self) -> str:
        """All that it has printed so far."""
        log = self._log.fileno()
        return os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")  # the offset is the program's own

    def _await_port(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if self._process.poll() is not None:
                raise ServerError(f"{self._process.args!r} ended ({self._process.returncode}):\n{self.output()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self._process.args!r} does not listen on {self.port}:\n{self.output()}")
            time.sleep(POLL_SECONDS)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
            return self._process.poll() is None  # else it is someone else who listens there
        return False

    def _stop(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):  # what it left behind, or itself where it would not end
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    argv: Sequence[str | os.PathLike[str]],
    *,
    port: int,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> Iterator[Server]:
    """Run a program until closed; entered once its port accepts connections.

    Args:
        argv: The program and its arguments.
        port: Where it will listen on 127.0.0.1.
        env: Put over this process's own environment.
        cwd: The repository's root by default.

    Raises:
        ServerError: It ended, or did not listen in time.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [os.fspath(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=ROOT if cwd is None else cwd,
            start_new_session=True,
        )
        server = Server(port, process, log)
        try:
            server._await_port()
            yield server
        finally:
            server._stop()


def uvicorn_server(target: str, *options: str, env: Mapping[str, str] | None = None) -> AbstractContextManager[Server]:
    """Serve an ASGI app, `module:name`, by uvicorn."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", target, "--host", "127.0.0.1", "--port", str(port)]
    return running([*command, *options], port=port, env=env)


def gunicorn_server(target: str, *options: str, env: Mapping[str, str] | None = None) -> AbstractContextManager[Server]:
    """Serve a WSGI app, `module:name`, by gunicorn: one worker, four threads.

    The app is loaded before the port opens and before the fork, so a bad app fails at once, and what it
    made at import has to survive the fork.
    """
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", target, "--bind", f"127.0.0.1:{port}", "--preload"]
    settings = ["--workers", "1", "--threads", "4", "--graceful-timeout", "2"]
    settings += ["--no-control-socket"]  # it is one for all of a user's gunicorns, in their home
    return running([*command, *settings, *options], port=port, env=env)


SERVERS: dict[str, Callable[..., AbstractContextManager[Server]]] = {"asgi": uvicorn_server, "wsgi": gunicorn_server}
"""By the interface that the target speaks."""


def need(tool: str | Path, command: str) -> None:
    """Skip the test unless a program (a name) or a directory (a Path) is there; under CI=true, fail it.

    Args:
        tool: What the test cannot do without.
        command: What brings it.
    """
    is_there = tool.exists() if isinstance(tool, Path) else shutil.which(tool) is not None
    if not is_there:
        missing(str(tool), command)


def missing(tool: str, command: str) -> NoReturn:
    """Skip the test for want of something, or under CI=true fail it."""
    text = f"{tool} is missing; get it by: {command}"
    if os.environ.get("CI") == "true":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)
