"""Verifiers: the memory of verified tokens, the choice by issuer, and the order of steps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_authkit import JWKS, ByIssuer, ConfigurationError, JWTVerifier, SecretKey, Verifier
from graphql_authkit._cache import GenerationalCache
from graphql_authkit.errors import (
    BadSignature,
    ClaimRejected,
    KeysUnavailable,
    MalformedToken,
    TokenExpired,
    UnknownKey,
)
from graphql_authkit.events import _dangers
from graphql_authkit.keys import KeySet
from graphql_authkit.testing import LocalIssuer
from tests.support import AUDIENCE, ISSUER, NOW, Clock, Driver, key, local_issuer, refused, segment


def test_a_verified_token_says_who_by_whom_and_how_long(drive: Driver) -> None:
    issuer = local_issuer()
    token = drive(
        issuer.verifier(), "verify", issuer.token("alice", scopes=["read"], claims={"jti": "t-1", "sid": "s-1"})
    )
    assert (token.subject, token.issuer, token.scopes, token.client_id) == ("alice", ISSUER, {"read"}, "test-client")
    assert (token.token_id, token.session_id, token.expires_at, token.issued_at) == ("t-1", "s-1", NOW + 300, NOW)


# ----------------------------------------------------------------------------------------- memory


class CountingKeys:
    """A key source that can be given another set, and counts how often it is asked."""

    timeout = 1.0

    def __init__(self, keys: KeySet | None) -> None:
        self.keys = keys

    def key_set(self) -> KeySet | None:
        return self.keys

    def refresh(self, unknown_kid: str | None = None) -> Future[KeySet] | None:
        return None


def counting(**options: Any) -> tuple[JWTVerifier, CountingKeys, Clock]:
    clock = Clock()
    issuer = local_issuer(clock=clock)
    keys = CountingKeys(issuer.verifier().keys.key_set())
    return JWTVerifier(keys=keys, issuer=ISSUER, audience=AUDIENCE, clock=clock, **options), keys, clock


def test_a_token_seen_before_is_remembered(drive: Driver) -> None:
    subject, _, _ = counting()
    token = local_issuer().token()
    assert drive(subject, "verify", token) is drive(subject, "verify", token)


@pytest.mark.parametrize("cache", [None, False])
def test_remembering_can_be_switched_off(cache: Any) -> None:
    subject, _, _ = counting(cache=cache)
    token = local_issuer().token()
    assert subject.verify(token) is not subject.verify(token)


@pytest.mark.parametrize(
    ("exp", "accepted_until"),
    [(NOW + 10, NOW + 15), (NOW + 1000, NOW + 65)],  # exp and the leeway; max_age and the leeway
)
def test_time_is_checked_again_on_every_hit(exp: float, accepted_until: float, drive: Driver) -> None:
    subject, _, clock = counting(max_age=60)
    token = local_issuer().token(claims={"exp": exp})
    first = drive(subject, "verify", token)
    clock.now = accepted_until - 0.001
    assert drive(subject, "verify", token) is first
    clock.now = accepted_until
    assert type(drive.error(subject, "verify", token)) is TokenExpired


def test_a_remembered_token_without_iat_expires_too(drive: Driver) -> None:
    subject, _, clock = counting()
    token = local_issuer().token(claims={"exp": NOW + 10}, without=["iat"])
    drive(subject, "verify", token)
    clock.now = NOW + 15
    assert type(drive.error(subject, "verify", token)) is TokenExpired


def test_a_clock_set_back_makes_a_remembered_token_one_of_the_future(drive: Driver) -> None:
    subject, _, clock = counting()
    token = local_issuer().token()
    drive(subject, "verify", token)
    clock.now = NOW - 100
    assert type(drive.error(subject, "verify", token)) is ClaimRejected


def test_another_key_set_empties_the_memory(drive: Driver) -> None:
    subject, keys, _ = counting()
    token = local_issuer().token()
    drive(subject, "verify", token)
    keys.keys = KeySet([])
    assert type(drive.error(subject, "verify", token)) is UnknownKey
    keys.keys = None
    assert type(drive.error(subject, "verify", token)) is KeysUnavailable


def test_refusals_are_not_remembered(drive: Driver) -> None:
    subject, keys, _ = counting()
    token = local_issuer().token()
    good, keys.keys = keys.keys, KeySet([])
    drive.error(subject, "verify", token)
    keys.keys = good
    assert drive(subject, "verify", token).subject == "user-1"


def test_no_other_spelling_of_a_remembered_token_is_accepted(drive: Driver) -> None:
    subject, _, _ = counting()
    token = local_issuer().token()
    drive(subject, "verify", token)
    for other in (token + "=", token + "\n", " " + token, token[:-1] + chr(ord(token[-1]) + 1), token + "!"):
        drive.error(subject, "verify", other)


def test_the_memory_keeps_no_token() -> None:
    subject, _, _ = counting()
    token = local_issuer().token()
    subject.verify(token)
    assert subject._cache is not None
    assert all(len(digest) == 32 and token.encode() not in digest for digest in subject._cache._young)


def test_an_expired_token_stays_expired_however_often_it_is_sent(drive: Driver) -> None:
    subject, _, _ = counting()
    token = local_issuer().token(lifetime=-100)
    for _ in range(3):
        assert type(drive.error(subject, "verify", token)) is TokenExpired


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=200), st.integers(2, 8))
def test_the_cache_is_bounded_and_never_answers_another_key(steps: list[tuple[bool, int]], size: int) -> None:
    cache: GenerationalCache[int, str] = GenerationalCache(size)
    for put, number in steps:
        if put:
            cache.put(number, f"value {number}")
        assert cache.get(number) in (None, f"value {number}")
        assert len(cache) <= 2 * size


def test_what_is_used_survives_a_flood_of_what_is_not() -> None:
    cache: GenerationalCache[int, str] = GenerationalCache(100)
    cache.put(-1, "steady")
    for number in range(10_000):
        cache.put(number, "flood")
        if number % 99 == 0:
            assert cache.get(-1) == "steady"


def test_entries_that_weigh_much_are_fewer() -> None:
    cache: GenerationalCache[int, str] = GenerationalCache(100, weight=1000)
    for number in range(100):
        cache.put(number, "heavy", 300)
        cache.get(number - 4, 300)
    assert len(cache) <= 8


def test_a_flood_of_signed_tokens_does_not_push_out_a_steady_one(drive: Driver) -> None:
    verifier = local_issuer().verifier(cache=50)
    steady = local_issuer().token("steady")
    first = drive(verifier, "verify", steady)
    for number in range(300):
        drive(verifier, "verify", local_issuer().token(f"flood-{number}"))
        if number % 40 == 0:
            assert drive(verifier, "verify", steady) is first


# ---------------------------------------------------------------------------------------- ByIssuer


def two_issuers() -> tuple[LocalIssuer, LocalIssuer, ByIssuer]:
    first = LocalIssuer("https://first.test/", audience="a", key=key(), clock=Clock())
    second = LocalIssuer("https://second.test/", audience="b", key=key("ES256"), clock=Clock())
    return first, second, ByIssuer([first.verifier(), second.verifier()])


def test_each_issuer_has_its_own_keys_audience_and_algorithms(drive: Driver) -> None:
    first, second, subject = two_issuers()
    assert drive(subject, "verify", first.token()).issuer == "https://first.test/"
    assert drive(subject, "verify", second.token()).issuer == "https://second.test/"
    crossed = first.token(claims={"iss": "https://second.test/", "aud": "b"})
    assert type(drive.error(subject, "verify", crossed)) is UnknownKey
    assert type(drive.error(subject, "verify", first.token(claims={"aud": "b"}))) is ClaimRejected


@pytest.mark.parametrize("iss", ["https://third.test/", "https://first.test", "", None, 1, ["https://first.test/"], {}])
def test_an_issuer_without_verifier_is_refused_and_none_is_tried_instead(iss: Any, drive: Driver) -> None:
    first, _, subject = two_issuers()
    assert type(drive.error(subject, "verify", first.token(claims={"iss": iss}))) is UnknownKey


def test_a_payload_that_names_two_issuers_is_refused(drive: Driver) -> None:
    from graphql_authkit.testing import sign

    _, _, subject = two_issuers()
    payload = b'{"iss":"https://second.test/","iss":"https://first.test/","sub":"x","aud":"a","exp":1900000000}'
    token = sign({"alg": "RS256", "kid": "RS256-1"}, payload, key())
    assert type(drive.error(subject, "verify", token)) is MalformedToken


@pytest.mark.parametrize(
    "make",
    [
        list,
        lambda: [local_issuer().verifier(), local_issuer().verifier()],
        lambda: [JWTVerifier(keys=SecretKey("s" * 32), insecure_any_issuer=True, audience="a")],
        lambda: ["https://first.test/"],
    ],
)
def test_a_registry_that_could_choose_wrongly_is_refused_while_building(make: Callable[[], list[Any]]) -> None:
    with pytest.raises(ConfigurationError):
        ByIssuer(make())


def test_every_verifier_is_a_verifier() -> None:
    assert all(isinstance(thing, Verifier) for thing in (local_issuer().verifier(), two_issuers()[2]))


# ------------------------------------------------------------------------------------------ others


def test_danger_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    _dangers.clear()
    with caplog.at_level(logging.WARNING, "graphql_authkit"):
        for _ in range(3):
            JWTVerifier(keys=SecretKey("s" * 32), insecure_any_issuer=True, insecure_any_audience=True)
    assert sorted(record.getMessage().partition("=")[0] for record in caplog.records) == [
        "insecure_any_audience",
        "insecure_any_issuer",
    ]


def test_a_source_without_keys_that_fetches_none_is_unavailable(drive: Driver) -> None:
    subject = JWTVerifier(keys=CountingKeys(None), issuer=ISSUER, audience=AUDIENCE)
    assert type(drive.error(subject, "verify", local_issuer().token())) is KeysUnavailable
    assert type(drive.error(subject, "warm")) is KeysUnavailable


def test_a_source_that_never_delivers_is_given_up(drive: Driver) -> None:
    class Slow(CountingKeys):
        timeout = 0.01

        def refresh(self, unknown_kid: str | None = None) -> Future[KeySet] | None:
            future: Future[KeySet] = Future()
            future.set_running_or_notify_cancel()
            return future

    subject = JWTVerifier(keys=Slow(None), issuer=ISSUER, audience=AUDIENCE)
    assert type(drive.error(subject, "verify", local_issuer().token())) is KeysUnavailable


def test_the_signature_is_checked_before_the_payload_is_read(drive: Driver) -> None:
    from graphql_authkit.testing import sign

    garbage = sign({"alg": "RS256", "kid": "RS256-1"}, b"\xff not json", key(number=2))
    assert type(drive.error(local_issuer().verifier(), "verify", garbage)) is BadSignature


def test_both_drivers_refuse_alike() -> None:
    issuer = local_issuer()
    subject = issuer.verifier()
    tokens = [
        issuer.token(lifetime=-100),
        issuer.token(key=key(number=2)),
        issuer.token(claims={"aud": "x"}),
        issuer.token(header={"kid": "x"}),
        issuer.token(header={"crit": []}),
        "a.b.c",
        "",
    ]
    sync, asyncio_ = Driver("sync"), Driver("asyncio")
    for token in tokens:
        one, other = sync.error(subject, "verify", token), asyncio_.error(subject, "verify", token)
        assert (type(one), one.detail, one.extensions) == (type(other), other.detail, other.extensions)


def test_a_token_of_the_refused_kind_raises_no_more_than_an_auth_error() -> None:
    assert type(refused(lambda: local_issuer().verifier().verify("\ud800.\ud800.\ud800"))) is MalformedToken


def test_a_secret_and_a_public_key_in_one_set_are_refused_while_building() -> None:
    keys = JWKS({"keys": [key().public_jwk(), {"kty": "oct", "k": segment("s" * 32), "alg": "HS256", "kid": "s"}]})
    with pytest.raises(ConfigurationError, match="HS and asymmetric"):
        JWTVerifier(keys=keys, issuer=ISSUER, audience=AUDIENCE)


@pytest.mark.parametrize("failure", [LookupError("x"), OSError("x"), KeysUnavailable("x")])
@pytest.mark.parametrize("where", ["key_set", "refresh"])
def test_a_key_source_that_fails_is_unavailable(failure: Exception, where: str, drive: Driver) -> None:
    source = CountingKeys(None)

    def fail(*_args: object) -> Any:
        raise failure

    subject = JWTVerifier(keys=source, issuer=ISSUER, audience=AUDIENCE)
    setattr(source, where, fail)
    assert type(drive.error(subject, "verify", local_issuer().token())) is KeysUnavailable


def test_by_issuer_looks_at_no_token_longer_than_its_verifiers_do(drive: Driver) -> None:
    subject = ByIssuer([local_issuer().verifier(max_token_bytes=100)])
    detail = drive.error(subject, "verify", local_issuer().token()).detail
    assert detail == "not a str, or longer than max_token_bytes=100"


def test_a_token_over_the_limit_is_not_even_looked_up() -> None:
    subject, _, _ = counting(max_token_bytes=2000)
    token = local_issuer().token()
    subject.verify(token)
    subject._max_token_bytes = 100
    assert type(refused(subject.verify, token)) is MalformedToken


def test_a_header_seen_before_is_read_again_with_another_key_set() -> None:
    subject, keys, _ = counting(cache=None)
    subject.verify(local_issuer().token("one"))
    assert subject._verify_now(local_issuer().token("two")) is not None
    keys.keys = KeySet([])
    assert subject._verify_now(local_issuer().token("three")) is None
    assert type(refused(subject.verify, local_issuer().token("three"))) is UnknownKey


def test_headers_are_remembered_only_of_tokens_with_a_good_signature() -> None:
    subject, _, _ = counting(cache=None)
    for number in range(50):
        refused(subject.verify, local_issuer().token(header={"x": number}, key=key(number=2)))
    assert len(subject._headers) == 0
    refused(subject.verify, local_issuer().token(lifetime=-100))
    assert len(subject._headers) == 1
