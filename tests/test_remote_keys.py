"""RemoteJWKS and discovery, against real HTTP servers on loopback, well and badly behaved."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from graphql_authkit import (
    Authenticator,
    ConfigurationError,
    Fetched,
    JWTVerifier,
    MemoryRevocationStore,
    RemoteJWKS,
    Revocations,
    discover,
)
from graphql_authkit._http import FetchError, StandardFetcher
from graphql_authkit.errors import KeysUnavailable, UnknownKey
from graphql_authkit.events import Event, KeysFetched, KeysFetchFailed, _dangers
from graphql_authkit.testing import LocalIssuer
from tests.support import AUDIENCE, Clock, Driver, key, refused

Answer = Callable[[BaseHTTPRequestHandler], None]


class Web:
    """A real server whose answers a test sets; it notes what it was asked."""

    def __init__(self) -> None:
        self.routes: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.fields: list[dict[str, str]] = []
        self.url = ""

    def json(self, path: str, document: Any, status: int = 200, **fields: str) -> None:
        self.raw(path, json.dumps(document).encode(), status, **fields)

    def raw(self, path: str, body: bytes, status: int = 200, **fields: str) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **fields}.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(body)

        self.routes[path] = answer


@pytest.fixture(autouse=True)
def no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refreshes are due at three quarters of a set's time, and pauses are as long as they are at least."""
    monkeypatch.setattr("graphql_authkit.keys.renewal.random", SimpleNamespace(random=lambda: 0.0))


@contextmanager
def serving() -> Iterator[Web]:
    """A Web that listens, until closed."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append(self.path)
            web.fields.append({name.lower(): value for name, value in self.headers.items()})
            if self.path in web.routes:
                web.routes[self.path](self)
            else:
                self.send_error(404)

        def log_message(self, *_args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as web:
        yield web


@pytest.fixture
def issuer(web: Web) -> LocalIssuer:
    issuer = LocalIssuer(web.url + "/", audience=AUDIENCE, key=key())
    publish(web, issuer)
    return issuer


def publish(web: Web, issuer: LocalIssuer) -> None:
    web.json("/jwks", issuer.jwks())


def remote(web: Web, **options: Any) -> RemoteJWKS:
    return RemoteJWKS(web.url + "/jwks", **options)


def verifier(keys: RemoteJWKS, issuer: LocalIssuer, **options: Any) -> JWTVerifier:
    return JWTVerifier(keys=keys, issuer=issuer.issuer, audience=AUDIENCE, **options)


def settle(subject: JWTVerifier | RemoteJWKS) -> None:
    """Wait until no fetch is under way."""
    keys = subject if isinstance(subject, RemoteJWKS) else subject.keys
    assert isinstance(keys, RemoteJWKS)
    flight = keys._renewal._state.flight
    if flight is not None:
        flight.future.exception(5)


# ---------------------------------------------------------------------------------------- fetching


def test_nothing_is_fetched_before_the_first_use_and_one_set_serves_all(
    web: Web, issuer: LocalIssuer, drive: Driver
) -> None:
    subject = verifier(remote(web), issuer)
    assert web.asked == []
    for number in range(3):
        assert drive(subject, "verify", issuer.token(f"user-{number}")).subject == f"user-{number}"
    assert web.asked == ["/jwks"]


def test_warming_fetches_ahead_of_the_first_request(web: Web, issuer: LocalIssuer, drive: Driver) -> None:
    subject = verifier(remote(web), issuer)
    drive(subject, "warm")
    drive(subject, "warm")
    assert web.asked == ["/jwks"]


def test_a_malformed_token_never_causes_a_fetch(web: Web, issuer: LocalIssuer) -> None:
    subject = verifier(remote(web), issuer, algorithms=["RS256"])
    for token in (
        "",
        "a.b.c",
        "x" * 20_000,
        issuer.token(header={"alg": "none"}),
        issuer.token(header={"alg": "ES256"}),
    ):
        refused(subject.verify, token)
    assert web.asked == []


def test_a_cold_herd_of_threads_makes_one_fetch(web: Web, issuer: LocalIssuer) -> None:
    gate = threading.Event()
    good = web.routes["/jwks"]
    web.routes["/jwks"] = lambda handler: (gate.wait(5), good(handler))[1]
    subject = verifier(remote(web), issuer)
    subjects: list[str] = []
    threads = [
        threading.Thread(target=lambda: subjects.append(subject.verify(issuer.token()).subject)) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert (subjects, web.asked) == (["user-1"] * 16, ["/jwks"])


def test_a_cold_herd_of_tasks_makes_one_fetch_and_never_blocks_the_loop(web: Web, issuer: LocalIssuer) -> None:
    gate = threading.Event()
    good = web.routes["/jwks"]
    web.routes["/jwks"] = lambda handler: (gate.wait(5), good(handler))[1]
    subject = verifier(remote(web), issuer)

    async def main() -> list[str]:
        tasks = [asyncio.create_task(subject.averify(issuer.token())) for _ in range(50)]
        await asyncio.sleep(0)
        gate.set()  # the loop got here while all of them wait
        return [verified.subject for verified in await asyncio.gather(*tasks)]

    assert (asyncio.run(main()), web.asked) == (["user-1"] * 50, ["/jwks"])


def test_a_cancelled_waiter_does_not_cancel_the_fetch_of_the_others(web: Web, issuer: LocalIssuer) -> None:
    gate = threading.Event()
    good = web.routes["/jwks"]
    web.routes["/jwks"] = lambda handler: (gate.wait(5), good(handler))[1]
    subject = verifier(remote(web), issuer)

    async def main() -> str:
        first = asyncio.create_task(subject.averify(issuer.token()))
        second = asyncio.create_task(subject.averify(issuer.token()))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        gate.set()
        return (await second).subject

    assert (asyncio.run(main()), web.asked) == ("user-1", ["/jwks"])


def test_the_set_is_fetched_again_ahead_of_its_end_and_a_dropped_key_no_longer_verifies(
    web: Web, issuer: LocalIssuer, drive: Driver
) -> None:
    clock = Clock(0.0)
    subject = verifier(remote(web, ttl=300, clock=clock), issuer)
    old = issuer.token()
    drive(subject, "verify", old)
    issuer.rotate(key(number=2))
    issuer.retired.clear()
    publish(web, issuer)
    clock.now = 224.9
    assert drive(subject, "verify", old).subject == "user-1"
    settle(subject)
    assert web.asked == ["/jwks"]
    clock.now = 270.0
    assert drive(subject, "verify", old).subject == "user-1"  # nobody waits: this one starts the fetch
    settle(subject)
    assert type(drive.error(subject, "verify", old)) is UnknownKey  # though it was verified and remembered
    assert drive(subject, "verify", issuer.token()).subject == "user-1"


# ----------------------------------------------------------------------------------- unknown kids


def test_a_rotated_key_is_found_even_right_after_an_ordinary_fetch(
    web: Web, issuer: LocalIssuer, drive: Driver
) -> None:
    subject = verifier(remote(web, clock=Clock(0.0)), issuer)
    drive(subject, "verify", issuer.token())
    issuer.rotate(key(number=2))
    publish(web, issuer)
    assert drive(subject, "verify", issuer.token()).subject == "user-1"
    assert web.asked == ["/jwks"] * 2


def test_unknown_kids_cause_a_fetch_each_cooldown_and_one_more_for_a_kid_that_comes_again(
    web: Web, issuer: LocalIssuer, drive: Driver
) -> None:
    clock = Clock(0.0)
    subject = verifier(remote(web, ttl=3000, cooldown=30, clock=clock), issuer)
    drive(subject, "warm")
    invented = 0
    for now, fetches in ((0.0, 2), (29.9, 2), (30.0, 3), (59.0, 3), (60.0, 4)):
        clock.now = now
        for _ in range(5):
            invented += 1
            unknown = issuer.token(header={"kid": f"unknown-{invented}"})
            assert type(drive.error(subject, "verify", unknown)) is UnknownKey
        assert (now, len(web.asked)) == (now, fetches)
    again = issuer.token(header={"kid": "unknown-2"})
    assert type(drive.error(subject, "verify", again)) is UnknownKey
    assert type(drive.error(subject, "verify", again)) is UnknownKey
    assert len(web.asked) == 5


def test_a_flood_of_invented_kids_does_not_hide_a_new_key(web: Web, issuer: LocalIssuer, drive: Driver) -> None:
    subject = verifier(remote(web, clock=Clock(0.0)), issuer)
    drive(subject, "warm")
    for number in range(1000):
        drive.error(subject, "verify", issuer.token(header={"kid": f"invented-{number}"}))
    issuer.rotate(key(number=2))
    publish(web, issuer)
    fresh = issuer.token()
    assert type(drive.error(subject, "verify", fresh)) is UnknownKey  # as any of the thousand might be
    assert drive(subject, "verify", fresh).subject == "user-1"
    assert len(web.asked) == 3


def test_a_token_without_kid_causes_no_fetch_for_unknown_keys(web: Web, issuer: LocalIssuer) -> None:
    subject = verifier(remote(web), issuer)
    subject.warm()
    mallory = issuer.token(without=["kid"], key=key(number=2))
    refused(lambda: subject.verify(mallory))
    assert web.asked == ["/jwks"]


# ---------------------------------------------------------------------------------------- failures

BAD_ANSWERS: dict[str, Callable[[Web], None]] = {
    "404": lambda web: web.json("/jwks", {}, 404),
    "500": lambda web: web.json("/jwks", {}, 500),
    "a redirect": lambda web: web.json("/jwks", {"keys": [key().public_jwk()]}, 302, Location=web.url + "/good"),
    "HTML": lambda web: web.raw("/jwks", b"<html>captive portal</html>"),
    "an empty body": lambda web: web.raw("/jwks", b""),
    "no keys": lambda web: web.json("/jwks", {"keys": []}),
    "no set": lambda web: web.json("/jwks", [key().public_jwk()]),
    "only a secret": lambda web: web.json("/jwks", {"keys": [{"kty": "oct", "k": "c" * 80, "alg": "HS256"}]}),
    "only a private key": lambda web: web.json("/jwks", {"keys": [{**key().public_jwk(), "d": "AQAB"}]}),
    "too many keys": lambda web: web.json("/jwks", {"keys": [key().public_jwk(), *[None] * 100]}),
    "too long": lambda web: web.raw("/jwks", json.dumps({"keys": [key().public_jwk()], "x": "x" * 66_000}).encode()),
    "cut short": lambda web: web.raw("/jwks", b'{"keys":[', Content_Length="5000"),
    "compressed": lambda web: web.raw("/jwks", gzip.compress(b"{}"), Content_Encoding="gzip"),
    "duplicate members": lambda web: web.raw("/jwks", b'{"keys":[],"keys":[]}'),
    "not UTF-8": lambda web: web.raw("/jwks", b"\xff\xfe"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_is_unavailable_and_never_an_invalid_token(
    web: Web, issuer: LocalIssuer, name: str, drive: Driver
) -> None:
    web.json("/good", issuer.jwks())
    BAD_ANSWERS[name](web)
    subject = verifier(remote(web), issuer)
    error = drive.error(subject, "verify", issuer.token())
    assert (type(error), error.status, "/good" in web.asked) == (KeysUnavailable, 503, False)


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_never_replaces_good_keys(web: Web, issuer: LocalIssuer, name: str) -> None:
    subject = verifier(remote(web), issuer)
    subject.warm()
    BAD_ANSWERS[name](web)
    refused(lambda: subject.verify(issuer.token(header={"kid": "unknown"})))
    assert (len(web.asked), subject.verify(issuer.token()).subject) == (2, "user-1")


def test_after_a_failure_there_is_a_pause_that_doubles_up_to_the_cooldown(web: Web, issuer: LocalIssuer) -> None:
    clock = Clock(0.0)
    BAD_ANSWERS["500"](web)
    subject = verifier(remote(web, ttl=300, cooldown=6, clock=clock), issuer)
    token = issuer.token()
    fetches: list[int] = []
    for now in (0.0, 0.5, 1.0, 2.9, 3.0, 6.9, 7.0, 12.9, 13.0, 18.9):
        clock.now = now
        assert type(refused(lambda: subject.verify(token))) is KeysUnavailable
        fetches.append(len(web.asked))
    assert fetches == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    clock.now = 19.0
    publish(web, issuer)
    assert subject.verify(token).subject == "user-1"


def test_nobody_listening_is_unavailable(issuer: LocalIssuer, drive: Driver) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        keys = RemoteJWKS(f"http://127.0.0.1:{taken.getsockname()[1]}/jwks")
        assert type(drive.error(verifier(keys, issuer), "verify", issuer.token())) is KeysUnavailable


def test_an_issuer_that_never_answers_is_given_up_after_the_timeout(issuer: LocalIssuer, drive: Driver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        keys = RemoteJWKS(f"http://127.0.0.1:{silent.getsockname()[1]}/jwks", timeout=0.1)
        assert type(drive.error(verifier(keys, issuer), "verify", issuer.token())) is KeysUnavailable


@contextmanager
def dripping(start: bytes) -> Iterator[str]:
    """A server that sends a byte every now and then, for ever, until it is cut off."""
    stop = threading.Event()
    cut_off = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            try:
                connection.sendall(start)
                while not stop.wait(0.01):
                    connection.sendall(b" ")
            except OSError:
                cut_off.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert cut_off.wait(5)
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    "start",
    [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"],
)
def test_a_drip_of_bytes_cannot_outlive_the_deadline(start: bytes) -> None:
    with dripping(start) as url, pytest.raises(FetchError, match=r"no answer within 0\.1 s"):
        StandardFetcher()(url, headers={}, timeout=0.1, max_bytes=65_536)


def test_a_tls_handshake_that_never_ends_cannot_outlive_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(FetchError):
        StandardFetcher()(f"https://127.0.0.1:{silent.getsockname()[1]}/", headers={}, timeout=0.1, max_bytes=10)


def test_an_issuer_with_an_untrusted_certificate_is_unavailable(tmp_path: Any, issuer: LocalIssuer) -> None:
    with tls_server(tmp_path) as (url, _):
        keys = RemoteJWKS(url)
        error = refused(lambda: verifier(keys, issuer).verify(issuer.token()))
        assert (type(error), "CERTIFICATE_VERIFY_FAILED" in error.detail) == (KeysUnavailable, True)


def test_a_tls_context_of_ones_own_is_used(tmp_path: Any, issuer: LocalIssuer) -> None:
    with tls_server(tmp_path) as (url, trust):
        keys = RemoteJWKS(url, ssl_context=trust)
        assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"


@contextmanager
def tls_server(directory: Any) -> Iterator[tuple[str, ssl.SSLContext]]:
    """A real HTTPS server with a certificate that nobody trusts, and a context that does."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    private = key()._signing_material
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(private, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (directory / "certificate.pem").write_bytes(pem + key().pem().encode())
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(directory / "certificate.pem")
    trust = ssl.create_default_context(cadata=pem.decode())
    body = json.dumps({"keys": [key().public_jwk()]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_args: object) -> None:
            """A client that trusts nobody hangs up."""

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = served.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/jwks", trust
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_thread_that_cannot_start_is_a_failed_fetch(
    web: Web, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    subject = verifier(remote(web), issuer)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert type(refused(lambda: subject.verify(issuer.token()))) is KeysUnavailable


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_its_parents_fetch(web: Web, issuer: LocalIssuer) -> None:
    gate = threading.Event()
    good = web.routes["/jwks"]
    web.routes["/jwks"] = lambda handler: (gate.wait(10), good(handler))[1]
    keys = remote(web, timeout=10)
    flight = keys.refresh()
    child = os.fork()
    if child == 0:
        try:
            state = keys._renewal._state
            os._exit(0 if state.flight is None and not state.lock.locked() else 1)
        finally:
            os._exit(2)  # never back into pytest
    _, status = os.waitpid(child, 0)
    gate.set()
    assert flight is not None
    assert (os.waitstatus_to_exitcode(status), len(flight.result(5))) == (0, 1)


# ----------------------------------------------------------------------------------- what one sets


def test_headers_are_sent_along_and_no_cookies(web: Web, issuer: LocalIssuer) -> None:
    web.json("/jwks", issuer.jwks(), Set_Cookie="a=b")
    clock = Clock(0.0)
    keys = remote(web, headers={"X-Api-Key": "k"}, clock=clock)
    subject = verifier(keys, issuer)
    subject.warm()
    clock.now = 5000.0
    subject.warm()
    assert [(f.get("x-api-key"), f.get("cookie"), f.get("accept-encoding")) for f in web.fields] == [
        ("k", None, "identity")
    ] * 2


def test_proxies_of_the_environment_are_not_used(
    web: Web, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert verifier(remote(web), issuer).verify(issuer.token()).subject == "user-1"


def test_a_fetcher_of_ones_own_is_called_with_the_bounds(issuer: LocalIssuer) -> None:
    calls: list[Any] = []

    def fetch(url: str, **bounds: Any) -> Fetched:
        calls.append((url, bounds))
        return Fetched(200, {}, json.dumps(issuer.jwks()).encode())

    keys = RemoteJWKS("https://idp.test/jwks", fetcher=fetch, headers={"a": "b"}, timeout=2.0)
    assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"
    assert calls == [("https://idp.test/jwks", {"headers": {"a": "b"}, "timeout": 2.0, "max_bytes": 65_536})]


def test_whatever_a_fetcher_raises_is_unavailable_and_stays_inside(issuer: LocalIssuer, drive: Driver) -> None:
    def fetch(url: str, **_bounds: Any) -> Fetched:
        raise KeyError("a client's own error")

    keys = RemoteJWKS("https://idp.test/jwks", fetcher=fetch)
    assert type(drive.error(verifier(keys, issuer), "verify", issuer.token())) is KeysUnavailable


def test_a_body_over_the_limit_from_a_fetcher_of_ones_own_is_refused(issuer: LocalIssuer) -> None:
    body = json.dumps({**issuer.jwks(), "x": "x" * 70_000}).encode()
    keys = RemoteJWKS("https://idp.test/jwks", fetcher=lambda url, **_bounds: Fetched(200, {}, body))
    assert type(refused(lambda: verifier(keys, issuer).verify(issuer.token()))) is KeysUnavailable


def test_every_fetch_is_told(web: Web, issuer: LocalIssuer) -> None:
    told: queue.Queue[Event] = queue.Queue()
    clock = Clock(0.0)
    web.json("/jwks", {"keys": [None, key().public_jwk()]})
    subject = verifier(remote(web, clock=clock, on_event=told.put), issuer)
    subject.warm()
    BAD_ANSWERS["500"](web)
    clock.now = 5000.0
    refused(subject.warm)
    events = [told.get(timeout=5) for _ in range(2)]  # each by a thread of its own, so in either order
    (fetched,) = (event for event in events if isinstance(event, KeysFetched))
    assert (fetched.usable, fetched.left_out) == (1, ("key 0: not a JSON object",))
    assert any(isinstance(event, KeysFetchFailed) for event in events)


def test_a_slow_listener_keeps_nobody_waiting(web: Web, issuer: LocalIssuer) -> None:
    done = threading.Event()

    def slow(_event: Event) -> None:
        done.wait(10)

    assert verifier(remote(web, timeout=1, on_event=slow), issuer).verify(issuer.token()).subject == "user-1"
    done.set()


def test_a_listener_that_fails_harms_no_request(web: Web, issuer: LocalIssuer) -> None:
    def fail(_event: Event) -> None:
        raise LookupError

    assert verifier(remote(web, on_event=fail), issuer).verify(issuer.token()).subject == "user-1"


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.test/jwks",
        "http://127.0.0.1.evil.test/jwks",
        "http://localhost.evil.test/",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "data:,x",
        "//idp.test/jwks",
        "idp.test",
        "",
        "https://",
        "https://user:pw@idp.test/",
        "https://user@idp.test/",
        "https://idp.test/#x",
        "https://idp.test:99999/",
        "https://idp.test/\r\nX: y",
        "https://idp.test/?key=a b",
        "https://idp.test/a b\n",
        "https://[::1/",
        "https://idp.tést/",
        None,
        5,
    ],
)
def test_a_url_that_may_not_be_fetched_is_refused_while_building(url: Any) -> None:
    with pytest.raises(ConfigurationError):
        RemoteJWKS(url)


@pytest.mark.parametrize(
    "url", ["https://idp.test/", "http://127.0.0.1:1/", "http://127.9.9.9/", "http://localhost/", "http://[::1]:8/"]
)
def test_https_and_loopback_may_be_fetched(url: str) -> None:
    assert RemoteJWKS(url).url == url


def test_plain_http_beyond_loopback_is_fetched_only_where_danger_is_named() -> None:
    assert RemoteJWKS("http://idp.test/", insecure_allow_http=True).url == "http://idp.test/"


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"ttl": -1},
        {"cooldown": 0},
        {"ttl": 10, "cooldown": 11},
        {"max_bytes": 0},
        {"max_keys": 0},
        {"fetcher": lambda url, **_: None, "ssl_context": ssl.create_default_context()},
    ],
)
def test_contradictory_settings_are_refused_while_building(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RemoteJWKS("https://idp.test/", **options)


def test_a_remote_set_takes_no_hmac_algorithm() -> None:
    with pytest.raises(ConfigurationError):
        JWTVerifier(keys=RemoteJWKS("https://idp.test/"), issuer="i", audience="a", algorithms=["HS256"])


def test_a_nameless_remote_key_asks_in_the_log_for_the_algorithms(web: Web, issuer: LocalIssuer) -> None:
    web.json("/jwks", {"keys": [{k: v for k, v in key().public_jwk().items() if k != "alg"}]})
    error = refused(lambda: verifier(remote(web), issuer).verify(issuer.token()))
    assert (type(error), "algorithms=['RS256']" in error.detail) == (UnknownKey, True)
    assert verifier(remote(web), issuer, algorithms=["RS256"]).verify(issuer.token()).subject == "user-1"


# --------------------------------------------------------------------------------------- discovery


def test_discovery_finds_the_keys_lazily(drive: Driver) -> None:
    issuer = LocalIssuer(audience=AUDIENCE, key=key())
    with issuer.serve() as url:
        subject = JWTVerifier.from_issuer(url, audience=AUDIENCE)
        assert issuer.requests == []
        assert drive(subject, "verify", issuer.token()).issuer == url
        assert issuer.requests == ["/.well-known/openid-configuration", "/jwks.json"]


@pytest.mark.parametrize(
    ("path", "well_known"),
    [
        ("", "/.well-known/openid-configuration"),
        ("/", "/.well-known/openid-configuration"),
        ("/realms/a", "/realms/a/.well-known/openid-configuration"),
        ("/realms/a/", "/realms/a/.well-known/openid-configuration"),
        ("/realms/a", "/.well-known/oauth-authorization-server/realms/a"),
        ("", "/.well-known/oauth-authorization-server"),
    ],
)
def test_both_well_known_forms_are_found(web: Web, path: str, well_known: str) -> None:
    web.json(well_known, {"issuer": web.url + path, "jwks_uri": web.url + "/jwks"})
    found = discover(web.url + path)
    assert (found.issuer, found.jwks_uri, web.asked[-1]) == (web.url + path, web.url + "/jwks", well_known)


OPENID = "/.well-known/openid-configuration"


@pytest.mark.parametrize("stated", ["https://evil.test/", "{url}/", "{url}/x", "", None, 1, ["{url}"], "HTTP{rest}"])
def test_a_document_of_another_issuer_is_refused(web: Web, stated: Any) -> None:
    if isinstance(stated, str):
        stated = stated.replace("{url}", web.url).replace("{rest}", web.url[4:])
    elif isinstance(stated, list):
        stated = [web.url]
    web.json(OPENID, {"issuer": stated, "jwks_uri": web.url + "/jwks"})
    with pytest.raises(ConfigurationError, match="is the document of issuer"):
        discover(web.url)


def test_a_document_of_another_issuer_makes_a_verifier_unavailable(
    web: Web, issuer: LocalIssuer, drive: Driver
) -> None:
    web.json(OPENID, {"issuer": "https://evil.test/", "jwks_uri": web.url + "/jwks"})
    subject = JWTVerifier.from_issuer(issuer.issuer, audience=AUDIENCE)
    assert type(drive.error(subject, "verify", issuer.token())) is KeysUnavailable


@pytest.mark.parametrize(
    "jwks_uri", [None, 1, "", "ftp://127.0.0.1/", "file:///etc/passwd", "http://10.0.0.1/", "http://localhost/jwks"]
)
def test_a_document_whose_keys_are_elsewhere_in_the_clear_is_refused(web: Web, jwks_uri: Any) -> None:
    web.json(OPENID, {"issuer": web.url, "jwks_uri": jwks_uri})
    with pytest.raises(KeysUnavailable):
        discover(web.url)


def test_an_https_issuer_cannot_send_us_to_this_machine() -> None:
    document = {"issuer": "https://idp.test", "jwks_uri": "http://127.0.0.1:8080/admin"}
    with pytest.raises(KeysUnavailable):
        discover("https://idp.test", fetcher=lambda url, **_: Fetched(200, {}, json.dumps(document).encode()))


def test_a_server_error_is_not_a_reason_to_look_elsewhere(web: Web) -> None:
    web.json(OPENID, {}, 500)
    web.json("/.well-known/oauth-authorization-server", {"issuer": web.url, "jwks_uri": web.url + "/jwks"})
    with pytest.raises(KeysUnavailable):
        discover(web.url)


def test_no_document_at_all_is_unavailable(web: Web) -> None:
    with pytest.raises(KeysUnavailable):
        discover(web.url)


# ------------------------------------------------------------------------------- Entra's template


def entra(web: Web, stated: str) -> None:
    web.json("/common/v2.0" + OPENID, {"issuer": web.url + stated, "jwks_uri": web.url + "/jwks"})


def test_a_shared_issuer_accepts_the_tenants_named_and_no_other(web: Web, issuer: LocalIssuer, drive: Driver) -> None:
    entra(web, "/{tenantid}/v2.0")
    subject = JWTVerifier.from_issuer(web.url + "/common/v2.0", tenants=["t-1", "t-2"], audience=AUDIENCE)
    for tenant in ("t-1", "t-2"):
        token = issuer.token(claims={"iss": f"{web.url}/{tenant}/v2.0"})
        assert drive(subject, "verify", token).issuer == f"{web.url}/{tenant}/v2.0"
    for stranger in ("t-3", "common", "{tenantid}", ""):
        token = issuer.token(claims={"iss": f"{web.url}/{stranger}/v2.0"})
        assert drive.error(subject, "verify", token).reason == "CLAIM_REJECTED"


@pytest.mark.parametrize("stated", ["/common/v2.0", "/t-1/v2.0", "/{tenantid}/v1.0", "/{tenantid}"])
def test_a_shared_issuer_must_publish_the_template(web: Web, stated: str) -> None:
    entra(web, stated)
    with pytest.raises(ConfigurationError):
        discover(web.url + "/common/v2.0", tenants=["t-1"])


def test_a_template_without_tenants_is_refused_and_the_option_named(web: Web) -> None:
    entra(web, "/{tenantid}/v2.0")
    with pytest.raises(ConfigurationError, match="tenants="):
        discover(web.url + "/common/v2.0")


@pytest.mark.parametrize(
    "tenants", ["t-1", ["common"], ["organizations"], [""], ["a/b"], ["{tenantid}"], [None], ["a\n"]]
)
def test_what_is_no_tenant_is_refused_while_building(tenants: Any) -> None:
    with pytest.raises(ConfigurationError):
        JWTVerifier.from_issuer("https://login.test/common/v2.0", tenants=tenants, audience="a")


def test_tenants_go_with_a_shared_issuer_only() -> None:
    with pytest.raises(ConfigurationError):
        JWTVerifier.from_issuer("https://login.test/t-1/v2.0", tenants=["t-2"], audience="a")


# ------------------------------------------------------------------- flights that end badly, or never


@pytest.mark.parametrize(
    "failure", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, RecursionError]
)
def test_whatever_ends_a_fetch_the_next_one_can_start(failure: type[BaseException], issuer: LocalIssuer) -> None:
    clock = Clock(0.0)
    failing = [True]

    def fetch(url: str, **_bounds: Any) -> Fetched:
        if failing:
            raise failure
        return Fetched(200, {}, json.dumps(issuer.jwks()).encode())

    keys = RemoteJWKS("https://idp.test/jwks", fetcher=fetch, clock=clock, timeout=5)
    subject = verifier(keys, issuer)
    assert failure.__name__ in refused(subject.verify, issuer.token()).detail
    failing.clear()
    clock.now = 1.0
    assert subject.verify(issuer.token()).subject == "user-1"


def test_a_fetch_that_never_ends_is_given_up_and_overwrites_nothing_when_it_does(issuer: LocalIssuer) -> None:
    clock = Clock(0.0)
    release = threading.Event()
    calls: list[int] = []
    old, new = {"keys": [key(number=2).public_jwk()]}, issuer.jwks()

    def fetch(url: str, **_bounds: Any) -> Fetched:
        calls.append(1)
        first = len(calls) == 1
        if first:
            release.wait(10)
        return Fetched(200, {}, json.dumps(old if first else new).encode())

    keys = RemoteJWKS("https://idp.test/jwks", fetcher=fetch, clock=clock, timeout=1)
    hung = keys.refresh()
    assert keys.refresh() is hung
    clock.now = 3.0
    assert "given up" in refused(keys.refresh).detail  # and there is a pause, as after any failure
    clock.now = 4.0
    fresh = keys.refresh()
    assert hung is not None
    assert fresh is not None
    fresh.result(5)
    present = keys.key_set()
    release.set()
    assert isinstance(hung.exception(5), KeysUnavailable)  # its keys may have been dropped since
    assert keys.key_set() is present
    assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"


def test_a_failed_search_does_not_delay_the_ordinary_refresh(web: Web, issuer: LocalIssuer) -> None:
    clock = Clock(0.0)
    subject = verifier(remote(web, ttl=300, cooldown=30, clock=clock), issuer)
    subject.warm()
    BAD_ANSWERS["500"](web)
    for now in (100.0, 200.0, 299.0):
        clock.now = now
        refused(subject.verify, issuer.token(header={"kid": "unknown"}))
    publish(web, issuer)
    clock.now = 300.0
    assert subject.verify(issuer.token()).subject == "user-1"


def test_each_document_has_the_timeout_and_a_waiter_has_all_of_them(issuer: LocalIssuer) -> None:
    given: list[float] = []

    def fetch(url: str, **bounds: Any) -> Fetched:
        given.append(bounds["timeout"])
        document = (
            issuer.jwks()
            if url.endswith("jwks")
            else {"issuer": "https://idp.test/", "jwks_uri": "https://idp.test/jwks"}
        )
        return Fetched(200, {}, json.dumps(document).encode())

    keys = RemoteJWKS.from_issuer("https://idp.test/", fetcher=fetch, timeout=2.0)
    flight = keys.refresh()
    assert flight is not None
    flight.result(5)
    assert (given, keys.timeout) == ([2.0, 2.0], 6.0)


def test_dead_addresses_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # fills the queue: the next one hangs in connect()
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * 5
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: answers)
        timeouts: list[float | None] = []
        settimeout = socket.socket.settimeout

        def note(self: socket.socket, value: float | None) -> None:
            timeouts.append(value)
            settimeout(self, value)

        monkeypatch.setattr(socket.socket, "settimeout", note)
        with pytest.raises(FetchError):
            StandardFetcher()("http://127.0.0.1/", headers={}, timeout=0.2, max_bytes=10)
        for one in waiting:
            one.close()
    assert timeouts[0] is not None
    assert (timeouts[0] <= 0.2, len(timeouts) < 5) == (True, True)


def test_a_discovery_document_that_is_too_long_is_refused_from_any_fetcher() -> None:
    body = json.dumps({"issuer": "https://idp.test", "jwks_uri": "https://idp.test/j", "x": "x" * 70_000}).encode()
    with pytest.raises(KeysUnavailable):
        discover("https://idp.test", fetcher=lambda url, **_bounds: Fetched(200, {}, body))


# ---------------------------------------------------------------------------------- secrets, danger


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Api-Key": "s3cret\n"},
        {"X-Api-Key": "s3cret\r\nA: b"},
        {"X-Api-Key": " s3cret"},
        {"X-Api-Key": b"s3cret"},
        {"X-Api-Key": "s3cret\u20ac"},
        {"s3cret\n": "x"},
        {"": "s3cret"},
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_while_building_and_never_shown(headers: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RemoteJWKS("https://idp.test/", headers=headers)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://user:s3cret@idp.test/", "http://idp.test/?key=s3cret", "ftp://idp.test/?s3cret"]
)
def test_a_url_that_is_refused_never_shows_its_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RemoteJWKS(url)
    assert "s3cret" not in str(caught.value)


def test_a_query_with_a_key_is_sent_and_never_shown(web: Web, issuer: LocalIssuer) -> None:
    told: queue.Queue[Event] = queue.Queue()
    web.json("/jwks?key=s3cret", issuer.jwks())
    keys = RemoteJWKS(web.url + "/jwks?key=s3cret", on_event=told.put)
    verifier(keys, issuer).warm()
    BAD_ANSWERS["500"](web)
    failing = RemoteJWKS(web.url + "/none?key=s3cret", on_event=told.put)
    error = refused(verifier(failing, issuer).warm)
    assert web.asked[0] == "/jwks?key=s3cret"
    events = [told.get(timeout=5) for _ in range(2)]
    assert "s3cret" not in repr((events, keys, failing)) + error.detail


def test_danger_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    _dangers.clear()
    RemoteJWKS("http://idp.test/", insecure_allow_http=True)
    assert "insecure_allow_http=True" in caplog.text


def test_danger_of_discovery_is_named_in_the_log_too(caplog: pytest.LogCaptureFixture) -> None:
    _dangers.clear()
    with pytest.raises(KeysUnavailable):
        discover("http://idp.test/", insecure_allow_http=True, fetcher=lambda url, **_bounds: Fetched(404, {}, b""))
    assert "insecure_allow_http=True" in caplog.text


@pytest.mark.parametrize("name", ["timeout", "ttl", "max_bytes", "max_keys"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e12, -1, 0, "5"])
def test_a_bound_that_bounds_nothing_is_refused_while_building(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError):
        RemoteJWKS("https://idp.test/", **{name: value})


async def never_told(_event: Event) -> None: ...


@pytest.mark.parametrize("listener", [never_told, None, "log"])
def test_a_listener_that_nobody_would_await_is_refused_while_building(listener: Any) -> None:
    with pytest.raises(ConfigurationError):
        RemoteJWKS("https://idp.test/", on_event=listener)
    with pytest.raises(ConfigurationError):
        Authenticator(LocalIssuer(key=key()).verifier(), on_event=listener)
    with pytest.raises(ConfigurationError):
        Revocations(MemoryRevocationStore(), on_event=listener)


@pytest.mark.parametrize("jwks_uri", ["http://[", "https://user@idp.test/", "https://idp.test/#x"])
def test_a_document_whose_jwks_uri_is_no_plain_url_is_unavailable(web: Web, jwks_uri: str) -> None:
    web.json(OPENID, {"issuer": web.url, "jwks_uri": jwks_uri})
    with pytest.raises(KeysUnavailable):
        discover(web.url)


def test_an_issuer_behind_a_ca_of_ones_own_is_had_by_one_line(tmp_path: Any) -> None:
    trust = ssl.create_default_context()
    keys = JWTVerifier.from_issuer("https://idp.test/", audience="a", ssl_context=trust).keys
    assert isinstance(keys, RemoteJWKS)
    assert keys._fetch._ssl_context is trust  # type: ignore[attr-defined]


def test_fetches_that_never_end_are_few(issuer: LocalIssuer) -> None:
    clock = Clock(0.0)
    release = threading.Event()
    flights: list[Any] = []

    def fetch(url: str, **_bounds: Any) -> Fetched:
        release.wait(10)
        return Fetched(200, {}, json.dumps(issuer.jwks()).encode())

    keys = RemoteJWKS("https://idp.test/jwks", fetcher=fetch, clock=clock, timeout=1, cooldown=1)
    for _ in range(20):
        clock.now += 10
        with contextlib.suppress(KeysUnavailable):
            flights.append(keys.refresh())
    assert "3 fetches do not end" in refused(keys.refresh).detail
    release.set()
    for flight in flights:
        assert isinstance(flight.exception(5), KeysUnavailable)
    clock.now += 10
    assert (len(flights), verifier(keys, issuer).verify(issuer.token()).subject) == (3, "user-1")


def test_headers_go_to_the_issuers_own_origin_alone(issuer: LocalIssuer) -> None:
    sent: dict[str, Any] = {}
    jwks_uri = ""

    def fetch(url: str, **bounds: Any) -> Fetched:
        sent[url] = dict(bounds["headers"])
        document = {"issuer": "https://idp.test/", "jwks_uri": jwks_uri} if "well-known" in url else issuer.jwks()
        return Fetched(200, {}, json.dumps(document).encode())

    expected: dict[str, dict[str, str]] = {
        "https://idp.test:443/jwks": {"X-Api-Key": "k"},
        "https://cdn.test/jwks": {},
        "https://idp.test:8443/jwks": {},
    }
    for jwks_uri in expected:  # noqa: B007 - the fetcher reads it
        flight = RemoteJWKS.from_issuer("https://idp.test/", fetcher=fetch, headers={"X-Api-Key": "k"}).refresh()
        assert flight is not None
        flight.result(5)
    assert {url: sent[url] for url in expected} == expected


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://[::1]/jwks", ("::1", 80)),
        ("http://[::1]:8080/jwks", ("::1", 8080)),
        ("https://[2001:db8::25]/", ("2001:db8::25", 443)),
        ("https://idp.test/", ("idp.test", 443)),
    ],
)
def test_the_port_is_the_urls_or_its_schemes(
    url: str, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def nowhere(host: str, port: int, **_options: Any) -> Any:
        asked.append((host, port))
        raise OSError("no name server here")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    with pytest.raises(FetchError):
        StandardFetcher()(url, headers={}, timeout=1, max_bytes=10)
    assert asked == [address]


def test_what_a_server_says_that_is_no_http_stays_out_of_the_log() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"injected log line\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(FetchError, match=r"^BadStatusLine$"):
            StandardFetcher()(f"http://127.0.0.1:{server.getsockname()[1]}/", headers={}, timeout=2, max_bytes=10)
        thread.join()
