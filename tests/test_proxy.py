"""Proxies of the environment, with trust_env=True alone: real CONNECT tunnels between loopback servers."""

from __future__ import annotations

import base64
import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from graphql_authkit import Fetched, JWTVerifier, RemoteJWKS
from graphql_authkit._http import FetchError, StandardFetcher
from graphql_authkit.errors import AuthError, KeysUnavailable
from graphql_authkit.events import Event, KeysFetched, KeysFetchFailed
from graphql_authkit.testing import LocalIssuer
from tests.support import AUDIENCE, Driver, key, refused
from tests.test_remote_keys import serving, tls_server

DEADLINE = 10.0
NAMES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")
USER, SECRET = "robot", "s3cret"
PAIR = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()

Serve = Callable[[socket.socket, str], None]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


class Proxy:
    """A CONNECT proxy that listens. It notes the requests it reads; `serve` does the rest with each connection."""

    def __init__(self, serve: Serve, server: socket.socket) -> None:
        self.serve = serve
        self.address = f"127.0.0.1:{server.getsockname()[1]}"
        self.asked: list[str] = []
        self.met: queue.Queue[str] = queue.Queue()
        self.cut = threading.Event()
        self._server = server
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self._connections.append(connection)
                thread = threading.Thread(target=self._meet, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _meet(self, connection: socket.socket) -> None:
        request = b""
        with contextlib.suppress(OSError):
            while not request.endswith(b"\r\n\r\n"):
                byte = connection.recv(1)
                if not byte:
                    break
                request += byte
            self.asked.append(request.decode("latin-1"))
            self.met.put(self.asked[-1])
            self.serve(connection, self.asked[-1])
        self.cut.set()
        connection.close()

    def end(self) -> None:
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()


def tunnel(connection: socket.socket, request: str) -> None:
    """What a good proxy does."""
    host, _, port = request.split()[1].rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=DEADLINE) as target:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\nVia: a proxy\r\n\r\n")
        back = threading.Thread(target=pump, args=(target, connection), daemon=True)
        back.start()
        pump(connection, target)
        back.join(DEADLINE)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def saying(*parts: bytes) -> Serve:
    def serve(connection: socket.socket, _request: str) -> None:
        for part in parts:
            connection.sendall(part)

    return serve


def dripping(start: bytes, drop: bytes) -> Serve:
    def serve(connection: socket.socket, _request: str) -> None:
        connection.sendall(start)
        pause = threading.Event()
        while not pause.wait(0.01):
            connection.sendall(drop)

    return serve


def talking(connection: socket.socket, _request: str) -> None:
    """Endlessly."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-Filler: " + b"x" * 1000 + b"\r\n")


def silent(connection: socket.socket, _request: str) -> None:
    connection.recv(1)


@contextmanager
def proxying(serve: Serve = tunnel) -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = Proxy(serve, server)
        thread = threading.Thread(target=proxy.run, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE)
            proxy.end()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A good one, named by HTTPS_PROXY."""
    with proxying() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        yield proxy


@pytest.fixture
def issuer() -> LocalIssuer:
    return LocalIssuer("https://idp.test/", audience=AUDIENCE, key=key())


def verifier(keys: RemoteJWKS, issuer: LocalIssuer) -> JWTVerifier:
    return JWTVerifier(keys=keys, issuer=issuer.issuer, audience=AUDIENCE)


def through(proxy_url: str, monkeypatch: pytest.MonkeyPatch, url: str = "https://idp.test/", **bounds: Any) -> Fetched:
    monkeypatch.setenv("HTTPS_PROXY", proxy_url)
    bounds = {"headers": {}, "timeout": 5.0, "max_bytes": 65_536, **bounds}
    return StandardFetcher(trust_env=True)(url, **bounds)


# ----------------------------------------------------------------------------------- a good proxy


def test_with_trust_env_the_keys_come_through_the_proxy(
    tmp_path: Path, proxy: Proxy, issuer: LocalIssuer, drive: Driver
) -> None:
    with tls_server(tmp_path) as (url, trust), RemoteJWKS(url, ssl_context=trust, trust_env=True) as keys:
        assert drive(verifier(keys, issuer), "verify", issuer.token()).subject == "user-1"
        at = url.removeprefix("https://").removesuffix("/jwks")
    assert proxy.asked == [f"CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\n"]


def test_each_fetch_has_a_tunnel_of_its_own(tmp_path: Path, proxy: Proxy) -> None:
    with tls_server(tmp_path) as (url, trust), RemoteJWKS(url, ssl_context=trust, trust_env=True) as keys:
        for _ in range(3):
            flight = keys.refresh()
            assert flight is not None
            flight.result(DEADLINE)
    assert len(proxy.asked) == 3


def test_without_trust_env_there_is_no_proxy(tmp_path: Path, proxy: Proxy, issuer: LocalIssuer) -> None:
    with tls_server(tmp_path) as (url, trust), RemoteJWKS(url, ssl_context=trust) as keys:
        assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"
    assert proxy.asked == []


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize("scheme", ["http://", "HTTP://", ""])
def test_the_proxy_is_named_in_either_case_with_or_without_a_scheme(
    tmp_path: Path, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    with proxying() as proxy, tls_server(tmp_path) as (url, trust):
        monkeypatch.setenv(name, scheme + proxy.address)
        with RemoteJWKS(url, ssl_context=trust, trust_env=True) as keys:
            assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("value", ["127.0.0.1", "*", "idp.test, 127.0.0.1", " 127.0.0.1 ,"])
def test_no_proxy_is_honoured(
    tmp_path: Path, proxy: Proxy, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with tls_server(tmp_path) as (url, trust), RemoteJWKS(url, ssl_context=trust, trust_env=True) as keys:
        assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"
    assert proxy.asked == []


@pytest.mark.parametrize("value", ["idp.test", "127.0.0.2", "7.0.0.1", "", "127.0.0.1.evil.test"])
def test_no_proxy_is_for_the_hosts_that_it_names(
    tmp_path: Path, proxy: Proxy, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("NO_PROXY", value)
    with tls_server(tmp_path) as (url, trust), RemoteJWKS(url, ssl_context=trust, trust_env=True) as keys:
        assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_no_other_variable_names_a_proxy(
    tmp_path: Path, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    with tls_server(tmp_path) as (url, trust), RemoteJWKS(url, ssl_context=trust, trust_env=True) as keys:
        assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"


def test_plain_http_goes_through_no_proxy(proxy: Proxy, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    with serving() as web, RemoteJWKS(web.url + "/jwks", trust_env=True) as keys:
        web.json("/jwks", issuer.jwks())
        assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"
    assert proxy.asked == []


def test_the_tunnel_is_only_a_way_the_issuers_certificate_still_counts(
    tmp_path: Path, proxy: Proxy, issuer: LocalIssuer
) -> None:
    with tls_server(tmp_path) as (url, _), RemoteJWKS(url, trust_env=True) as keys:
        error = refused(verifier(keys, issuer).verify, issuer.token())
    assert (type(error), "CERTIFICATE_VERIFY_FAILED" in error.detail) == (KeysUnavailable, True)
    assert len(proxy.asked) == 1


def test_the_issuers_headers_are_not_for_the_proxy(tmp_path: Path, proxy: Proxy) -> None:
    with (
        tls_server(tmp_path) as (url, trust),
        RemoteJWKS(url, ssl_context=trust, trust_env=True, headers={"X-Api-Key": "k3y"}) as keys,
    ):
        keys.warm()
    assert "k3y" not in proxy.asked[0]


def test_metadata_comes_through_the_proxy_too(tmp_path: Path, proxy: Proxy, drive: Driver) -> None:
    with tls_server(tmp_path) as (url, trust):
        issuer = url.removesuffix("/jwks")  # whose metadata names no issuer: it gets that far, and no farther
        with RemoteJWKS.from_issuer(issuer, ssl_context=trust, trust_env=True) as keys:
            assert "is the document of issuer" in drive.error(keys, "warm").detail
    assert len(proxy.asked) == 1


def test_a_host_that_only_the_proxy_can_resolve_is_asked_for_by_name(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.serve = saying(b"HTTP/1.1 502 no such host\r\n\r\n")
    for url, at in (
        ("https://idp.internal/jwks", "idp.internal:443"),
        ("https://idp.internal:8443/jwks", "idp.internal:8443"),
        ("https://[2001:db8::1]/jwks", "[2001:db8::1]:443"),
    ):
        with pytest.raises(FetchError):
            through(proxy.url, monkeypatch, url)
        assert proxy.asked[-1] == f"CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\n"


# -------------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("userinfo", "pair"),
    [
        (f"{USER}:{SECRET}", f"{USER}:{SECRET}"),
        (USER, f"{USER}:"),
        (f"{USER}:", f"{USER}:"),
        ("a%40b:p%3Aw%2F%25", "a@b:p:w/%"),
        ("%C3%A9:%E2%82%AC", "é:€"),
    ],
)
def test_the_credentials_in_its_url_are_for_the_proxy(
    monkeypatch: pytest.MonkeyPatch, userinfo: str, pair: str
) -> None:
    with proxying(saying(b"HTTP/1.1 403 no\r\n\r\n")) as proxy, pytest.raises(FetchError):
        through(f"http://{userinfo}@{proxy.address}", monkeypatch)
    line = f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}"
    assert proxy.asked[0].split("\r\n")[2:] == [line, "", ""]


def test_with_credentials_the_keys_come_and_the_issuer_never_sees_them(
    tmp_path: Path, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def guarded(connection: socket.socket, request: str) -> None:
        if f"Proxy-Authorization: Basic {PAIR}\r\n" in request:
            tunnel(connection, request)
        else:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    with proxying(guarded) as proxy, tls_server(tmp_path) as (url, trust):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}:{SECRET}@{proxy.address}")
        with RemoteJWKS(url, ssl_context=trust, trust_env=True) as keys:
            assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"
        monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}:wrong@{proxy.address}")
        with RemoteJWKS(url, ssl_context=trust, trust_env=True) as keys:
            assert "407" in refused(keys.warm).detail


def nobody() -> str:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


UNUSABLE: dict[str, Callable[[], str]] = {
    "nobody there": lambda: f"http://{USER}:{SECRET}@{nobody()}",
    "socks": lambda: f"socks5://{USER}:{SECRET}@{nobody()}",
    "https": lambda: f"https://{USER}:{SECRET}@{nobody()}",
    "no port": lambda: f"http://{USER}:{SECRET}@127.0.0.1:{SECRET}",
    "a port too high": lambda: f"http://{USER}:{SECRET}@127.0.0.1:99999",
    "no host": lambda: f"http://{USER}:{SECRET}@",
    "a slash in the password": lambda: f"http://{USER}:/{SECRET}@127.0.0.1",
    "brackets": lambda: f"http://{USER}:{SECRET}@[::1",
    "an unresolvable name": lambda: f"http://{USER}:{SECRET}@{'x' * 64}.test:1",
    "a name of other letters": lambda: f"http://{USER}:{SECRET}@\u0131\u0307.test:{SECRET}",
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_proxy_that_cannot_be_used_is_one_clear_failure_and_shows_no_credentials(
    issuer: LocalIssuer,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    drive: Driver,
) -> None:
    told: queue.Queue[Event] = queue.Queue()
    monkeypatch.setenv("HTTPS_PROXY", UNUSABLE[name]())
    with RemoteJWKS("https://idp.test/jwks", trust_env=True, timeout=2, on_event=told.put) as keys:
        error = drive.error(verifier(keys, issuer), "verify", issuer.token())
        event = told.get(timeout=DEADLINE)
        shown = repr((error, error.detail, event, keys, keys.health())) + caplog.text
    assert (type(error), type(event)) == (KeysUnavailable, KeysFetchFailed)
    assert [secret for secret in (SECRET, PAIR, USER) if secret in shown] == []


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "https", "ftp"])
def test_a_proxy_of_another_kind_is_named_as_the_reason(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FetchError, match=r"^HTTPS_PROXY must be http://host:port$"):
        through(f"{scheme}://127.0.0.1:1080", monkeypatch)


def test_what_went_well_is_told_without_credentials(
    tmp_path: Path, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: queue.Queue[Event] = queue.Queue()
    with proxying() as proxy, tls_server(tmp_path) as (url, trust):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}:{SECRET}@{proxy.address}")
        with RemoteJWKS(url, ssl_context=trust, trust_env=True, on_event=told.put) as keys:
            keys.warm()
            event = told.get(timeout=DEADLINE)
            assert isinstance(event, KeysFetched)
            assert SECRET not in repr((event, keys, keys.health()))


# ------------------------------------------------------------------------------------- a bad proxy

REFUSALS: dict[str, tuple[bytes, str]] = {
    "407": (b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n", "refused: .*407"),
    "403": (b"HTTP/1.0 403 Forbidden\r\n\r\n", "refused: .*403"),
    "502": (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "refused: .*502"),
    "a redirect": (b"HTTP/1.1 302 Found\r\nLocation: https://evil.test/\r\n\r\n", "refused: .*302"),
    "a page": (b"HTTP/1.1 200 OK\r\n\r\n<html>", "^SSL"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.0\r\n\r\n", "refused"),
    "a prefix": (b"XHTTP/1.1 200 OK\r\n\r\n", "refused"),
    "2000": (b"HTTP/1.1 2000 OK\r\n\r\n", "refused"),
    "HTTP/2": (b"HTTP/2 200 OK\r\n\r\n", "refused"),
    "nothing": (b"", "closed"),
    "half a line": (b"HTTP/1.1 200", "closed"),
    "no blank line": (b"HTTP/1.1 200 OK\r\n", "closed"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_proxy_that_does_not_agree_is_a_failure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, reason = REFUSALS[name]
    with proxying(saying(answer)) as proxy, pytest.raises(FetchError, match=reason):
        through(proxy.url, monkeypatch)


def test_what_a_proxy_says_cannot_write_lines_into_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxying(saying(b"HTTP/1.1 403 a\rb\nc\x1b[31m\xff\r\n\r\n")) as proxy, pytest.raises(FetchError) as caught:
        through(proxy.url, monkeypatch)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "serve",
    [
        silent,
        dripping(b"", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"\x16"),  # and then in the handshake
        dripping(b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03\x3f\xff", b"\x00"),
    ],
    ids=["silent", "drip", "drip of a field", "drip in the handshake", "drip of a record"],
)
def test_a_slow_proxy_cannot_outlive_the_deadline(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxying(serve) as proxy:
        begun = time.monotonic()
        with pytest.raises(FetchError):
            through(proxy.url, monkeypatch, timeout=0.2)
        took = time.monotonic() - begun
        assert (took < 2, proxy.cut.wait(DEADLINE)) == (True, True)


def test_a_proxy_that_talks_endlessly_is_cut_off_after_8_kib(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxying(talking) as proxy:
        with pytest.raises(FetchError, match="said too much"):
            through(proxy.url, monkeypatch, timeout=DEADLINE)
        assert proxy.cut.wait(DEADLINE)


def test_after_its_answer_not_one_byte_of_the_tunnel_is_swallowed(
    tmp_path: Path, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer comes in pieces, and what follows at once is TLS's."""

    def in_pieces(connection: socket.socket, request: str) -> None:
        with socket.create_connection(("127.0.0.1", int(request.split()[1].rpartition(":")[2]))) as target:
            for byte in b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n":
                connection.sendall(bytes([byte]))
            back = threading.Thread(target=pump, args=(target, connection), daemon=True)
            back.start()
            pump(connection, target)
            back.join(DEADLINE)

    with proxying(in_pieces) as proxy, tls_server(tmp_path) as (url, trust):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with RemoteJWKS(url, ssl_context=trust, trust_env=True) as keys:
            assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"


@pytest.mark.parametrize(
    "serve",
    [silent, dripping(b"HTTP/1.1 200 OK\r\n", b"x"), dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"")],
    ids=["silent", "drip", "handshake"],
)
def test_closing_ends_an_exchange_with_a_proxy_and_whoever_waits_for_it(
    serve: Serve, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxying(serve) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        keys = RemoteJWKS("https://idp.test/jwks", trust_env=True, timeout=60)
        errors: queue.Queue[AuthError] = queue.Queue()
        waiter = threading.Thread(target=lambda: errors.put(refused(verifier(keys, issuer).warm)), daemon=True)
        waiter.start()
        proxy.met.get(timeout=DEADLINE)
        begun = time.monotonic()
        keys.close()
        took = time.monotonic() - begun
        assert type(errors.get(timeout=DEADLINE)) is KeysUnavailable
        assert took < 5
        waiter.join(DEADLINE)


def test_a_proxy_that_echoes_the_credentials_does_not_bring_them_into_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first 40 bytes of its answer are shown; its status would say as much."""

    def echo(connection: socket.socket, request: str) -> None:
        connection.sendall(b"HTTP/1.1 407 bad " + PAIR.encode() + b"\r\n\r\n")

    with proxying(echo) as proxy, pytest.raises(FetchError) as caught:
        through(f"http://{USER}:{SECRET}@{proxy.address}", monkeypatch)
    assert PAIR not in str(caught.value)


def test_no_proxy_with_a_port_is_honoured(
    tmp_path: Path, proxy: Proxy, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """urllib itself asks for host:port, and NO_PROXY=host:port matches there."""
    with tls_server(tmp_path) as (url, trust), RemoteJWKS(url, ssl_context=trust, trust_env=True) as keys:
        monkeypatch.setenv("NO_PROXY", url.removeprefix("https://").removesuffix("/jwks"))
        assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"
    assert proxy.asked == []


def test_any_2xx_opens_the_tunnel(tmp_path: Path, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9110, section 9.3.6: "Any 2xx (Successful) response"."""

    def serve(connection: socket.socket, request: str) -> None:
        with socket.create_connection(("127.0.0.1", int(request.split()[1].rpartition(":")[2]))) as target:
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            back = threading.Thread(target=pump, args=(target, connection), daemon=True)
            back.start()
            pump(connection, target)
            back.join(DEADLINE)

    with proxying(serve) as proxy, tls_server(tmp_path) as (url, trust):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with RemoteJWKS(url, ssl_context=trust, trust_env=True) as keys:
            assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"
