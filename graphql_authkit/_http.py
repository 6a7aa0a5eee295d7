"""One bounded HTTP GET by the standard library, and the rule for URLs that may be fetched.

No redirects, cookies, proxies or decompression; a cap on the body and one deadline over the whole
exchange. Blocking: a key source calls it in a thread of its own.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from .errors import ConfigurationError

_URL = re.compile(r"[\x21-\x7e]+")
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"(?![ \t])[\t\x20-\x7e\xa0-\xff]*(?<![ \t])")

MAX_TUNNEL_ANSWER = 8192

__all__ = [
    "FetchError",
    "Fetched",
    "Fetcher",
    "StandardFetcher",
    "check_headers",
    "check_url",
    "fetch_document",
    "is_same_origin",
    "shown_url",
]


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


def _is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def fetch_document(fetch: Fetcher, url: str, *, headers: Mapping[str, str], timeout: float, max_bytes: int) -> Fetched:
    """Call a Fetcher and hold it to its bounds.

    Raises:
        FetchError: Whatever it raised, or a body over the bound; the text names the URL.
    """
    try:
        answer = fetch(url, headers=headers, timeout=timeout, max_bytes=max_bytes)
    except FetchError as error:
        raise FetchError(f"{shown_url(url)}: {error}") from error
    except Exception as error:
        raise FetchError(f"{shown_url(url)}: {type(error).__name__}") from error
    if not isinstance(answer, Fetched) or len(answer.body) > max_bytes:
        raise FetchError(f"{shown_url(url)}: no Fetched of at most {max_bytes} bytes")
    return answer


def check_url(url: str, *, allow_http: bool) -> str:
    """Return the URL if it may be fetched: https, or http on loopback, or http where that is allowed.

    Raises:
        ConfigurationError: Any other scheme, no host, or credentials or a fragment in it.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except (ValueError, TypeError, AttributeError):
        raise ConfigurationError("not a URL") from None
    if not isinstance(url, str) or not host or not _URL.fullmatch(url):
        raise ConfigurationError("not a plain https URL")
    if parts.username is not None or parts.fragment:
        raise ConfigurationError("a URL of keys has no user, password or fragment: send credentials by headers=")
    if parts.scheme == "https" or (parts.scheme == "http" and (allow_http or _is_loopback(host))):
        return url
    raise ConfigurationError(f"{shown_url(url)} must be https (http on loopback, or with insecure_allow_http=True)")


def is_same_origin(url: str, other: str) -> bool:
    """Whether two URLs have scheme, host and port in common (RFC 6454, section 5)."""
    return _origin(url) == _origin(other)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def shown_url(url: str) -> str:
    """A URL as logs and errors may show it: without its query, which can hold a key."""
    return url.partition("?")[0][:200]


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the header fields if they can be sent. Errors name the field and never show its value.

    Raises:
        ConfigurationError: A name that is no token, or a value with a line break or beyond Latin-1.
    """
    for name, value in headers.items():
        if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name):
            raise ConfigurationError("headers= has a name that is no header field's")
        if not isinstance(value, str) or not _FIELD_VALUE.fullmatch(value):
            raise ConfigurationError(f"headers= has a value for {name} that no header field can hold")
    return dict(headers)


class StandardFetcher:
    """The default Fetcher: `http.client`, one TLS context for life, made when first needed.

    Args:
        ssl_context: Instead of `ssl.create_default_context()`.
        trust_env: Fetch https through the proxy that the environment names (HTTPS_PROXY, NO_PROXY).
    """

    def __init__(self, ssl_context: ssl.SSLContext | None = None, *, trust_env: bool = False) -> None:
        self._ssl_context = ssl_context
        self._trust_env = trust_env
        self._running: set[_Watchdog] = set()
        self._is_closed = False
        self._pid = os.getpid()

    def close(self) -> None:
        """Cut every exchange under way."""
        self._is_closed = True
        for watchdog in tuple(self._mine()):
            watchdog.cut()

    def _mine(self) -> set[_Watchdog]:
        """The exchanges of this process: a forked child has its parent's sockets too, and may not touch them."""
        if self._pid != os.getpid():
            self._pid, self._running = os.getpid(), set()
        return self._running

    def __call__(self, url: str, *, headers: Mapping[str, str], timeout: float, max_bytes: int) -> Fetched:
        """GET a document; see Fetcher.

        Raises:
            FetchError: No answer in time, a body too long, an encoding that was not asked for.
        """
        watchdog = _Watchdog(timeout)
        self._mine().add(watchdog)
        if self._is_closed:
            watchdog.cut()
        try:
            fetched = _get(self._connect(url, timeout, watchdog), url, headers, max_bytes)
            watchdog.check()
            return fetched
        except (FetchError, OSError, http.client.HTTPException, ValueError, RuntimeError) as error:
            if watchdog.expired:
                raise FetchError(f"no answer within {timeout:g} s") from error
            if isinstance(error, FetchError):
                raise
            # Only the system's own words: http.client's quote what was sent, and what came.
            words = f": {error}" if isinstance(error, OSError) else ""
            raise FetchError(type(error).__name__ + words) from error
        finally:
            self._running.discard(watchdog)
            watchdog.close()

    def _connect(self, url: str, timeout: float, watchdog: _Watchdog) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        host, is_plain = parts.hostname or "", parts.scheme == "http"
        port = parts.port or (80 if is_plain else 443)
        proxy = _proxy_for(host, port) if self._trust_env and not is_plain else None
        at = (host, port) if proxy is None else (proxy.host, proxy.port)
        raw = _dial(*at, timeout, watchdog)
        connection: http.client.HTTPConnection
        if is_plain:
            connection = http.client.HTTPConnection(host, port)
            connection.sock = raw
            return connection
        if proxy is not None:
            _open_tunnel(raw, host, port, proxy.authorization)
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, context=self._ssl_context)
        # The handshake waits for the watchdog to hold the socket that will do it.
        secure = self._ssl_context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
        connection.sock = watchdog.watch(secure)
        secure.do_handshake()
        return connection


def _dial(host: str, port: int, timeout: float, watchdog: _Watchdog) -> socket.socket:
    """Connect to the first address that answers; all of them together have `timeout` seconds."""
    deadline = time.monotonic() + timeout
    failure: OSError = TimeoutError("no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(remaining)
            watchdog.watch(sock)
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            watchdog.check()
            failure = error
    raise failure


class _Proxy(NamedTuple):
    host: str
    port: int
    authorization: str | None


def _proxy_for(host: str, port: int) -> _Proxy | None:
    """What HTTPS_PROXY says, unless NO_PROXY names the host."""
    url = getproxies_environment().get("https")
    if not url or proxy_bypass(f"{host}:{port}"):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise FetchError("HTTPS_PROXY must be http://host:port")
    secret = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        secret = "Basic " + base64.b64encode(pair.encode()).decode()
    return _Proxy(parts.hostname, parts.port or 80, secret)


def _open_tunnel(sock: socket.socket, host: str, port: int, authorization: str | None) -> None:
    """CONNECT (RFC 9110, section 9.3.6); what the proxy says before the blank line is read byte by byte."""
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    secret = "" if authorization is None else f"Proxy-Authorization: {authorization}\r\n"
    sock.sendall(f"CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n{secret}\r\n".encode("ascii"))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)  # the byte after the blank line is TLS's
        if not byte or len(answer) > MAX_TUNNEL_ANSWER:
            raise FetchError("the proxy closed or said too much")
        answer += byte
    status = re.match(rb"HTTP/1\.[01] ([0-9]{3})\b", answer)
    if status is None or not status[1].startswith(b"2"):  # what else it says may repeat what it was told
        raise FetchError(f"the proxy refused: {'no HTTP' if status is None else status[1].decode()}")


class _Watchdog:
    """Cuts a socket when time is up: a server that drips a byte a second outlives a socket's own timeout."""

    def __init__(self, timeout: float) -> None:
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self.expired = False
        self._timer = threading.Timer(timeout, self.cut)
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
        self._timer.join()
        with self._lock:
            if self._sock is not None:
                self._sock.close()

    def cut(self) -> None:
        """Time is up, or nobody waits any more."""
        with self._lock:
            self.expired = True
            if self._sock is not None:
                try:
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
                except OSError:  # it was closed in the meantime, or is about to connect: then not for long
                    with contextlib.suppress(OSError):
                        self._sock.settimeout(0.001)


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
    received: dict[str, str] = {}
    for name, value in response.getheaders():  # several of one name are one list (RFC 9110, section 5.3)
        known = received.get(name.lower())
        received[name.lower()] = value if known is None else f"{known}, {value}"
    return Fetched(response.status, received, body)
