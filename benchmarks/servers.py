"""Programs on loopback for benchmarks: started, awaited, and ended by their own process id; and an issuer as one.

`python -m benchmarks.servers PORT` is that issuer: it publishes the key set it was given, and behaves as it is told.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
START_SECONDS, STOP_SECONDS = 20.0, 5.0


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(argv: Sequence[str | os.PathLike[str]], port: int, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run a program until closed; entered, with its process id, once its port accepts connections.

    Args:
        argv: The program and its arguments.
        port: Where it will listen on loopback.
        env: Put over this process's own environment.
    """
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={**os.environ, **(env or {})}
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{argv} does not listen on {port}")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
        return True
    return False


class Issuer:
    """What a benchmark knows of the issuer's process.

    Args:
        port: Where it listens.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.url = f"http://{HOST}:{port}/jwks.json"

    def behave(self, keys: Sequence[Mapping[str, Any]], *, status: int = 200, seconds: float = 0.0) -> None:
        """From now on answer so, after so many seconds; the count begins anew."""
        self._ask("POST", json.dumps({"status": status, "seconds": seconds, "document": {"keys": keys}}))

    def fetches(self) -> int:
        """How often its key set was asked for since then."""
        return int(self._ask("PUT"))

    def _ask(self, method: str, body: str | None = None) -> bytes:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=10)
        connection.request(method, "/", body)
        answer = connection.getresponse().read()
        connection.close()
        return answer


@contextmanager
def issuer(keys: Sequence[Mapping[str, Any]]) -> Iterator[Issuer]:
    """An issuer in a process of its own, which publishes these keys, until closed."""
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.servers", str(port)], port):
        found = Issuer(port)
        found.behave(keys)
        yield found


class _Handler(BaseHTTPRequestHandler):
    lock = threading.Lock()
    fetches = 0
    behaviour: dict[str, Any]

    def do_GET(self) -> None:
        with self.lock:
            _Handler.fetches += 1
        behaviour = _Handler.behaviour
        time.sleep(behaviour["seconds"])
        self._answer(behaviour["status"], json.dumps(behaviour["document"]).encode())

    def do_POST(self) -> None:
        _Handler.behaviour = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        _Handler.fetches = 0
        self._answer(200, b"")

    def do_PUT(self) -> None:
        self._answer(200, str(_Handler.fetches).encode())

    def _answer(self, status: int, body: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # who asked may have given up
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_args: object) -> None: ...


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


if __name__ == "__main__":
    _Server((HOST, int(sys.argv[1])), _Handler).serve_forever()
