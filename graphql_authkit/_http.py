"""One bounded HTTP GET by the standard library, and the rule for URLs that may be fetched.

No redirects, cookies, proxies or decompression; a cap on the body and one deadline over the whole
exchange. Blocking: a key source calls it in a thread of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from .errors import ConfigurationError

__all__ = ["FetchError", "Fetched", "Fetcher", "StandardFetcher", "check_url", "is_loopback"]


class FetchError(Exception):
    """The document could not be had; the text says why and is fit for a log."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a server answered.

    Args:
        status: The HTTP status.
        headers: Field names in lower case.
        body: Not longer than the `max_bytes` asked for.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Fetcher(Protocol):
    """How documents are fetched; replace it to use an HTTP client of your own.

    It is called in a thread of the key source, so it may block. It must not follow redirects.
    """

    def __call__(self, url: str, *, headers: Mapping[str, str], timeout: float, max_bytes: int) -> Fetched:
        """GET a document.

        Args:
            url: Already checked: https, or http where that was allowed.
            headers: Sent along.
            timeout: Seconds for the whole exchange.
            max_bytes: The longest body to read.

        Raises:
            Exception: Any; it becomes KeysUnavailable.
        """
        ...  # pragma: no cover


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str, *, allow_http: bool) -> str:
    """Return the URL if it may be fetched: https, or http on loopback, or http where that is allowed.

    Raises:
        ConfigurationError: Any other scheme, no host, or credentials or a fragment in it.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"not a URL: {url!r:.200}") from error
    if not host or parts.username is not None or parts.fragment or not url.isascii() or not url.isprintable():
        raise ConfigurationError(f"not a plain https URL: {url!r:.200}")
    if parts.scheme == "https" or (parts.scheme == "http" and (allow_http or is_loopback(host))):
        return url
    raise ConfigurationError(f"{url!r:.200} must be https (http on loopback, or with insecure_allow_http=True)")


class StandardFetcher:
    """The default Fetcher: `http.client`, one TLS context for life, made when first needed.

    Args:
        ssl_context: Instead of `ssl.create_default_context()`.
    """

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl_context = ssl_context

    def __call__(self, url: str, *, headers: Mapping[str, str], timeout: float, max_bytes: int) -> Fetched:
        """GET a document; see Fetcher.

        Raises:
            FetchError: No answer in time, a body too long, an encoding that was not asked for.
        """
        watchdog = _Watchdog(timeout)
        try:
            fetched = _get(self._connect(url, timeout, watchdog), url, headers, max_bytes)
            watchdog.check()
            return fetched
        except (FetchError, OSError, http.client.HTTPException, ValueError, RuntimeError) as error:
            if watchdog.expired:
                raise FetchError(f"no answer within {timeout:g} s") from error
            if isinstance(error, FetchError):
                raise
            raise FetchError(f"{type(error).__name__}: {error}") from error
        finally:
            watchdog.close()

    def _connect(self, url: str, timeout: float, watchdog: _Watchdog) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "http":
            connection = http.client.HTTPConnection(host, parts.port)
            connection.sock = watchdog.watch(socket.create_connection((host, connection.port), timeout))
            return connection
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, parts.port, context=self._ssl_context)
        raw = socket.create_connection((host, connection.port), timeout)
        # The handshake waits for the watchdog to hold the socket that will do it.
        secure = self._ssl_context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
        connection.sock = watchdog.watch(secure)
        secure.do_handshake()
        return connection


class _Watchdog:
    """Cuts a socket when time is up: a server that drips a byte a second outlives a socket's own timeout."""

    def __init__(self, timeout: float) -> None:
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self.expired = False
        self._timer = threading.Timer(timeout, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, sock: socket.socket) -> socket.socket:
        with self._lock:
            self._sock = sock
        self.check()
        return sock

    def check(self) -> None:
        if self.expired:
            raise TimeoutError

    def close(self) -> None:
        self._timer.cancel()
        with self._lock:
            if self._sock is not None:
                self._sock.close()

    def _cut(self) -> None:
        with self._lock:
            self.expired = True
            if self._sock is not None:
                with contextlib.suppress(OSError):  # it was closed in the meantime
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)


def _get(connection: http.client.HTTPConnection, url: str, headers: Mapping[str, str], max_bytes: int) -> Fetched:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "graphql-authkit"}
    connection.request("GET", target, headers={**fields, **headers})
    response = connection.getresponse()
    encoding = response.getheader("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise FetchError(f"an encoding that was not asked for: {encoding[:40]}")
    body = response.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise FetchError(f"the body is longer than {max_bytes} bytes")
    if response.length:  # a read of a given size does not complain about the bytes that never came
        raise FetchError("the body was cut short")
    return Fetched(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
