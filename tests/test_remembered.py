"""Tokens that come again: every check of the first time holds the second time and the third, on every way in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from graphql_authkit import (
    AuthContext,
    Authenticator,
    ByIssuer,
    ConfigurationError,
    JWTVerifier,
    MemoryRevocationStore,
    PrivateKey,
    Request,
    Revocations,
    VerifiedToken,
)
from graphql_authkit._algorithms import ALGORITHMS
from graphql_authkit._gate import Gate
from graphql_authkit.asgi import AuthMiddleware as ASGIMiddleware
from graphql_authkit.errors import AuthError, ClaimRejected, MalformedToken
from graphql_authkit.events import Event, RequestAdmitted
from graphql_authkit.model import ENVIRON_KEY
from graphql_authkit.wsgi import AuthMiddleware as WSGIMiddleware
from tests.support import NOW, Clock, local_issuer, refused

TIMES = 3
Ask = Callable[[Authenticator, str], str]


def by_asgi(auth: Authenticator) -> Callable[[bytes], str]:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "who": scope["state"]["auth"]})

    guard = ASGIMiddleware(app, auth)

    def ask(field: bytes) -> str:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"authorization", field)]}

        async def main() -> None:
            await guard(scope, None, send)  # type: ignore[arg-type]

        asyncio.run(main())
        return str(sent[0]["who"].subject if sent[0]["status"] == 200 else sent[0]["status"])

    return ask


def by_wsgi(auth: Authenticator) -> Callable[[bytes], str]:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("who", environ[ENVIRON_KEY].subject)])
        return []

    guard = WSGIMiddleware(app, auth)

    def ask(field: bytes) -> str:
        answered: list[str] = []

        def start_response(status: str, headers: Any, _exc_info: Any = None) -> Any:
            answered.append(headers[0][1] if status == "200 OK" else status[:3])

        list(guard({"REQUEST_METHOD": "POST", "HTTP_AUTHORIZATION": field.decode("latin-1")}, start_response))
        return answered[0]

    return ask


def by_verb(auth: Authenticator) -> Callable[[bytes], str]:
    def ask(field: bytes) -> str:
        try:
            return str(auth.authenticate(Request([("authorization", field.decode("latin-1"))])).subject)
        except AuthError as error:
            return str(error.status)

    return ask


@pytest.fixture(params=[by_asgi, by_wsgi, by_verb])
def door(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["JWTVerifier", "ByIssuer"])
def make_verifier(request: pytest.FixtureRequest) -> Any:
    def make(**options: Any) -> Any:
        verifier = local_issuer().verifier(**options)
        return verifier if request.param == "JWTVerifier" else ByIssuer([verifier])

    return make


def bearer(token: str) -> bytes:
    return b"Bearer " + token.encode()


def test_a_good_token_is_good_each_time_and_told_each_time(door: Any, make_verifier: Any) -> None:
    told: list[Event] = []
    ask = door(Authenticator(make_verifier(), on_event=told.append))
    token = local_issuer().token("alice")
    assert [ask(bearer(token)) for _ in range(TIMES)] == ["alice"] * TIMES
    assert [type(event) for event in told] == [RequestAdmitted] * TIMES


def test_a_scope_that_is_missing_is_missing_each_time(door: Any, make_verifier: Any) -> None:
    verifier = make_verifier()
    token = local_issuer().token("alice")
    assert door(Authenticator(verifier))(bearer(token)) == "alice"
    ask = door(Authenticator(verifier, required_scopes=["admin"]))
    assert [ask(bearer(token)) for _ in range(TIMES)] == ["403"] * TIMES


def test_a_life_that_is_too_long_is_so_each_time(door: Any, make_verifier: Any) -> None:
    revocations = Revocations(MemoryRevocationStore(), clock=Clock(NOW), max_token_lifetime=600)
    ask = door(Authenticator(make_verifier(), revocations=revocations))
    long = bearer(local_issuer().token("alice", lifetime=3600))
    assert [ask(long) for _ in range(TIMES)] == ["401"] * TIMES


def test_what_is_taken_back_or_expires_is_refused_the_very_next_time(door: Any, make_verifier: Any) -> None:
    clock = Clock(NOW)
    revocations = Revocations(MemoryRevocationStore(), clock=clock)
    ask = door(Authenticator(make_verifier(clock=clock), revocations=revocations))
    first, second = (local_issuer().token(name, lifetime=60) for name in ("alice", "bob"))
    assert [ask(bearer(first)), ask(bearer(first)), ask(bearer(second))] == ["alice", "alice", "bob"]
    revocations.revoke_subject(local_issuer().issuer, "alice")
    assert [ask(bearer(first)), ask(bearer(second))] == ["401", "bob"]
    clock.now = NOW + 65
    assert ask(bearer(second)) == "401"


def test_a_user_is_looked_up_each_time(door: Any, make_verifier: Any) -> None:
    users: list[Any] = ["a user", "a user", None]
    ask = door(Authenticator(make_verifier(), load_user=lambda _token: users.pop(0)))
    token = bearer(local_issuer().token("alice"))
    assert [ask(token) for _ in range(3)] == ["alice", "alice", "401"]


@pytest.mark.parametrize(
    "spelling",
    ["Basic {}", "Bearex {}", "{}", "Bearer{}", "Bearer {},", "Bearer {}=", "Bearer {}\t\x00", "Bearer {} x"],
)
def test_another_field_with_a_remembered_token_in_it_is_still_refused(
    door: Any, make_verifier: Any, spelling: str
) -> None:
    ask = door(Authenticator(make_verifier()))
    token = local_issuer().token("alice")
    assert ask(bearer(token)) == "alice"
    assert ask(spelling.format(token).encode("latin-1")) in ("400", "401")


def test_a_subclass_of_a_verifier_is_asked_each_time(door: Any) -> None:
    class Stricter(JWTVerifier):
        def verify(self, token: str) -> VerifiedToken:
            raise ClaimRejected("x", "never")

        async def averify(self, token: str) -> VerifiedToken:
            raise ClaimRejected("x", "never")

    plain = local_issuer().verifier()
    stricter = Stricter(keys=plain.keys, issuer=local_issuer().issuer, audience=local_issuer().audience)
    ask = door(Authenticator(stricter))
    assert [ask(bearer(local_issuer().token())) for _ in range(TIMES)] == ["401"] * TIMES
    with pytest.raises(ConfigurationError, match="no subclasses"):
        ByIssuer([stricter])


def test_a_subclass_of_the_pipeline_is_asked_each_time(door: Any) -> None:
    class Counting(Authenticator):
        calls = 0

        def authenticate(self, request: Request, *, optional: bool = False) -> AuthContext:
            type(self).calls += 1
            return super().authenticate(request, optional=optional)

        async def aauthenticate(self, request: Request, *, optional: bool = False) -> AuthContext:
            type(self).calls += 1
            return await super().aauthenticate(request, optional=optional)

    ask = door(Counting(local_issuer().verifier()))
    token = bearer(local_issuer().token("alice"))
    assert ([ask(token) for _ in range(TIMES)], Counting.calls) == (["alice"] * TIMES, TIMES)


def test_a_subclass_of_the_list_of_revocations_is_asked_each_time(door: Any) -> None:
    class Counting(Revocations):
        calls = 0

        def is_active_now(self, token: VerifiedToken) -> bool:
            type(self).calls += 1
            return super().is_active_now(token)

    revocations = Counting(MemoryRevocationStore(), clock=Clock(NOW))
    ask = door(Authenticator(local_issuer().verifier(), revocations=revocations))
    token = bearer(local_issuer().token("alice"))
    assert [ask(token) for _ in range(TIMES)] == ["alice"] * TIMES
    assert Counting.calls >= TIMES - 1  # the first may be asked for in full


def test_a_verifier_without_memory_leaves_none_in_the_pipeline() -> None:
    auth = Authenticator(ByIssuer([local_issuer().verifier(cache=None)]))
    auth.authenticate_token(local_issuer().token())
    assert auth._contexts is None


def test_long_tokens_are_remembered_less_in_the_pipeline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphql_authkit.authenticator.CACHE_CHARACTERS", 10_000)
    auth = Authenticator(local_issuer().verifier())
    for number in range(40):
        auth.authenticate_token(local_issuer().token(f"user-{number}", claims={"pad": "x" * 2000}))
    assert auth._contexts is not None
    assert len(auth._contexts) <= 10


def test_a_remembered_token_is_one_of_the_future_when_the_clock_is_set_back() -> None:
    clock = Clock(NOW)
    verifier = local_issuer().verifier(clock=clock)
    token = local_issuer().token(claims={"nbf": int(NOW), "iat": int(NOW) - 3600})
    verifier.verify(token)
    clock.now = NOW - 60
    assert refused(verifier.verify, token).reason == "CLAIM_REJECTED"


def test_one_path_under_two_roots_is_decided_for_each() -> None:
    gate = Gate(Authenticator(local_issuer().verifier()), paths=["/graphql"], public_paths=["/docs"])
    for _ in range(2):
        assert [gate.guards("/docs", ""), gate.guards("/docs", "/graphql"), gate.guards("/x", "/graphql")] == [
            False,
            True,
            True,
        ]


def test_a_token_too_long_is_not_even_looked_up() -> None:
    verifier = local_issuer().verifier(max_token_bytes=1000)
    assert verifier._recall(b"x" * 1001) is None
    assert type(refused(verifier.verify, "x" * 1001)) is MalformedToken


# ----------------------------------------------------------------------------------- exact signatures


def test_an_ecdsa_signature_has_its_length_and_no_other() -> None:
    private = PrivateKey.generate("ES256")._signing_material
    row = ALGORITHMS["ES256"]
    check = row.make_check(private.public_key())
    signature = row.implementation.sign(b"signed", private)
    for forged in (signature[:32] + b"\0" + signature[32:], b"\0" + signature, signature + b"\0"):
        with pytest.raises(ValueError, match="not R and S"):
            check(forged, b"signed")


def test_pss_takes_the_salt_of_the_hashs_length_alone() -> None:
    private = PrivateKey.generate("PS256")._signing_material
    check = ALGORITHMS["PS256"].make_check(private.public_key())
    digest = hashes.SHA256()
    short = private.sign(b"signed", padding.PSS(padding.MGF1(digest), 8), digest)
    with pytest.raises(InvalidSignature):
        check(short, b"signed")


@pytest.mark.parametrize("detail", ["", "why"])
def test_notes_are_kept_and_none_is_made_of_nothing(detail: str) -> None:
    error = MalformedToken(detail)
    error.add_note("more")
    assert error.__notes__ == ([detail, "more"] if detail else ["more"])
