"""A proxy of the tests' own before a server: it passes, delays, holds, cuts, refuses, corrupts or drips.

One thread for each direction of each connection. Addresses are (host, port), or the path of a Unix socket.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Address = tuple[str, int] | str
JOIN_SECONDS = 5.0


class _Pair:
    """One connection of a client, and the one to the server for it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_lost = False  # held for ever, whatever the proxy does later
        self.is_over = threading.Event()

    def end(self) -> None:
        self.is_over.set()
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Listens, and hands on what it hears in the way that was last asked for.

    Args:
        upstream: The server.
        listen: A path for a Unix socket; by default a free port of 127.0.0.1.
    """

    def __init__(self, upstream: Address, listen: str | None = None) -> None:
        self._upstream = upstream
        self._listener = _socket_for(listen or ("127.0.0.1", 0))
        self._listener.bind(listen or ("127.0.0.1", 0))
        self._listener.listen(256)
        self.address: Address = self._listener.getsockname()
        self._changed = threading.Condition()
        self._pairs: list[_Pair] = []
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self._is_held = False
        self._is_refusing = False
        self._delay = 0.0
        self._drip = 0.0
        self._corrupt: Callable[[bytes], bytes] | None = None
        self._start(self._accept)

    @property
    def port(self) -> int:
        assert isinstance(self.address, tuple)
        return self.address[1]

    @property
    def connections(self) -> int:
        """How many are open."""
        with self._changed:
            return sum(not pair.is_over.is_set() for pair in self._pairs)

    # -------------------------------------------------------------------------------- what it may do

    def heal(self) -> None:
        """Pass everything on, and what was held as well."""
        with self._changed:
            self._is_held = self._is_refusing = False
            self._delay = self._drip = 0.0
            self._corrupt = None
            self._changed.notify_all()

    def hold(self) -> None:
        """A black hole: connections are accepted, and nothing comes through until `heal`."""
        with self._changed:
            self._is_held = True

    def lose(self) -> None:
        """The connections there are hear nothing again, ever, not even their end; new ones pass."""
        with self._changed:
            for pair in self._pairs:
                pair.is_lost = True

    def cut(self) -> None:
        """End the connections there are."""
        with self._changed:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.end()
        with self._changed:
            self._changed.notify_all()

    def refuse(self) -> None:
        """End the connections there are, and every new one at once."""
        self._is_refusing = True
        self.cut()

    def delay(self, seconds: float) -> None:
        """Every piece of the server's words comes so much later."""
        with self._changed:
            self._delay = seconds

    def drip(self, seconds: float) -> None:
        """The server's words come byte by byte, so far apart."""
        with self._changed:
            self._drip = seconds

    def corrupt(self, change: Callable[[bytes], bytes]) -> None:
        """Change the server's words."""
        with self._changed:
            self._corrupt = change

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
            assert not thread.is_alive(), f"{thread.name} does not end"

    # ------------------------------------------------------------------------------------- its work

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="test-proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_refusing:
                client.close()
                continue
            server = _socket_for(self._upstream)
            try:
                server.connect(self._upstream)
            except OSError:
                client.close()
                server.close()
                continue
            pair = _Pair(client, server)
            with self._changed:
                self._pairs = [old for old in self._pairs if not old.is_over.is_set()]
                self._pairs.append(pair)
            self._start(self._pump, pair, client, server, False)
            self._start(self._pump, pair, server, client, True)

    def _pump(self, pair: _Pair, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        try:
            while data := source.recv(65_536):
                self._wait_while_held(pair)
                if is_answer:
                    self._answer(pair, sink, data)
                else:
                    sink.sendall(data)
        except OSError:
            pass
        if not pair.is_lost:
            pair.end()
            with self._changed:
                self._changed.notify_all()

    def _answer(self, pair: _Pair, sink: socket.socket, data: bytes) -> None:
        if self._delay:
            pair.is_over.wait(self._delay)
        if self._corrupt is not None:
            data = self._corrupt(data)
        while data and self._drip:
            sink.sendall(data[:1])
            data = data[1:]
            pair.is_over.wait(self._drip)
        sink.sendall(data)

    def _wait_while_held(self, pair: _Pair) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or pair.is_over.is_set() or not (self._is_held or pair.is_lost)
            )
        if pair.is_over.is_set():
            raise ConnectionAbortedError


def _socket_for(address: Address) -> socket.socket:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


@contextmanager
def proxied(upstream: Address, listen: str | None = None) -> Iterator[Proxy]:
    proxy = Proxy(upstream, listen)
    try:
        yield proxy
    finally:
        proxy.close()


def wait_until(condition: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Wait for a condition, or fail with what it was."""
    deadline = time.monotonic() + seconds
    nobody = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        nobody.wait(0.005)
