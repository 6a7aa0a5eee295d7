"""Back-channel logout: what the specification asks of a logout token, and what is then taken back."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from graphql_authkit import JWKS, ConfigurationError, MemoryRevocationStore, Revocations, VerifiedToken
from graphql_authkit.asgi import logout_app as asgi_logout_app
from graphql_authkit.errors import KeysUnavailable, TokenRevoked
from graphql_authkit.events import Event, LogoutReceived, LogoutRefused
from graphql_authkit.logout import EVENT, MAX_BODY_BYTES, BackChannelLogout
from graphql_authkit.testing import sign
from graphql_authkit.wsgi import logout_app as wsgi_logout_app
from tests.support import AUDIENCE, ISSUER, NOW, Clock, Driver, key, local_issuer, verifier

FORM = "application/x-www-form-urlencoded"
CLIENT = "client-1"
CLAIMS = {
    "iss": ISSUER,
    "aud": CLIENT,
    "iat": int(NOW),
    "exp": int(NOW) + 120,
    "jti": "logout-1",
    "sub": "alice",
    "sid": "s-1",
    "events": {EVENT: {}},
}


def logout_token(*, typ: str | None = "logout+jwt", without: str = "", signer: Any = None, **changes: Any) -> str:
    header = {"alg": "RS256", "kid": key().key_id, **({} if typ is None else {"typ": typ})}
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if name != without}
    return sign(header, claims, signer or key())


def form(token: str) -> bytes:
    return urlencode({"logout_token": token}).encode()


class World:
    def __init__(self) -> None:
        self.clock = Clock(NOW)
        self.told: list[Event] = []
        self.revocations = Revocations(MemoryRevocationStore(), clock=self.clock, on_event=lambda _event: None)
        self.logout = self.make()

    def make(self, **options: Any) -> BackChannelLogout:
        given: dict[str, Any] = {
            "keys": JWKS({"keys": [key().public_jwk()]}),
            "issuer": ISSUER,
            "client_ids": [CLIENT],
            "revocations": self.revocations,
            "clock": self.clock,
            "on_event": self.told.append,
        }
        return BackChannelLogout(**{**given, **options})

    def is_revoked(self, **claims: Any) -> bool:
        claims = {"iat": int(NOW), "sid": "s-1", **claims}
        token: VerifiedToken = verifier().verify(local_issuer().token("alice", claims=claims))
        try:
            self.revocations.check(token)
        except TokenRevoked:
            return True
        return False


@pytest.fixture
def world() -> World:
    return World()


def test_a_session_that_ended_takes_its_tokens_back_and_no_others(world: World, drive: Driver) -> None:
    assert drive(world.logout, "handle", FORM, form(logout_token())).status == 200
    assert (world.is_revoked(), world.is_revoked(sid="s-2")) == (True, False)
    assert world.told == [LogoutReceived(ISSUER, "alice", "s-1")]


def test_without_a_session_all_of_the_subjects_tokens_are_taken_back(world: World, drive: Driver) -> None:
    assert drive(world.logout, "handle", FORM, form(logout_token(without="sid"))).status == 200
    assert (world.is_revoked(), world.is_revoked(sid="s-2")) == (True, True)


def test_a_session_without_a_subject_is_enough(world: World, drive: Driver) -> None:
    assert drive(world.logout, "handle", FORM, form(logout_token(without="sub"))).status == 200
    assert world.is_revoked() is True


def test_a_session_that_began_after_the_logout_lives_on(world: World) -> None:
    world.clock.now = NOW + 60
    assert world.logout.handle(FORM, form(logout_token())).status == 200
    assert world.is_revoked(iat=int(NOW) + 1) is False


GOOD: dict[str, dict[str, Any]] = {
    "no typ": {"typ": None},
    "the plain typ": {"typ": "JWT"},
    "the whole media type": {"typ": "application/logout+jwt"},
    "several audiences": {"aud": ["other", CLIENT]},
    "no exp": {"without": "exp"},
    "a member in the event": {"events": {EVENT: {"more": 1}, "other": {}}},
}


@pytest.mark.parametrize("name", GOOD)
def test_a_logout_token_may_be_written_so(world: World, name: str) -> None:
    assert world.logout.handle(FORM, form(logout_token(**GOOD[name]))).status == 200


BAD: dict[str, dict[str, Any]] = {
    "an ID token's nonce": {"nonce": "n"},
    "a null nonce": {"nonce": None},
    "an access token's typ": {"typ": "at+jwt"},
    "no events": {"without": "events"},
    "another event": {"events": {"http://schemas.openid.net/event/other": {}}},
    "an event that is no object": {"events": {EVENT: "yes"}},
    "events as a list": {"events": [EVENT]},
    "another issuer": {"iss": "https://evil.test/"},
    "no issuer": {"without": "iss"},
    "another client": {"aud": "client-2"},
    "the API as audience": {"aud": AUDIENCE},
    "no audience": {"without": "aud"},
    "neither sub nor sid": {"sub": None, "sid": None},
    "an empty sid": {"sid": ""},
    "a sid that is no string": {"sid": 1},
    "no jti": {"without": "jti"},
    "no iat": {"without": "iat"},
    "iat in the future": {"iat": int(NOW) + 60},
    "issued long ago": {"iat": int(NOW) - 3600},
    "expired": {"exp": int(NOW) - 60},
    "exp as text": {"exp": "soon"},
    "another key": {"signer": key(number=2)},
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_logout_token_takes_nothing_back(world: World, name: str, drive: Driver) -> None:
    response = drive(world.logout, "handle", FORM, form(logout_token(**BAD[name])))
    assert (response.status, json.loads(response.body)) == (400, {"error": "invalid_request"})
    assert dict(response.headers)["Cache-Control"] == "no-store"
    assert world.is_revoked() is False
    assert [type(event) for event in world.told] == [LogoutRefused]


def test_an_access_token_is_no_logout_token_nor_the_other_way_round(world: World) -> None:
    assert world.logout.handle(FORM, form(local_issuer().token("alice"))).status == 400
    with pytest.raises(Exception, match="not acceptable"):
        verifier().verify(logout_token(aud=AUDIENCE, typ=None, exp=int(NOW) + 60))


def test_a_token_that_was_used_is_refused(world: World) -> None:
    token = form(logout_token())
    assert [world.logout.handle(FORM, token).status for _ in range(2)] == [200, 400]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", form(logout_token())),
        ("", form(logout_token())),
        (FORM, b""),
        (FORM, b"logout_token="),
        (FORM, form(logout_token()) + b"&logout_token=x"),
        (FORM, b"\xff"),
        (FORM, b"a&" * 100),
        (FORM, b"logout_token=" + b"x" * MAX_BODY_BYTES),
        (FORM, b"logout_token=x.y.z"),
    ],
)
def test_what_is_no_form_with_one_token_is_refused(world: World, content_type: str, body: bytes) -> None:
    assert world.logout.handle(content_type, body).status == 400


def test_a_store_that_fails_is_503_and_the_token_may_come_again(world: World) -> None:
    class Failing(MemoryRevocationStore):
        fails = True

        def record(self, rule: Any, now: float) -> None:
            if self.fails:
                raise OSError("down")
            super().record(rule, now)

    store = Failing()
    revocations = Revocations(store, clock=world.clock)
    logout = world.make(revocations=revocations)
    first = logout.handle(FORM, form(logout_token()))
    assert (first.status, dict(first.headers)["Retry-After"]) == (503, "5")
    store.fails = False
    assert logout.handle(FORM, form(logout_token())).status == 200


def test_keys_that_cannot_be_had_are_503(world: World) -> None:
    class Down:
        timeout = 1.0

        def key_set(self) -> None:
            return None

        def refresh(self, unknown_kid: str | None = None) -> Any:
            raise KeysUnavailable("down")

    assert world.make(keys=Down()).handle(FORM, form(logout_token())).status == 503


@pytest.mark.parametrize(
    "options",
    [
        {"issuer": ""},
        {"client_ids": CLIENT},
        {"client_ids": []},
        {"client_ids": [""]},
        {"revocations": MemoryRevocationStore()},
        {"leeway": 61},
        {"keys": {"keys": []}},
        {"on_event": None},
    ],
)
def test_what_cannot_work_is_refused_while_building(world: World, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        world.make(**options)


# ---------------------------------------------------------------------------------------- adapters


def ask_asgi(logout: BackChannelLogout, method: str, chunks: list[bytes]) -> int:
    sent: list[Any] = []
    parts = [{"type": "http.request", "body": chunk, "more_body": chunk is not chunks[-1]} for chunk in chunks]

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "headers": [(b"content-type", FORM.encode() + b"; charset=utf-8")]}

    async def main() -> None:
        await asgi_logout_app(logout)(scope, receive, send)

    asyncio.run(main())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    status: int = sent[0]["status"]
    return status


def test_the_asgi_app_reads_a_body_in_parts(world: World) -> None:
    body = form(logout_token())
    assert ask_asgi(world.logout, "POST", [body[:10], body[10:]]) == 200
    assert world.is_revoked() is True


def test_the_asgi_app_reads_no_more_than_it_must(world: World) -> None:
    assert ask_asgi(world.logout, "POST", [b"x" * 20_000] * 3 + [b""]) == 400


def test_only_a_post_is_answered(world: World) -> None:
    assert ask_asgi(world.logout, "GET", [b""]) == 405


@pytest.mark.parametrize(("method", "status"), [("POST", "200 OK"), ("GET", "405 Method Not Allowed")])
def test_the_wsgi_app_answers_alike(world: World, method: str, status: str) -> None:
    import io

    body = form(logout_token())
    environ: Any = {
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": FORM,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    answered: list[str] = []

    def start_response(line: str, _headers: Any, _exc_info: Any = None) -> Any:
        answered.append(line)

    list(wsgi_logout_app(world.logout)(environ, start_response))
    assert answered == [status]
