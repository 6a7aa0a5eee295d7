"""Tokens out: in the form of RFC 9068, by the first key, and never under a live revocation."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_authkit import (
    JWKS,
    Authenticator,
    ConfigurationError,
    JWTVerifier,
    MemoryRevocationStore,
    PrivateKey,
    Revocations,
    SecretKey,
    TokenIssuer,
)
from graphql_authkit._flow import Port
from graphql_authkit.errors import StoreUnavailable, TokenRevoked
from graphql_authkit.revocation import RevocationKey, Rule
from tests.support import AUDIENCE, ISSUER, NOW, Clock, Driver, key, unsegment
from tests.test_revocation import Failing

SECRET = SecretKey("s" * 32, key_id="s-1")


def token_issuer(keys: Any = None, **options: Any) -> TokenIssuer:
    options.setdefault("clock", Clock())
    return TokenIssuer(keys=keys or key(), issuer=ISSUER, audience=AUDIENCE, **options)


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, payload, _ = token.split(".")
    return json.loads(unsegment(header)), json.loads(unsegment(payload))


def test_a_token_is_in_the_form_of_rfc_9068(drive: Driver) -> None:
    issuer = token_issuer(client_id="app", lifetime=600)
    header, claims = parts(drive(issuer, "issue", "user-1", scopes=["read", "write"], session_id="s1"))
    token_id = claims.pop("jti")
    assert header == {"alg": "RS256", "typ": "at+jwt", "kid": "RS256-1"}
    assert claims == {
        "iss": ISSUER,
        "sub": "user-1",
        "aud": AUDIENCE,
        "iat": int(NOW),
        "exp": int(NOW) + 600,
        "scope": "read write",
        "sid": "s1",
        "client_id": "app",
    }
    assert len(token_id) == 22


@pytest.mark.parametrize("signing_key", [key(), key("ES256"), key("EdDSA"), key("PS512"), SECRET, SecretKey("s" * 32)])
def test_what_is_issued_verifies_in_the_strict_profile(signing_key: Any, drive: Driver) -> None:
    keys = signing_key if isinstance(signing_key, SecretKey) else JWKS(token_issuer(signing_key).jwks())
    subject = JWTVerifier(keys=keys, issuer=ISSUER, audience=AUDIENCE, profile="rfc9068", clock=Clock())
    token = drive(token_issuer(signing_key, client_id="app"), "issue", "user-1")
    assert drive(subject, "verify", token).subject == "user-1"


def test_another_library_verifies_it_too() -> None:
    token = TokenIssuer(keys=key(), issuer=ISSUER, audience=AUDIENCE).issue("user-1")
    claims = jwt.decode(token, jwt.PyJWK(key().public_jwk()), algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER)
    assert claims["sub"] == "user-1"


def test_no_two_tokens_have_one_id() -> None:
    issuer = token_issuer()
    assert len({parts(issuer.issue("user-1"))[1]["jti"] for _ in range(50)}) == 50


def test_the_first_key_signs_and_all_are_published() -> None:
    issuer = token_issuer([key(number=2), key()])
    assert parts(issuer.issue("user-1"))[0]["kid"] == "RS256-2"
    assert [jwk["kid"] for jwk in issuer.jwks()["keys"]] == ["RS256-2", "RS256-1"]


def test_neither_a_secret_nor_a_private_member_is_ever_published() -> None:
    published = token_issuer([key(), key("ES256"), key("EdDSA")]).jwks()
    members = {name for jwk in published["keys"] for name in jwk}
    assert (len(published["keys"]), members & {"d", "p", "q", "dp", "dq", "qi", "k"}) == (3, set())
    assert token_issuer(SECRET).jwks() == {"keys": []}


def test_more_claims_may_be_given_and_none_that_the_arguments_set() -> None:
    assert parts(token_issuer().issue("u", claims={"roles": ["admin"]}))[1]["roles"] == ["admin"]
    for name in ("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scope", "sid", "client_id"):
        with pytest.raises(ValueError, match="cannot set"):
            token_issuer().issue("u", claims={name: "x"})


@pytest.mark.parametrize("subject", ["", None, 1, "a\x00", "\ud800"])
def test_a_token_is_for_somebody(subject: Any, drive: Driver) -> None:
    with pytest.raises(ValueError, match="no verifier would accept it"):
        drive(token_issuer(), "issue", subject)


@pytest.mark.parametrize(
    "options",
    [
        {"session_id": ""},
        {"client_id": ""},
        {"client_id": "a\x00"},
        {"claims": {"x": float("nan")}},
        {"claims": {"x": {1, 2}}},
        {"claims": {"x": 10**30}},
        {"claims": {"events": {}}},
        {"claims": {"typ": "ID"}},
        {"claims": {"cnf": {}}},
        {"claims": {"token_use": "id"}},
        {"claims": {"azp": 5}},
        {"claims": {"x": "\udfff"}},
    ],
)
def test_nothing_is_signed_that_a_verifier_would_refuse(options: dict[str, Any], drive: Driver) -> None:
    with pytest.raises(ValueError, match=r"no verifier would accept it|Out of range|no JSON"):
        drive(token_issuer(), "issue", "user-1", **options)


@pytest.mark.parametrize("scopes", [["a b"], [""], ["a\n"], [1], [None]])
def test_a_scope_is_one_word(scopes: Any, drive: Driver) -> None:
    with pytest.raises(ValueError, match="scope"):
        drive(token_issuer(), "issue", "u", scopes=scopes)


def test_one_scope_may_be_given_as_one_string() -> None:
    assert parts(token_issuer().issue("u", scopes="read"))[1]["scope"] == "read"


@pytest.mark.parametrize(
    "options",
    [
        {"keys": []},
        {"keys": ["x"]},
        {"keys": [SecretKey("s" * 32), key()]},
        {"keys": [SECRET]},
        {"keys": JWKS({"keys": [key().public_jwk()]})},
        {"keys": None},
        {"revocations": Revocations(MemoryRevocationStore(), max_token_lifetime=599), "lifetime": 600},
        {"keys": [key(), PrivateKey(key().pem(), algorithm="PS256", key_id="RS256-1")]},
        {"issuer": ""},
        {"audience": ""},
        {"audience": []},
        {"lifetime": 0},
        {"lifetime": float("inf")},
        {"lifetime": float("nan")},
    ],
)
def test_an_issuer_put_together_wrongly_is_refused_while_building(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        TokenIssuer(**{"keys": key(), "issuer": ISSUER, "audience": AUDIENCE, **options})


# -------------------------------------------------------------------------------------- revocation


def sleeping(issuer: TokenIssuer, clock: Clock) -> TokenIssuer:
    """An issuer that moves the clock by hand where it would wait."""

    def sleep(seconds: float) -> None:
        clock.now += seconds

    issuer._sleep = Port(sleep, blocking=False)
    return issuer


def logged_out(clock: Clock) -> tuple[Revocations, TokenIssuer, Authenticator]:
    revocations = Revocations(MemoryRevocationStore(), clock=clock)
    issuer = sleeping(token_issuer(revocations=revocations, clock=clock), clock)
    verifier = JWTVerifier(keys=JWKS(issuer.jwks()), issuer=ISSUER, audience=AUDIENCE, clock=clock)
    return revocations, issuer, Authenticator(verifier, revocations=revocations)


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("revoke_subject", (ISSUER, "user-1")),
        ("revoke_session", (ISSUER, "s1")),
        ("revoke_client", (ISSUER, "app")),
        ("revoke_issuer", (ISSUER,)),
        ("revoke_all", ()),
    ],
)
def test_a_login_within_the_second_of_a_revocation_passes_and_the_old_token_does_not(
    verb: str, arguments: tuple[str, ...], drive: Driver
) -> None:
    clock = Clock(NOW + 0.4)
    revocations, issuer, auth = logged_out(clock)
    old = issuer.issue("user-1", session_id="s1", client_id="app")
    drive(revocations, verb, *arguments)
    new = drive(issuer, "issue", "user-1", session_id="s1", client_id="app")
    assert type(drive.error(auth, "authenticate_token", old)) is TokenRevoked
    assert drive(auth, "authenticate_token", new).subject == "user-1"
    assert (parts(new)[1]["iat"], clock.now) == (int(NOW) + 1, NOW + 1)


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=12))
def test_whatever_the_order_of_logins_and_revocations_each_token_is_judged_by_it(
    steps: list[tuple[float, bool]],
) -> None:
    clock = Clock()
    revocations, issuer, auth = logged_out(clock)
    alive: list[str] = []
    dead: list[str] = []
    for pause, revoke in steps:
        clock.now += pause
        if revoke:
            revocations.revoke_subject(ISSUER, "user-1")
            dead += alive
            alive = []
        else:
            alive.append(issuer.issue("user-1"))
    for token in alive:
        auth.authenticate_token(token)
    for token in dead:
        with pytest.raises(TokenRevoked):
            auth.authenticate_token(token)


def test_nothing_is_issued_under_a_not_before_far_ahead(drive: Driver) -> None:
    store = MemoryRevocationStore()
    store.record(Rule(RevocationKey("subject", ISSUER, "user-1"), NOW + 1000, NOW + 9000), NOW)
    issuer = token_issuer(revocations=Revocations(store, clock=Clock()))
    assert type(drive.error(issuer, "issue", "user-1")) is TokenRevoked
    drive(issuer, "issue", "user-2")


def test_revocations_that_keep_coming_are_not_waited_for_without_end(drive: Driver) -> None:
    clock = Clock()
    store = MemoryRevocationStore()
    issuer = token_issuer(revocations=Revocations(store, clock=clock), clock=clock)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        store.record(Rule(RevocationKey("all"), clock.now, NOW + 9000), clock.now)

    issuer._sleep = Port(sleep, blocking=False)
    store.record(Rule(RevocationKey("all"), NOW, NOW + 9000), NOW)
    assert type(drive.error(issuer, "issue", "user-1")) is TokenRevoked


def test_it_really_waits_for_the_next_second(drive: Driver) -> None:
    revocations = Revocations(MemoryRevocationStore())
    issuer = TokenIssuer(keys=SECRET, issuer=ISSUER, audience=AUDIENCE, revocations=revocations)
    before = int(time.time())
    drive(revocations, "revoke_all")
    assert parts(drive(issuer, "issue", "user-1"))[1]["iat"] > before


def test_nothing_is_issued_while_the_revocations_cannot_be_asked(drive: Driver) -> None:
    issuer = token_issuer(revocations=Revocations(Failing(ConnectionError()), clock=Clock()))
    assert type(drive.error(issuer, "issue", "user-1")) is StoreUnavailable


@pytest.mark.parametrize("subject", [[], {}, None, ""])
def test_a_subject_that_is_none_is_said_before_the_store_is_asked(subject: Any, drive: Driver) -> None:
    issuer = token_issuer(revocations=Revocations(MemoryRevocationStore(), clock=Clock()))
    with pytest.raises(ValueError, match="no verifier would accept it"):
        drive(issuer, "issue", subject)
