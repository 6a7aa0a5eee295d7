"""The renewal of a key set: outages, rotations, floods, forks, threads and ends, mostly in simulated time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import os
import queue
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from graphql_authkit import (
    ConfigurationError,
    Fetched,
    JWTVerifier,
    RemoteJWKS,
    SecretKey,
)
from graphql_authkit._http import StandardFetcher
from graphql_authkit.errors import AuthError, BadSignature, KeysUnavailable, UnknownKey
from graphql_authkit.events import Event, KeysFetched
from graphql_authkit.keys.source import KeySet
from graphql_authkit.testing import LocalIssuer
from tests.support import AUDIENCE, Clock, Driver, key, refused
from tests.test_remote_keys import serving, settle

URL = "https://idp.test/jwks"
TTL, STALE, COOLDOWN, TIMEOUT = 300.0, 3600.0, 30.0, 5.0
DEADLINE = 10.0  # of what a test waits for; none should come near it
FLIGHT_THREAD = "graphql-authkit-keys"

Answer = Callable[[], Fetched]


class Script:
    """A Fetcher that is the issuer: it answers as a test says and notes what it was asked.

    What it answers is decided when it is asked; while `hold()` lasts the answer is on its way.
    """

    def __init__(self, issuer: LocalIssuer, **headers: str) -> None:
        self.issuer = issuer
        self.headers = headers
        self.answer: Answer = self.good
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.held: queue.Queue[str] = queue.Queue()
        self._gate: threading.Event | None = None

    def __call__(self, url: str, *, headers: Mapping[str, str], timeout: float, max_bytes: int) -> Fetched:
        self.asked.append((url, dict(headers)))
        gate = self._gate
        try:
            return self.answer()
        finally:
            if gate is not None:
                self.held.put(url)
                assert gate.wait(DEADLINE)

    @property
    def fetches(self) -> int:
        return len(self.asked)

    def good(self) -> Fetched:
        return Fetched(200, self.headers, json.dumps(self.issuer.jwks()).encode())

    def ill(self) -> Fetched:
        return Fetched(500, {}, b"")

    def hang(self) -> threading.Event:
        """From now on answers are on their way until the event is set."""
        gate = self._gate = threading.Event()
        return gate

    @contextmanager
    def hold(self) -> Iterator[threading.Event]:
        """Answers that were asked for meanwhile are on their way until the end, or the event is set."""
        gate = self.hang()
        try:
            yield gate
        finally:
            self._gate = None
            gate.set()

    def wait_until_held(self) -> str:
        return self.held.get(timeout=DEADLINE)


def saying(status: int, body: bytes = b"", headers: Any = None) -> Answer:
    return lambda: Fetched(status, {} if headers is None else headers, body)


def failing(error: BaseException) -> Answer:
    def answer() -> Fetched:
        raise error

    return answer


@pytest.fixture(autouse=True)
def no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refreshes are due at three quarters of a set's time, and pauses are as long as they are at least."""
    monkeypatch.setattr("graphql_authkit.keys.renewal.random", SimpleNamespace(random=lambda: 0.0))


@pytest.fixture
def clock() -> Clock:
    return Clock(0.0)


@pytest.fixture
def issuer() -> LocalIssuer:
    return LocalIssuer("https://idp.test/", audience=AUDIENCE, key=key("ES256"))


@pytest.fixture
def script(issuer: LocalIssuer) -> Script:
    return Script(issuer)


@pytest.fixture
def keys(script: Script, clock: Clock) -> RemoteJWKS:
    return remote(script, clock)


@pytest.fixture
def subject(keys: RemoteJWKS, issuer: LocalIssuer) -> JWTVerifier:
    return verifier(keys, issuer)


def remote(script: Any, clock: Callable[[], float], **options: Any) -> RemoteJWKS:
    times = {"ttl": TTL, "stale_if_error": STALE, "cooldown": COOLDOWN, "timeout": TIMEOUT}
    return RemoteJWKS(URL, fetcher=script, clock=clock, **{**times, **options})


def verifier(keys: RemoteJWKS, issuer: LocalIssuer, **options: Any) -> JWTVerifier:
    return JWTVerifier(keys=keys, issuer=issuer.issuer, audience=AUDIENCE, **options)


def rotate(issuer: LocalIssuer, number: int = 2, *, drop: bool = False) -> None:
    issuer.rotate(key("ES256", number))
    if drop:
        issuer.retired.clear()


def arrival(flight: Future[KeySet] | None) -> KeySet:
    assert flight is not None
    return flight.result(DEADLINE)


def started(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def ended(thread: threading.Thread, seconds: float = DEADLINE) -> bool:
    thread.join(seconds)
    return not thread.is_alive()


def own_threads() -> list[threading.Thread]:
    """Those of the library that are alive: flights, and the timers of exchanges."""
    return [one for one in threading.enumerate() if one.name == FLIGHT_THREAD or isinstance(one, threading.Timer)]


def flight_threads() -> list[threading.Thread]:
    return [one for one in own_threads() if one.name == FLIGHT_THREAD]


# --------------------------------------------------------------------------- lookups never wait


def test_tokens_of_known_keys_verify_at_once_while_a_refresh_hangs(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, clock: Clock, drive: Driver
) -> None:
    remembered = issuer.token()
    drive(subject, "verify", remembered)
    clock.now = 0.75 * TTL
    with script.hold() as gate:
        for number in range(50):
            assert drive(subject, "verify", remembered).subject == "user-1"
            assert drive(subject, "verify", issuer.token(f"user-{number}")).subject == f"user-{number}"
        script.wait_until_held()
        assert (script.fetches, gate.is_set()) == (2, False)  # all of it was answered before the issuer
    settle(subject)


@pytest.mark.parametrize("now", [0.0, 0.75 * TTL, TTL + STALE - 1])
def test_lookups_take_no_lock(keys: RemoteJWKS, clock: Clock, now: float) -> None:
    keys.warm()
    present = keys.key_set()
    clock.now = now
    with keys._renewal._state.lock:  # whoever wanted it would wait for ever: this very thread has it
        assert keys.key_set() is present
        assert keys.health().is_usable


def test_a_herd_of_lookups_that_find_a_set_due_makes_one_fetch(keys: RemoteJWKS, script: Script, clock: Clock) -> None:
    keys.warm()
    present = keys.key_set()
    clock.now = 0.75 * TTL
    barrier = threading.Barrier(16)

    def look() -> list[KeySet | None]:
        barrier.wait(DEADLINE)
        return [keys.key_set() for _ in range(200)]

    with script.hold(), ThreadPoolExecutor(16) as threads:
        answers = [answer for each in [threads.submit(look) for _ in range(16)] for answer in each.result(DEADLINE)]
        assert (set(answers), script.fetches) == ({present}, 2)
    settle(keys)


@given(st.floats(0, 1))
def test_a_refresh_is_due_between_three_quarters_and_nine_tenths_of_a_sets_time(chance: float) -> None:
    clock = Clock(0.0)
    keys = remote(Script(LocalIssuer(key=key("ES256"))), clock)
    keys._renewal._chance = lambda: chance
    keys.warm()
    due = keys.health().next_refresh
    assert due is not None
    assert 0.75 * TTL <= due <= 0.9 * TTL


def test_servers_that_start_together_do_not_refresh_together(
    issuer: LocalIssuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # let chance have its way
    due = set()
    for _ in range(20):
        keys = remote(Script(issuer), clock)
        keys.warm()
        due.add(keys.health().next_refresh)
    assert len(due) > 10


def test_a_set_that_nobody_looks_up_is_not_fetched(keys: RemoteJWKS, script: Script, clock: Clock) -> None:
    keys.warm()
    clock.now = 10 * TTL
    keys.health()
    assert (script.fetches, own_flights(keys)) == (1, None)


def own_flights(keys: RemoteJWKS) -> object:
    return keys._renewal._state.flight


# ---------------------------------------------------------------------------- how long a set holds


@pytest.mark.parametrize(
    ("headers", "holds"),
    [
        ({}, TTL),
        ({"cache-control": "max-age=60"}, 60.0),
        ({"cache-control": "max-age=86400"}, TTL),
        ({"cache-control": "max-age=0"}, COOLDOWN),
        ({"cache-control": "no-store"}, COOLDOWN),
        ({"cache-control": "max-age=200", "age": "100"}, 100.0),
    ],
)
def test_a_set_holds_as_long_as_its_answer_said_within_bounds(
    keys: RemoteJWKS, script: Script, clock: Clock, headers: dict[str, str], holds: float
) -> None:
    script.headers = headers
    keys.warm()
    assert keys.health().next_refresh == 0.75 * holds
    clock.now = 0.75 * holds - 0.01
    keys.key_set()
    settle(keys)
    before = script.fetches
    clock.now = 0.75 * holds
    keys.key_set()
    settle(keys)
    assert (before, script.fetches) == (1, 2)
    script.answer = script.ill
    begun = clock.now
    clock.now = begun + holds + STALE - 0.01
    assert keys.key_set() is not None
    clock.now = begun + holds + STALE
    assert keys.key_set() is None


def test_a_sets_time_runs_from_when_it_was_asked_for(keys: RemoteJWKS, script: Script, clock: Clock) -> None:
    with script.hold():
        flight = keys.refresh()
        script.wait_until_held()
        clock.now = 10.0
    arrival(flight)
    assert (keys.health().age, keys.health().next_refresh) == (10.0, 0.75 * TTL - 10.0)


# ------------------------------------------------------------------------------------- same again


@pytest.mark.parametrize("etag", ['"one"', 'W/"one"', '""', '"' + "x" * 256 + '"'])
def test_a_set_with_an_etag_is_asked_about_and_a_304_keeps_everything(
    subject: JWTVerifier, keys: RemoteJWKS, script: Script, issuer: LocalIssuer, clock: Clock, etag: str
) -> None:
    script.headers = {"etag": etag}
    token = issuer.token()
    remembered = subject.verify(token)
    present = keys.key_set()
    script.answer = saying(304)
    for number in (1, 2, 3):
        clock.now = number * TTL
        keys.key_set()
        settle(keys)
        assert keys.key_set() is present
        assert subject.verify(token) is remembered
        assert keys.health().age == 0.0
    assert [asked[1] for asked in script.asked] == [{}] + [{"If-None-Match": etag}] * 3


def test_the_same_body_again_keeps_everything_without_an_etag(
    subject: JWTVerifier, keys: RemoteJWKS, script: Script, issuer: LocalIssuer, clock: Clock
) -> None:
    token = issuer.token()
    remembered = subject.verify(token)
    present = keys.key_set()
    clock.now = TTL
    keys.key_set()
    settle(keys)
    assert (script.fetches, keys.key_set() is present, subject.verify(token) is remembered) == (2, True, True)


def test_an_unchanged_set_survives_an_outage_and_its_own_end(
    subject: JWTVerifier, keys: RemoteJWKS, script: Script, issuer: LocalIssuer, clock: Clock
) -> None:
    subject.warm()
    present = keys.key_set()
    script.answer = script.ill
    clock.now = TTL + STALE
    refused(subject.verify, issuer.token())
    script.answer = script.good
    clock.now += COOLDOWN
    subject.verify(issuer.token())
    assert keys.key_set() is present


def test_events_tell_a_new_set_from_the_same_again(script: Script, issuer: LocalIssuer, clock: Clock) -> None:
    told: queue.Queue[Event] = queue.Queue()
    keys = remote(script, clock, on_event=told.put)
    news = []
    for number in range(4):
        if number == 2:
            rotate(issuer)
        arrival(keys.refresh())
        event = told.get(timeout=DEADLINE)
        assert isinstance(event, KeysFetched)
        news.append((event.usable, event.is_new))
    assert news == [(1, True), (1, False), (2, True), (2, False)]


@pytest.mark.parametrize(
    "etag",
    [
        '"a"\r\nX-Injected: 1',
        '"a\r\n"',
        '"a\n"',
        '"a"\n',
        '"é"',
        '"\x7f"',
        '"\x00"',
        '"a b"',
        '"a"b"',
        "a",
        '"',
        "",
        'w/"a"',
        '"' + "x" * 257 + '"',
        '"' + "x" * 10_000 + '"',
    ],
)
def test_an_etag_that_is_none_is_never_sent(keys: RemoteJWKS, script: Script, etag: str) -> None:
    script.headers = {"etag": etag}
    arrival(keys.refresh())
    arrival(keys.refresh())
    assert [asked[1] for asked in script.asked] == [{}, {}]


@pytest.mark.parametrize("etag", [None, 5, b'"a"', ['"a"'], object()])
def test_an_etag_that_is_no_text_is_never_sent(keys: RemoteJWKS, script: Script, etag: Any) -> None:
    script.headers = {"etag": etag}
    arrival(keys.refresh())
    arrival(keys.refresh())
    assert [asked[1] for asked in script.asked] == [{}, {}]


@pytest.mark.parametrize("raw", [b'"a\tb"', b'"\xe9"', b'"' + b"x" * 10_000 + b'"', b'"a"\r\n\t"folded"'])
def test_a_hostile_etag_of_a_real_server_is_never_sent_and_harms_no_refresh(raw: bytes) -> None:
    body = json.dumps({"keys": [key("ES256").public_jwk()]}).encode()
    with serving() as web:

        def answer(handler: Any) -> None:
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nETag: " + raw + b"\r\n\r\n" + body)

        web.routes["/jwks"] = answer
        with RemoteJWKS(web.url + "/jwks") as keys:
            arrival(keys.refresh())
            arrival(keys.refresh())
        assert [fields.get("if-none-match") for fields in web.fields] == [None, None]


def test_a_real_server_that_says_304_is_believed() -> None:
    with serving() as web, RemoteJWKS(web.url + "/jwks") as keys:
        web.json("/jwks", {"keys": [key("ES256").public_jwk()]}, ETag='"one"')
        first = arrival(keys.refresh())
        web.raw("/jwks", b"", 304)
        assert arrival(keys.refresh()) is first
        assert web.fields[1]["if-none-match"] == '"one"'


def test_a_304_that_nobody_asked_for_is_a_failure(keys: RemoteJWKS, script: Script, clock: Clock) -> None:
    script.answer = saying(304)
    assert "HTTP 304" in refused(keys.warm).detail
    clock.now = COOLDOWN
    script.answer = script.good  # without an ETag: the next is not asked about it either
    keys.warm()
    script.answer = saying(304)
    with pytest.raises(KeysUnavailable, match="HTTP 304"):
        arrival(keys.refresh())
    assert keys.key_set() is not None


def test_an_etag_is_forgotten_with_the_answer_that_no_longer_has_it(keys: RemoteJWKS, script: Script) -> None:
    script.headers = {"etag": '"one"'}
    arrival(keys.refresh())
    script.headers = {}
    arrival(keys.refresh())
    arrival(keys.refresh())
    assert [asked[1].get("If-None-Match") for asked in script.asked] == [None, '"one"', None]


# --------------------------------------------------------------------------- where the keys are


class Metadata(Script):
    """An issuer whose metadata points to `jwks_uri`."""

    jwks_uri = "https://idp.test/one"

    def __call__(self, url: str, *, headers: Mapping[str, str], timeout: float, max_bytes: int) -> Fetched:
        if "/.well-known/" in url:
            self.asked.append((url, dict(headers)))
            return Fetched(200, {}, json.dumps({"issuer": self.issuer.issuer, "jwks_uri": self.jwks_uri}).encode())
        return super().__call__(url, headers=headers, timeout=timeout, max_bytes=max_bytes)

    @property
    def paths(self) -> list[str]:
        return [
            url.removeprefix("https://idp.test/").replace(".well-known/openid-configuration", "?")
            for url, _ in self.asked
        ]


def discovered(script: Script, clock: Clock, **options: Any) -> RemoteJWKS:
    return RemoteJWKS.from_issuer(script.issuer.issuer, fetcher=script, clock=clock, **options)


def test_the_metadata_is_read_again_after_an_hour_and_after_a_failure(issuer: LocalIssuer, clock: Clock) -> None:
    script = Metadata(issuer)
    keys = discovered(script, clock)
    for now in (0.0, 1800.0, 3599.0, 3600.0):
        clock.now = now
        arrival(keys.refresh())
    assert script.paths == ["?", "one", "one", "one", "?", "one"]
    script.asked.clear()
    script.answer = script.ill
    with pytest.raises(KeysUnavailable):
        arrival(keys.refresh())
    script.answer = script.good
    clock.now += COOLDOWN
    arrival(keys.refresh())
    assert script.paths == ["one", "?", "one"]


def test_an_etag_is_not_sent_to_another_place(issuer: LocalIssuer, clock: Clock) -> None:
    script = Metadata(issuer, etag='"one"')
    keys = discovered(script, clock)
    arrival(keys.refresh())
    arrival(keys.refresh())
    script.jwks_uri = "https://idp.test/two"
    clock.now = 3600.0
    arrival(keys.refresh())
    sent = [(url[-3:], headers.get("If-None-Match")) for url, headers in script.asked if "well-known" not in url]
    assert sent == [("one", None), ("one", '"one"'), ("two", None)]


def test_a_304_from_another_place_is_a_failure(issuer: LocalIssuer, clock: Clock) -> None:
    script = Metadata(issuer, etag='"one"')
    keys = discovered(script, clock)
    arrival(keys.refresh())
    script.jwks_uri = "https://idp.test/two"
    script.answer = saying(304)
    clock.now = 3600.0
    with pytest.raises(KeysUnavailable, match="HTTP 304"):
        arrival(keys.refresh())


# ---------------------------------------------------------------------------------------- outages

OUTAGES: dict[str, Answer] = {
    "500": saying(500),
    "404": saying(404),
    "HTML": saying(200, b"<html>maintenance</html>"),
    "nothing": saying(200),
    "no keys": saying(200, b'{"keys":[]}'),
    "no set": saying(200, b"[]"),
    "null": saying(200, b"null"),
    "deep": saying(200, b"[" * 60_000),
    "an unasked 304": saying(304),
    "a redirect": saying(302, headers={"location": "https://evil.test/"}),
    "refused": failing(ConnectionRefusedError()),
    "exit": failing(SystemExit()),
    "too long": saying(200, b" " * 65_537),
    "no Fetched": lambda: None,  # type: ignore[dict-item, return-value]
    "no bytes": lambda: Fetched(200, {}, None),  # type: ignore[arg-type]
    "text": lambda: Fetched(200, {}, '{"keys":[]}'),  # type: ignore[arg-type]
    "no headers": lambda: Fetched(200, None, b"{}"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", OUTAGES)
def test_no_valid_token_of_a_known_key_is_refused_in_an_outage_of_half_an_hour(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, clock: Clock, name: str
) -> None:
    token = issuer.token()
    subject.verify(token)
    script.answer = OUTAGES[name]
    for now in range(0, 1800, 7):
        clock.now = float(now)
        assert subject.verify(token).subject == "user-1"
        settle(subject)
    assert 2 <= script.fetches <= 2 + 1800 / COOLDOWN + 5  # the pauses double up to the cooldown
    script.answer = script.good
    clock.now = 1800 + COOLDOWN
    subject.verify(token)
    settle(subject)
    assert (subject.verify(token).subject, keys_of(subject).health().failures) == ("user-1", 0)


def keys_of(subject: JWTVerifier) -> RemoteJWKS:
    assert isinstance(subject.keys, RemoteJWKS)
    return subject.keys


def test_no_valid_token_of_a_known_key_is_refused_while_fetches_hang_for_half_an_hour(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, clock: Clock
) -> None:
    token = issuer.token()
    subject.verify(token)
    with script.hold():
        for now in range(0, 1800, 7):
            clock.now = float(now)
            assert subject.verify(token).subject == "user-1"
        assert script.fetches == 4  # three that hang
    for _ in range(3):
        script.wait_until_held()


@given(st.lists(st.tuples(st.sampled_from(sorted(OUTAGES)), st.floats(0.01, 120)), min_size=5, max_size=60))
@settings(max_examples=30)
def test_no_valid_token_of_a_known_key_is_refused_whatever_the_outage(script: list[tuple[str, float]]) -> None:
    clock = Clock(0.0)
    issuer = LocalIssuer("https://idp.test/", audience=AUDIENCE, key=key("ES256"))
    idp = Script(issuer)
    subject = verifier(remote(idp, clock, on_event=lambda _event: None), issuer)
    token = issuer.token()
    subject.verify(token)
    for name, step in script:
        if clock.now + step >= 1800:
            break
        clock.now += step
        idp.answer = OUTAGES[name]
        assert subject.verify(token).subject == "user-1"
        settle(subject)


def test_an_outage_ends_the_use_of_old_keys_after_its_time_and_of_remembered_tokens_too(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, clock: Clock, drive: Driver
) -> None:
    token = issuer.token()
    drive(subject, "verify", token)
    script.answer = script.ill
    clock.now = TTL + STALE - 0.01
    assert drive(subject, "verify", token).subject == "user-1"
    settle(subject)
    clock.now = TTL + STALE
    assert type(drive.error(subject, "verify", token)) is KeysUnavailable
    script.answer = script.good
    clock.now += COOLDOWN
    assert drive(subject, "verify", token).subject == "user-1"


def test_without_stale_if_error_a_set_ends_with_its_time(script: Script, issuer: LocalIssuer, clock: Clock) -> None:
    subject = verifier(remote(script, clock, stale_if_error=0), issuer)
    token = issuer.token()
    subject.verify(token)
    script.answer = script.ill
    clock.now = TTL - 0.01
    assert subject.verify(token).subject == "user-1"
    settle(subject)
    clock.now = TTL
    assert type(refused(subject.verify, token)) is KeysUnavailable


@pytest.mark.parametrize("now", [0.0, 0.75 * TTL, TTL + STALE])
def test_a_thousand_requests_in_a_second_of_500s_make_at_most_three_fetches(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, clock: Clock, now: float
) -> None:
    token = issuer.token()
    if now:
        subject.verify(token)
    script.asked.clear()
    script.answer = script.ill
    for number in range(1000):
        clock.now = now + number / 1000
        with contextlib.suppress(KeysUnavailable):
            subject.verify(token)
        with contextlib.suppress(AuthError):
            subject.verify(issuer.token(header={"kid": f"unknown-{number}"})) if number % 20 == 0 else None
        settle(subject)
    assert 1 <= script.fetches <= 3


def test_the_callers_of_a_failing_issuer_are_told_when_to_come_again(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, clock: Clock, drive: Driver
) -> None:
    script.answer = script.ill
    drive.error(subject, "verify", issuer.token())
    clock.now = 0.25
    error = drive.error(subject, "verify", issuer.token())
    assert isinstance(error, KeysUnavailable)
    assert (error.retry_after, script.fetches) == (1, 1)  # whole seconds, as the header has them


def test_a_server_that_starts_while_its_issuer_is_down_finds_it_by_itself(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, clock: Clock, drive: Driver
) -> None:
    script.answer = script.ill
    assert type(drive.error(subject, "warm")) is KeysUnavailable
    assert type(drive.error(subject, "verify", issuer.token())) is KeysUnavailable
    script.answer = script.good
    clock.now = 1.0
    assert drive(subject, "verify", issuer.token()).subject == "user-1"


def test_warming_a_source_needs_no_verifier(keys: RemoteJWKS, script: Script, drive: Driver) -> None:
    drive(keys, "warm")
    drive(keys, "warm")
    assert (script.fetches, keys.health().keys) == (1, 1)


# ----------------------------------------------------------------------------------- rotation


def test_a_key_rotated_a_second_after_an_ordinary_refresh_is_found(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, clock: Clock, drive: Driver
) -> None:
    drive(subject, "warm")
    clock.now = 0.75 * TTL
    drive(subject, "verify", issuer.token())
    settle(subject)
    clock.now += 1
    rotate(issuer)
    assert drive(subject, "verify", issuer.token()).subject == "user-1"
    assert script.fetches == 3


def test_two_rotations_in_a_row_are_found_the_second_when_its_token_comes_again(
    subject: JWTVerifier, issuer: LocalIssuer, clock: Clock
) -> None:
    subject.warm()
    rotate(issuer, 2)
    assert subject.verify(issuer.token()).subject == "user-1"
    rotate(issuer, 3)
    assert type(refused(subject.verify, issuer.token())) is UnknownKey
    assert subject.verify(issuer.token()).subject == "user-1"


@pytest.mark.parametrize("number", range(10))
def test_under_load_no_valid_token_is_refused_when_a_key_is_rotated(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, number: int
) -> None:
    subject.warm()
    failures: list[AuthError] = []
    tokens = [issuer.token()]  # the last is what the issuer signs now, with a key that it has published
    rotated = threading.Event()

    def ask() -> None:
        after = 0
        while after < 20:
            after += rotated.is_set()
            try:
                subject.verify(tokens[-1])
            except AuthError as error:
                failures.append(error)

    with ThreadPoolExecutor(8) as threads:
        loads = [threads.submit(ask) for _ in range(8)]
        rotate(issuer)
        tokens.append(issuer.token())
        rotated.set()
        for load in loads:
            load.result(DEADLINE)
    assert (failures, script.fetches) == ([], 2)


def test_a_search_that_finds_the_set_without_a_key_ends_its_remembered_tokens(
    subject: JWTVerifier, issuer: LocalIssuer, drive: Driver
) -> None:
    old = issuer.token()
    drive(subject, "verify", old)
    rotate(issuer, drop=True)
    drive(subject, "verify", issuer.token())
    assert type(drive.error(subject, "verify", old)) is UnknownKey


# ------------------------------------------------------------------------------- unknown kids


def test_a_thousand_unknown_kids_from_many_threads_make_at_most_two_fetches(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer
) -> None:
    subject.warm()
    script.asked.clear()
    tokens = [issuer.token(header={"kid": f"unknown-{number}"}) for number in range(1000)]
    with ThreadPoolExecutor(16) as threads:
        errors = set(threads.map(lambda token: type(refused(subject.verify, token)), tokens))
    assert (errors, script.fetches in (1, 2)) == ({UnknownKey}, True)


def test_the_same_unknown_kid_a_thousand_times_makes_one_fetch_each_cooldown(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, clock: Clock
) -> None:
    subject.warm()
    token = issuer.token(header={"kid": "unknown"})
    for now in (0.0, 29.9, 30.0, 59.9, 60.0):
        clock.now = now
        for _ in range(200):
            assert type(refused(subject.verify, token)) is UnknownKey
    assert script.fetches == 1 + 3


def test_while_nobody_can_say_an_unknown_kid_is_unavailable_and_not_invalid(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, clock: Clock, drive: Driver
) -> None:
    drive(subject, "warm")
    script.answer = script.ill
    errors = []
    for number in range(5):
        clock.now = 2.0 * number
        errors.append(type(drive.error(subject, "verify", issuer.token(header={"kid": f"unknown-{number % 2}"}))))
    assert errors == [KeysUnavailable] * 5


def test_a_key_whose_first_search_failed_is_found_by_the_next(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, clock: Clock
) -> None:
    subject.warm()
    rotate(issuer)
    script.answer = script.ill
    token = issuer.token()
    assert type(refused(subject.verify, token)) is KeysUnavailable
    script.answer = script.good
    clock.now = 1.0
    assert subject.verify(token).subject == "user-1"


def test_twice_asked_invented_kids_delay_a_rotated_key_by_a_cooldown_at_most(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer, clock: Clock
) -> None:
    """The worst that someone without a key can do: spend each search as soon as there is one."""
    subject.warm()
    numbers = itertools.count()

    def flood() -> None:
        for _ in range(3):
            token = issuer.token(header={"kid": f"invented-{next(numbers)}"})
            for _ in range(2):
                assert type(refused(subject.verify, token)) is UnknownKey

    flood()
    rotate(issuer)
    fresh = issuer.token()
    found_at = None
    while found_at is None and clock.now <= 2 * COOLDOWN:
        clock.now += 1
        flood()
        with contextlib.suppress(UnknownKey):
            subject.verify(fresh)
            found_at = clock.now
    assert found_at is not None
    assert found_at <= COOLDOWN + 1
    assert script.fetches <= 1 + 2 + 1


# ------------------------------------------------------------------------------- odd keys in a set


def weak_jwk() -> dict[str, Any]:
    from cryptography.hazmat.primitives.asymmetric import rsa

    from graphql_authkit.keys.jwk import public_jwk

    return public_jwk(rsa.generate_private_key(65537, 1024).public_key())


SPOILERS: dict[str, Callable[[], Any]] = {
    "null": lambda: None,
    "a number": lambda: 5,
    "a list": list,
    "an empty object": dict,
    "a private key": lambda: {**key("ES256", 2).public_jwk(), "d": "AQAB"},
    "a secret": lambda: {"kty": "oct", "k": "c" * 80, "alg": "HS256", "kid": "s"},
    "a weak key": weak_jwk,
    "an unknown type": lambda: {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
    "an unknown curve": lambda: {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
    "a point off the curve": lambda: {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
    "an unknown alg": lambda: {**key("ES256", 2).public_jwk(), "alg": "none"},
    "for encryption": lambda: {**key("ES256", 2).public_jwk(), "use": "enc"},
    "a kid that is no string": lambda: {**key("ES256", 2).public_jwk(), "kid": ["a"]},
    "a type that is no string": lambda: {"kty": ["RSA"]},
    "no base64": lambda: {"kty": "RSA", "n": "!", "e": "AQAB"},
    "an exponent of one": lambda: {**key("RS256").public_jwk(), "kid": "e", "e": "AQ"},
    "a huge modulus": lambda: {"kty": "RSA", "n": "_" * 20_000, "e": "AQAB"},
}


@pytest.mark.parametrize("name", SPOILERS)
def test_one_odd_key_never_spoils_the_set(script: Script, issuer: LocalIssuer, clock: Clock, name: str) -> None:
    documents = [[SPOILERS[name](), *issuer.jwks()["keys"]], [*issuer.jwks()["keys"], SPOILERS[name]()]]
    for entries in documents:
        script.answer = saying(200, json.dumps({"keys": entries}).encode())
        assert verifier(remote(script, clock), issuer).verify(issuer.token()).subject == "user-1"


def test_all_odd_keys_together_never_spoil_the_set_and_each_is_told(
    script: Script, issuer: LocalIssuer, clock: Clock
) -> None:
    told: queue.Queue[Event] = queue.Queue()
    entries = [*(make() for make in SPOILERS.values()), *issuer.jwks()["keys"]]
    script.answer = saying(200, json.dumps({"keys": entries}).encode())
    keys = remote(script, clock, on_event=told.put)
    assert verifier(keys, issuer).verify(issuer.token()).subject == "user-1"
    event = told.get(timeout=DEADLINE)
    assert isinstance(event, KeysFetched)
    assert event.usable + len(event.left_out) == len(entries)


def test_a_secret_in_a_public_set_signs_nothing(script: Script, issuer: LocalIssuer, clock: Clock) -> None:
    secret = SecretKey(b"c" * 60, key_id="s")
    script.answer = saying(
        200,
        json.dumps(
            {"keys": [*issuer.jwks()["keys"], {"kty": "oct", "k": "Y" * 80, "alg": "HS256", "kid": "s"}]}
        ).encode(),
    )
    subject = verifier(remote(script, clock), issuer)
    token = issuer.token(key=secret, header={"kid": "s"})
    assert type(refused(subject.verify, token)) is UnknownKey


def test_two_keys_of_one_kid_are_told_apart_by_alg(script: Script, issuer: LocalIssuer, clock: Clock) -> None:
    rsa, elliptic = key("RS256"), key("ES256")
    entries = [{**each.public_jwk(), "kid": "same"} for each in (rsa, elliptic)]
    script.answer = saying(200, json.dumps({"keys": entries}).encode())
    subject = verifier(remote(script, clock), issuer)
    for each in (rsa, elliptic):
        token = issuer.token(key=each, header={"kid": "same", "alg": each.algorithm})
        assert subject.verify(token).subject == "user-1"


def test_two_keys_of_one_kid_and_alg_are_refused_and_never_tried(
    script: Script, issuer: LocalIssuer, clock: Clock
) -> None:
    entries = [{**key("ES256", number).public_jwk(), "kid": "same"} for number in (1, 2)]
    script.answer = saying(200, json.dumps({"keys": entries}).encode())
    subject = verifier(remote(script, clock), issuer)
    for number in (1, 2):
        token = issuer.token(key=key("ES256", number), header={"kid": "same"})
        error = refused(subject.verify, token)
        assert (type(error), "2 keys fit" in error.detail) == (UnknownKey, True)
    assert script.fetches == 1


def test_a_forged_token_of_a_known_kid_causes_no_fetch(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer
) -> None:
    subject.warm()
    for _ in range(20):
        assert type(refused(subject.verify, issuer.token(key=key("ES256", 2)))) is BadSignature
    assert script.fetches == 1


@pytest.mark.parametrize(("count", "is_had"), [(100, True), (101, False)])
def test_a_set_has_a_hundred_keys_at_most(script: Script, clock: Clock, count: int, is_had: bool) -> None:
    entries = [{**key("ES256").public_jwk(), "kid": f"k{number}"} for number in range(count)]
    script.answer = saying(200, json.dumps({"keys": entries}).encode())
    keys = remote(script, clock)
    with contextlib.suppress(KeysUnavailable):
        keys.warm()
    assert keys.health().is_usable == is_had


@pytest.mark.parametrize(("size", "is_had"), [(65_536, True), (65_537, False)])
def test_a_set_has_64_kib_at_most(script: Script, issuer: LocalIssuer, clock: Clock, size: int, is_had: bool) -> None:
    script.answer = saying(200, json.dumps(issuer.jwks()).encode().ljust(size))
    keys = remote(script, clock)
    with contextlib.suppress(KeysUnavailable):
        keys.warm()
    assert keys.health().is_usable == is_had


# --------------------------------------------------------------------------- health


def test_health_tells_the_story_of_a_source(keys: RemoteJWKS, script: Script, clock: Clock) -> None:
    def story() -> tuple[object, ...]:
        health = keys.health()
        assert health.is_usable == (
            keys._renewal._view.keys is not None and clock.now < keys._renewal._view.usable_until
        )
        return health.is_usable, health.is_fresh, health.keys, health.age, health.failures, health.next_refresh

    assert story() == (False, False, 0, None, 0, None)
    keys.warm()
    assert story() == (True, True, 1, 0.0, 0, 225.0)
    clock.now = 100.0
    assert story() == (True, True, 1, 100.0, 0, 125.0)
    clock.now = 250.0
    script.answer = script.ill
    keys.key_set()
    settle(keys)
    assert story() == (True, True, 1, 250.0, 1, 1.0)
    assert "HTTP 500" in str(keys.health().last_error)
    clock.now = 400.0
    assert story() == (True, False, 1, 400.0, 1, 0.0)
    clock.now = TTL + STALE
    assert story() == (False, False, 1, TTL + STALE, 1, 0.0)
    script.answer = script.good
    keys.warm()
    assert story() == (True, True, 1, 0.0, 0, 225.0)
    keys.close()
    assert story() == (False, False, 0, None, 0, None)


def test_health_fetches_nothing(keys: RemoteJWKS, script: Script) -> None:
    assert (keys.health().last_success, script.fetches) == (None, 0)


# ------------------------------------------------------------------------- the listener


@pytest.mark.parametrize("failure", [LookupError, SystemExit])
def test_a_listener_that_fails_harms_no_fetch(
    script: Script,
    issuer: LocalIssuer,
    clock: Clock,
    failure: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_event: Event) -> None:
        raise failure

    # Python itself says nothing of a thread that exits; pytest would.
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    subject = verifier(remote(script, clock, on_event=fail), issuer)
    assert subject.verify(issuer.token()).subject == "user-1"
    rotate(issuer)
    assert subject.verify(issuer.token()).subject == "user-1"
    script.answer = script.ill
    clock.now = TTL + STALE
    assert type(refused(subject.warm)) is KeysUnavailable
    assert all(ended(thread) for thread in flight_threads())


def test_a_listener_may_use_and_close_the_source_that_tells_it(script: Script, clock: Clock) -> None:
    done: queue.Queue[object] = queue.Queue()
    sources: list[RemoteJWKS] = []

    def listen(_event: Event) -> None:
        source = sources[0]
        done.put((source.key_set() is not None, source.health().is_usable))
        source.close()
        done.put(type(refused(source.refresh)))

    sources.append(remote(script, clock, on_event=listen))
    arrival(sources[0].refresh())
    assert [done.get(timeout=DEADLINE) for _ in range(2)] == [(True, True), KeysUnavailable]


# -------------------------------------------------------------------------- threads and ends


def test_there_is_no_thread_but_while_a_fetch_is_under_way() -> None:
    issuer = LocalIssuer(audience=AUDIENCE, key=key("ES256"))
    assert all(ended(thread) for thread in own_threads())  # those of the tests before
    with issuer.serve() as url:
        subject = JWTVerifier.from_issuer(url, audience=AUDIENCE)
        assert own_threads() == []
        subject.verify(issuer.token())
        keys_of(subject).close()
        assert all(ended(thread) for thread in own_threads())


@contextmanager
def silence(*, https: bool = False) -> Iterator[tuple[str, queue.Queue[bytes]]]:
    """A server that accepts, notes what it is sent, and says nothing, until the end."""
    got: queue.Queue[bytes] = queue.Queue()
    connections: list[socket.socket] = []

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                connections.append(connection)
                got.put(connection.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = started(lambda: serve(server))
        port = server.getsockname()[1]
        try:
            yield f"http{'s' if https else ''}://127.0.0.1:{port}/jwks", got
        finally:
            for connection in connections:
                connection.close()
            server.shutdown(socket.SHUT_RDWR)
            assert ended(thread)


@pytest.mark.parametrize("https", [False, True], ids=["http", "handshake"])
def test_closing_ends_an_exchange_that_hangs_and_whoever_waits_for_it(https: bool, issuer: LocalIssuer) -> None:
    with silence(https=https) as (url, got):
        keys = RemoteJWKS(url, timeout=60)
        errors: queue.Queue[AuthError] = queue.Queue()
        waiter = started(lambda: errors.put(refused(verifier(keys, issuer).verify, issuer.token())))
        assert got.get(timeout=DEADLINE)
        begun = time.monotonic()
        keys.close()
        took = time.monotonic() - begun
        assert type(errors.get(timeout=DEADLINE)) is KeysUnavailable
        assert (took < 5, ended(waiter)) == (True, True)
        assert flight_threads() == []


def test_closing_waits_for_a_fetcher_of_ones_own_and_what_it_brings_is_not_used(
    keys: RemoteJWKS, script: Script
) -> None:
    with script.hold() as gate:
        flight = keys.refresh()
        script.wait_until_held()
        closing = started(keys.close)
        gate.set()
        assert ended(closing)
    arrival(flight)
    assert (keys.key_set(), own_flights(keys)) == (None, None)
    assert flight_threads() == []


def test_a_closed_source_gives_no_keys_not_even_to_remembered_tokens(
    subject: JWTVerifier, keys: RemoteJWKS, script: Script, issuer: LocalIssuer, drive: Driver
) -> None:
    token = issuer.token()
    drive(subject, "verify", token)
    with keys:
        pass
    keys.close()
    assert type(drive.error(subject, "verify", token)) is KeysUnavailable
    assert type(drive.error(subject, "warm")) is KeysUnavailable
    assert (keys.key_set(), keys.health().is_usable, script.fetches) == (None, False, 1)


def test_closing_before_the_first_use_is_no_error(keys: RemoteJWKS, script: Script) -> None:
    keys.close()
    assert ("closed" in refused(keys.warm).detail, script.fetches) == (True, 0)


def test_closing_while_many_threads_look_up_is_no_error_but_unavailable(
    subject: JWTVerifier, keys: RemoteJWKS, issuer: LocalIssuer
) -> None:
    subject.warm()
    token = issuer.token()
    kinds: list[type] = []

    def ask() -> None:
        for _ in range(100):
            try:
                subject.verify(token)
            except BaseException as error:
                kinds.append(type(error))

    threads = [started(ask) for _ in range(8)]
    keys.close()
    assert all(ended(thread) for thread in threads)
    assert set(kinds) <= {KeysUnavailable}


def test_a_source_that_nobody_holds_is_collected_after_its_flight(script: Script, clock: Clock) -> None:
    keys = remote(script, clock)
    with script.hold():
        flight = keys.refresh()
        script.wait_until_held()
        gone = weakref.ref(keys)
        del keys
        gc.collect()
    assert len(arrival(flight)) == 1
    for thread in own_threads():
        assert ended(thread)
    gc.collect()
    assert gone() is None


def test_a_loop_that_closes_before_its_fetch_ends_harms_no_later_one(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer
) -> None:
    async def give_up() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(subject.averify(issuer.token()), 0.01)

    with script.hold():
        asyncio.run(give_up())
        script.wait_until_held()
        flight = keys_of(subject)._renewal._state.flight
    assert flight is not None
    arrival(flight.future)
    assert asyncio.run(subject.averify(issuer.token())).subject == "user-1"
    assert script.fetches == 1


def test_loops_and_threads_share_one_flight(subject: JWTVerifier, script: Script, issuer: LocalIssuer) -> None:
    token = issuer.token()

    async def many() -> list[str]:
        return [one.subject for one in await asyncio.gather(*(subject.averify(token) for _ in range(20)))]

    with ThreadPoolExecutor(8) as threads, script.hold() as gate:
        loops = [threads.submit(lambda: asyncio.run(many())) for _ in range(4)]
        plain = [threads.submit(subject.verify, token) for _ in range(4)]
        script.wait_until_held()
        gate.set()
        assert [loop.result(DEADLINE) for loop in loops] == [["user-1"] * 20] * 4
        assert [one.result(DEADLINE).subject for one in plain] == ["user-1"] * 4
    assert script.fetches == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"cache-control": None, "age": None, "etag": None},
        {"cache-control": b"max-age=1", "age": 5, "etag": 5},
        {None: None, 5: 5},
    ],
)
def test_nonsense_in_the_headers_of_a_fetcher_is_no_news(script: Script, keys: RemoteJWKS, headers: Any) -> None:
    script.headers = headers
    assert len(arrival(keys.refresh())) == 1
    assert len(arrival(keys.refresh())) == 1


@pytest.mark.parametrize("headers", [None, 5, [], "etag"])
def test_headers_that_are_no_mapping_are_a_failed_fetch(script: Script, keys: RemoteJWKS, headers: Any) -> None:
    script.headers = headers
    with pytest.raises(KeysUnavailable):
        arrival(keys.refresh())


# ------------------------------------------------------------------------------------------- forks

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
quietly = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def in_child(work: Callable[[], bool]) -> int:
    """The exit code of a forked child: 0 where the work says yes."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)  # never back into pytest
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -1


def closes(keys: RemoteJWKS) -> bool:
    keys.close()
    return True


@forks
@quietly
def test_a_forked_child_verifies_with_its_parents_keys_and_fetches_nothing(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer
) -> None:
    subject.warm()
    token = issuer.token()
    assert in_child(lambda: subject.verify(token).subject == "user-1" and script.fetches == 1) == 0


@forks
@quietly
@pytest.mark.parametrize("is_async", [False, True])
def test_a_child_forked_in_the_midst_of_everything_verifies_and_finds_new_keys(
    subject: JWTVerifier, keys: RemoteJWKS, script: Script, issuer: LocalIssuer, clock: Clock, is_async: bool
) -> None:
    subject.warm()
    drive = Driver("asyncio" if is_async else "sync")

    def work() -> bool:
        script._gate = None  # the issuer answers the child
        old = drive(subject, "verify", issuer.token()).subject
        rotate(issuer)
        new = drive(subject, "verify", issuer.token()).subject
        clock.now = 10 * TTL
        later = drive(subject, "verify", issuer.token()).subject
        settle(subject)
        keys.close()
        return (old, new, later) == ("user-1",) * 3

    with script.hold():
        keys.refresh()
        script.wait_until_held()
        with keys._renewal._state.lock:
            assert in_child(work) == 0
    settle(keys)
    assert subject.verify(issuer.token()).subject == "user-1"


@forks
@quietly
def test_a_child_forked_before_the_first_use_makes_its_own_first_fetch(
    subject: JWTVerifier, script: Script, issuer: LocalIssuer
) -> None:
    token = issuer.token()
    assert in_child(lambda: subject.verify(token).subject == "user-1" and script.fetches == 1) == 0
    assert (subject.verify(token).subject, script.fetches) == ("user-1", 1)


@forks
@quietly
def test_a_child_of_a_closed_source_finds_it_closed(keys: RemoteJWKS) -> None:
    keys.warm()
    keys.close()
    assert in_child(lambda: keys.key_set() is None and "closed" in refused(keys.refresh).detail) == 0


# ---------------------------------------------------------------------------------------- settings

CONTRADICTIONS: list[dict[str, Any]] = [
    {"timeout": 300, "ttl": 300},
    {"timeout": 301, "ttl": 300},
    {"cooldown": 301, "ttl": 300},
    {"stale_if_error": -1},
    {"stale_if_error": float("nan")},
    {"stale_if_error": float("inf")},
    {"stale_if_error": 604_801},
    {"stale_if_error": True},
    {"stale_if_error": None},
    {"stale_if_error": "0"},
    {"ttl": True},
    {"timeout": None},
    {"cooldown": float("nan")},
    {"trust_env": True, "fetcher": StandardFetcher()},
]


@pytest.mark.parametrize("options", CONTRADICTIONS, ids=repr)
@pytest.mark.parametrize("make", [RemoteJWKS, RemoteJWKS.from_issuer], ids=["url", "issuer"])
def test_contradictory_settings_are_refused_while_building(
    make: Callable[..., RemoteJWKS], options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError):
        make("https://idp.test/", **options)


@pytest.mark.parametrize("options", CONTRADICTIONS, ids=repr)
def test_contradictory_settings_are_refused_while_building_a_verifier(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        JWTVerifier.from_issuer("https://idp.test/", audience="a", **options)


def test_settings_at_their_bounds_are_accepted() -> None:
    RemoteJWKS(URL, timeout=299, ttl=300, cooldown=300, stale_if_error=0, max_bytes=1, max_keys=1)
    RemoteJWKS(URL, ttl=604_800, stale_if_error=604_800)


# ------------------------------------------------------------------------- all of it, in any order

KEYS = 5
ANSWERS = ["good", "500", "HTML", "no keys", "exit", "refused"]


class AnyOrder(RuleBasedStateMachine):
    """An issuer that does what it likes, in simulated time.

    What must hold throughout: each key answered was published within a set's time and the time of
    grace after it; whoever asks gets keys, None, or KeysUnavailable, at once; fetches are few.
    """

    @initialize(first=st.integers(0, KEYS - 1))
    def begin(self, first: int) -> None:
        self.clock = Clock(1000.0)
        self.issuer = LocalIssuer("https://idp.test/", audience=AUDIENCE, key=key("ES256", first))
        self.published_until: dict[str, float] = {}
        self.script = Script(self.issuer)
        self.keys = remote(self.script, self.clock, on_event=lambda _event: None)
        self.subject = verifier(self.keys, self.issuer)
        self.gate: threading.Event | None = None
        self.flights: set[Future[KeySet]] = set()
        self.kids = itertools.count()
        self.begun = self.clock.now

    def published(self) -> set[str]:
        return {str(each.key_id) for each in (self.issuer.key, *self.issuer.retired)}

    def note(self) -> None:
        """Remember the flight under way; where the issuer does not hang, wait for its end."""
        flight = self.keys._renewal._state.flight
        if flight is not None:
            self.flights.add(flight.future)
            if self.gate is None:
                flight.future.exception(DEADLINE)

    @rule(step=st.sampled_from([0.1, 1.0, 7.0, 16.0, 31.0, 100.0, 300.0, 1000.0, 5000.0]))
    def time_passes(self, step: float) -> None:
        self.clock.now += step

    @rule(name=st.sampled_from(ANSWERS))
    def answer(self, name: str) -> None:
        self.script.answer = self.script.good if name == "good" else OUTAGES[name]

    @rule(number=st.integers(0, KEYS - 1))
    def rotate(self, number: int) -> None:
        new = key("ES256", number)
        if str(new.key_id) not in self.published():
            self.issuer.rotate(new)

    @rule()
    def drop(self) -> None:
        for each in self.issuer.retired:
            self.published_until[str(each.key_id)] = self.clock.now
        self.issuer.retired.clear()

    @precondition(lambda self: self.gate is None)
    @rule()
    def hang(self) -> None:
        self.gate = self.script.hang()

    @precondition(lambda self: self.gate is not None)
    @rule()
    def release(self) -> None:
        assert self.gate is not None
        self.script._gate = None
        self.gate.set()
        self.gate = None
        for flight in self.flights:
            flight.exception(DEADLINE)
        self.flights.clear()

    @rule()
    def look_up(self) -> None:
        present = self.keys.key_set()
        self.note()
        for each in present.keys if present is not None else ():
            kid = str(each.kid)
            if kid not in self.published():
                assert self.clock.now - self.published_until[kid] < TTL + STALE

    @rule()
    def verify_known(self) -> None:
        """A token of a key that is in the present set is good, whatever goes on."""
        present = self.keys.key_set()
        self.note()
        token = self.issuer.token()
        if present is not None and str(self.issuer.key.key_id) in {each.kid for each in present.keys}:
            assert self.subject.verify(token).subject == "user-1"

    @rule(is_new=st.booleans())
    def search(self, is_new: bool) -> None:
        kid = f"invented-{next(self.kids)}" if is_new else "invented"
        with contextlib.suppress(KeysUnavailable):
            self.keys.refresh(kid)
        self.note()

    @rule()
    def refresh(self) -> None:
        if self.keys.key_set() is None:  # as callers do
            with contextlib.suppress(KeysUnavailable):
                self.keys.refresh()
        self.note()

    @invariant()
    def fetches_are_few(self) -> None:
        if hasattr(self, "script"):
            elapsed = self.clock.now - self.begun
            # Each search and each ordinary refresh may fail a few times before its pauses are as long as the cooldown.
            assert self.script.fetches <= 12 + 6 * elapsed / COOLDOWN

    @invariant()
    def health_agrees(self) -> None:
        if hasattr(self, "keys"):
            health = self.keys.health()
            assert health.is_usable >= health.is_fresh
            assert health.is_usable == (self.keys.key_set() is not None)
            self.note()

    @invariant()
    def flights_that_hang_are_few(self) -> None:
        if hasattr(self, "keys"):
            assert 0 <= self.keys._renewal._state.hanging <= 3

    def teardown(self) -> None:
        if hasattr(self, "keys"):
            if self.gate is not None:
                self.release()
            self.keys.close()
            assert self.keys.key_set() is None


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase


def test_a_key_that_another_thread_found_meanwhile_is_not_unknown(
    script: Script, issuer: LocalIssuer, clock: Clock
) -> None:
    """Between this caller's look at the old set and its search, the search of another one lands: it was paid
    for, so this one's gives None, and nobody looks at the present set again."""
    interrupting: list[Callable[[], object]] = []

    class Interrupted(RemoteJWKS):
        def refresh(self, unknown_kid: str | None = None) -> Future[KeySet] | None:
            if unknown_kid is not None and interrupting:
                interrupting.pop()()
            return super().refresh(unknown_kid)

    subject = verifier(Interrupted(URL, fetcher=script, clock=clock), issuer)
    subject.warm()
    rotate(issuer)
    interrupting.append(lambda: subject.verify(issuer.token()))
    assert subject.verify(issuer.token()).subject == "user-1"


def test_a_key_published_after_the_fetch_that_was_joined_began_is_not_unknown(
    subject: JWTVerifier, keys: RemoteJWKS, script: Script, issuer: LocalIssuer
) -> None:
    """What the issuer answered before it published the key says nothing about it: search again."""
    subject.warm()
    answers: queue.Queue[object] = queue.Queue()

    def ask(token: str) -> None:
        try:
            answers.put(subject.verify(token).subject)
        except AuthError as error:
            answers.put(error)

    with script.hold():
        keys.refresh()
        script.wait_until_held()  # the answer, without the key, is on its way
        rotate(issuer)
        joined = joining(keys)
        waiter = started(lambda: ask(issuer.token()))
        assert joined.wait(DEADLINE)
    assert (answers.get(timeout=DEADLINE), ended(waiter)) == ("user-1", True)


def joining(keys: RemoteJWKS) -> threading.Event:
    """Set when somebody asks for the flight under way."""
    joined = threading.Event()
    refresh = keys._renewal.refresh

    def noted(unknown_kid: str | None = None) -> Future[KeySet] | None:
        flight = refresh(unknown_kid)
        joined.set()
        return flight

    keys._renewal.refresh = noted  # type: ignore[method-assign]
    return joined


def test_who_waits_for_a_fetch_that_was_given_up_is_not_given_a_dropped_key(
    script: Script, issuer: LocalIssuer, clock: Clock
) -> None:
    """Its answer is dropped for lookups and handed to waiters, after a newer set without the key was seen."""
    subject = verifier(remote(script, clock, timeout=1.0), issuer)
    keys = keys_of(subject)
    old = issuer.token()
    answers: queue.Queue[object] = queue.Queue()
    with script.hold() as gate:
        hung = keys.refresh()
        script.wait_until_held()
        clock.now = 10.0
        refused(keys.refresh)  # given up
        clock.now = 20.0
        rotate(issuer, drop=True)
        script._gate = None
        arrival(keys.refresh())
        gate.set()
        assert hung is not None
        with contextlib.suppress(KeysUnavailable):
            answers.put({each.kid for each in hung.result(DEADLINE).keys})
    assert type(refused(subject.verify, old)) is UnknownKey
    assert answers.empty() or answers.get() == {issuer.key.key_id}


def test_metadata_that_comes_late_does_not_bring_back_where_the_keys_were(issuer: LocalIssuer, clock: Clock) -> None:
    """A given-up flight still sets `_location`: for up to an hour the old place is asked, and believed."""
    script = Metadata(issuer)
    gates = [threading.Event()]
    asked = threading.Event()

    def slow_at_first(url: str, **bounds: Any) -> Fetched:
        answer = script(url, **bounds)
        if gates:
            gate = gates.pop()
            asked.set()
            assert gate.wait(DEADLINE)
        return answer

    first = gates[0]
    keys = RemoteJWKS.from_issuer(issuer.issuer, fetcher=slow_at_first, clock=clock, timeout=1.0)
    hung = keys.refresh()
    assert asked.wait(DEADLINE)
    clock.now = 10.0
    refused(keys.refresh)  # given up
    script.jwks_uri = "https://idp.test/two"
    clock.now = 20.0
    arrival(keys.refresh())
    first.set()
    assert hung is not None
    hung.exception(DEADLINE)
    script.asked.clear()
    arrival(keys.refresh())
    assert script.paths == ["two"]


def test_a_key_that_is_published_at_a_new_place_is_found(issuer: LocalIssuer, clock: Clock) -> None:
    """An issuer that moves its keys with a rotation and leaves the old file behind: up to an hour of 401s."""
    script = Metadata(issuer)
    before = json.dumps(issuer.jwks()).encode()
    good = script.good
    script.answer = lambda: Fetched(200, {}, before) if script.asked[-1][0].endswith("one") else good()
    subject = verifier(discovered(script, clock), issuer)
    subject.warm()
    rotate(issuer)
    script.jwks_uri = "https://idp.test/two"
    token = issuer.token()
    with contextlib.suppress(UnknownKey):
        subject.verify(token)
    clock.now = COOLDOWN  # when the same kid may be searched for again
    assert subject.verify(token).subject == "user-1"


class Unsayable:
    def __str__(self) -> str:
        raise LookupError


@pytest.mark.parametrize(
    "headers",
    [{"cache-control": Unsayable()}, {"cache-control": "max-age=9", "age": Unsayable()}],
    ids=["control", "age"],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nonsense_headers_leave_nobody_waiting(script: Script, keys: RemoteJWKS, headers: Any) -> None:
    """`freshness` runs in `_land`, where what it raises leaves the future without an end."""
    script.headers = headers
    flight = keys.refresh()
    assert flight is not None
    assert isinstance(flight.exception(1.0), KeysUnavailable | None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_304_without_headers_leaves_nobody_waiting(keys: RemoteJWKS, script: Script) -> None:
    script.headers = {"etag": '"one"'}
    arrival(keys.refresh())
    script.answer = lambda: Fetched(304, None, b"")  # type: ignore[arg-type]
    flight = keys.refresh()
    assert flight is not None
    assert isinstance(flight.exception(1.0), KeysUnavailable | None)


@forks
@quietly
def test_a_child_that_closes_its_source_does_not_cut_its_parents_exchange(issuer: LocalIssuer) -> None:
    """`shutdown` is the connection's, not the descriptor's: the parent's fetch ends with the child's."""
    asked, gate = threading.Event(), threading.Event()
    with serving() as web:
        web.json("/jwks", issuer.jwks())
        good = web.routes["/jwks"]

        def answer(handler: Any) -> None:
            asked.set()
            gate.wait(DEADLINE)
            good(handler)

        web.routes["/jwks"] = answer
        keys = RemoteJWKS(web.url + "/jwks", timeout=DEADLINE)
        flight = keys.refresh()
        assert asked.wait(DEADLINE)
        assert in_child(lambda: closes(keys)) == 0
        gate.set()
        assert len(arrival(flight)) == 1


@forks
@quietly
def test_a_child_can_close_its_source_whatever_its_parents_threads_held(issuer: LocalIssuer) -> None:
    """The lock of an exchange, held by another thread at the fork, is held in the child for ever."""
    with silence() as (url, got):
        keys = RemoteJWKS(url, timeout=DEADLINE)
        keys.refresh()
        assert got.get(timeout=DEADLINE)
        assert isinstance(keys._fetch, StandardFetcher)
        (watchdog,) = keys._fetch._running
        with watchdog._lock:
            code = in_child(lambda: closes(keys))
        keys.close()
        assert code == 0


def test_closing_between_two_exchanges_ends_the_one_that_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """`close` cuts what is under way at that moment; the flight goes on with the next document."""
    cut, located = threading.Event(), threading.Event()
    with silence() as (url, _):
        keys = RemoteJWKS(url, timeout=4.0)
        assert isinstance(keys._fetch, StandardFetcher)
        close = keys._fetch.close
        monkeypatch.setattr(keys._fetch, "close", lambda: (close(), cut.set())[1])  # type: ignore[func-returns-value]

        def locate() -> str:
            located.set()
            cut.wait(DEADLINE)
            return url

        keys._locate = locate
        keys.refresh()
        assert located.wait(DEADLINE)
        begun = time.monotonic()
        keys.close()
        took = time.monotonic() - begun
        assert all(ended(thread) for thread in flight_threads())
        assert took < 2


def test_closing_ends_a_connection_that_is_not_yet_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """`_dial` hands its socket to the watchdog only once it is connected."""
    dialled = threading.Event()
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]  # fills the queue: the next one hangs in connect()
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        connect = socket.socket.connect
        monkeypatch.setattr(
            socket.socket,
            "connect",
            lambda self, address: (dialled.set(), connect(self, address))[1],  # type: ignore[func-returns-value]
        )
        keys = RemoteJWKS(f"http://127.0.0.1:{full.getsockname()[1]}/jwks", timeout=4.0)
        keys.refresh()
        assert dialled.wait(DEADLINE)
        begun = time.monotonic()
        keys.close()
        took = time.monotonic() - begun
        for one in waiting:
            one.close()
        assert all(ended(thread) for thread in flight_threads())
        assert took < 2


def test_closing_waits_for_the_thread_that_is_telling_the_listener(script: Script, clock: Clock) -> None:
    """ "It returns when its thread is gone": not while that one is in `on_event`, when the flight has landed."""
    telling, release = threading.Event(), threading.Event()

    def listen(_event: Event) -> None:
        telling.set()
        release.wait(DEADLINE)

    keys = remote(script, clock, on_event=listen)
    assert all(ended(thread) for thread in flight_threads())
    keys.warm()
    assert telling.wait(DEADLINE)
    timer = threading.Timer(0.2, release.set)
    timer.start()
    keys.close()
    left = flight_threads()
    release.set()
    assert ended(timer)
    assert left == []


def test_a_timer_does_not_outlive_its_exchange(issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog's timer is cancelled and not joined: it is there for a moment after close()."""

    class Sluggish(threading.Timer):
        def run(self) -> None:
            super().run()
            gate.wait(0.2)

    gate = threading.Event()
    monkeypatch.setattr("graphql_authkit._http.threading.Timer", Sluggish)
    with serving() as web:
        web.json("/jwks", issuer.jwks())
        with RemoteJWKS(web.url + "/jwks") as keys:
            keys.warm()
        left = [thread for thread in threading.enumerate() if isinstance(thread, Sluggish)]
    gate.set()
    assert all(ended(thread) for thread in left)
    assert left == []


def test_an_interrupted_start_of_a_thread_is_no_fetch_that_hangs_for_ever(
    keys: RemoteJWKS, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler that raises between take-off and start, three times (a task queue's soft time limit)."""

    def interrupted(_self: threading.Thread) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        for _ in range(3):
            with contextlib.suppress(KeyboardInterrupt, KeysUnavailable):
                keys.refresh()
            clock.now += 100
            with contextlib.suppress(KeyboardInterrupt, KeysUnavailable):
                keys.refresh()
            clock.now += 100
    clock.now += 86_400
    with contextlib.suppress(KeysUnavailable):
        keys.refresh()  # gives up the last one
    clock.now += 86_400
    assert len(arrival(keys.refresh())) == 1


@pytest.mark.parametrize("options", [{"timeout": 5, "ttl": 10, "cooldown": 10}, {"timeout": 100, "ttl": 300}], ids=repr)
def test_an_issuers_set_must_outlive_its_three_documents_too(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RemoteJWKS.from_issuer("https://idp.test/", **options)


@pytest.mark.parametrize("options", [{"max_bytes": 65_536.5}, {"max_keys": 1.5}, {"max_bytes": 65_536.0}], ids=repr)
def test_a_count_that_is_no_whole_number_is_refused_while_building(options: dict[str, Any]) -> None:
    """`response.read(65537.5)` is a TypeError in each and every fetch."""
    with pytest.raises(ConfigurationError):
        RemoteJWKS(URL, **options)


def test_a_clock_that_jumps_back_does_not_prolong_trust_in_old_keys(
    subject: JWTVerifier, keys: RemoteJWKS, issuer: LocalIssuer, clock: Clock
) -> None:
    """An hour back: no refresh for an hour and more, and a dropped key is good for as long."""
    clock.now = 7200.0
    old = issuer.token()
    subject.verify(old)
    rotate(issuer, drop=True)
    clock.now = 3600.0
    with contextlib.suppress(UnknownKey):
        subject.verify(old)  # may start the fetch, as that of a set that is due, or wait for it
    settle(keys)
    clock.now = 3600.0 + TTL
    with contextlib.suppress(UnknownKey):
        subject.verify(old)
    settle(keys)
    assert type(refused(subject.verify, old)) is UnknownKey


def test_all_lines_of_cache_control_count() -> None:
    """RFC 9110, section 5.3: several lines are one list; here the last one wins."""
    with serving() as web:
        body = json.dumps({"keys": [key("ES256").public_jwk()]}).encode()

        def answer(handler: Any) -> None:
            lines = b"Cache-Control: no-store\r\nCache-Control: max-age=300\r\n"
            handler.wfile.write(b"HTTP/1.0 200 OK\r\n" + lines + b"\r\n" + body)

        web.routes["/jwks"] = answer
        with RemoteJWKS(web.url + "/jwks", clock=Clock(0.0)) as keys:
            arrival(keys.refresh())
            assert keys.health().next_refresh == 0.75 * COOLDOWN
