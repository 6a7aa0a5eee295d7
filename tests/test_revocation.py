"""Revocations: arguments, failing stores, async stores, and what is told of each verb."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_authkit import ANONYMOUS, Authenticator, ConfigurationError, MemoryRevocationStore, Revocations
from graphql_authkit.errors import ClaimRejected, StoreUnavailable, TokenRevoked
from graphql_authkit.events import Event, RevocationRecorded
from graphql_authkit.revocation import ACTIVE, Revocable, RevocationKey, Rule, Verdict, judge, keys_of
from tests.stores.contract import LATER, TOKEN, StoreContract, like
from tests.support import ISSUER, NOW, Clock, Driver, local_issuer, verifier


class AsyncOrigin:
    """A store whose methods are coroutines."""

    def __init__(self) -> None:
        self.store = MemoryRevocationStore()

    async def record(self, rule: Rule, now: float) -> None:
        await asyncio.sleep(0)
        self.store.record(rule, now)

    async def check(self, token: Revocable, now: float) -> Verdict:
        await asyncio.sleep(0)
        return self.store.check(token, now)

    def local_check(self, token: Revocable, now: float) -> Verdict | None:
        return None


class TestAsyncOrigin(StoreContract):
    """The contract on asyncio; the sync verbs refuse, which another test shows."""

    @pytest.fixture
    def drive(self) -> Driver:
        return Driver("asyncio")

    def make_store(self) -> AsyncOrigin:
        return AsyncOrigin()


def test_a_sync_verb_on_an_async_store_names_its_twin() -> None:
    revocations = Revocations(AsyncOrigin(), clock=Clock())
    assert revocations.is_async_only is True
    with pytest.raises(ConfigurationError, match=r"arevoke_all\(\)"):
        revocations.revoke_all()
    with pytest.raises(ConfigurationError, match=r"acheck\(\)"):
        revocations.check(TOKEN)


class Failing:
    """A store whose client raises errors of its own, or answers nonsense."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def _do(self, *_args: object) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    record = check = _do

    def local_check(self, token: Revocable, now: float) -> Verdict | None:
        return None


@pytest.mark.parametrize(
    "answer",
    [
        ConnectionError("refused"),
        ValueError("corrupt reply"),
        KeyError("x"),
        TimeoutError(),
        OSError(),
        None,
        False,
        "not revoked",
        0,
    ],
)
def test_a_store_that_fails_or_answers_nonsense_is_unavailable_and_never_says_active(
    answer: Any, drive: Driver
) -> None:
    revocations = Revocations(Failing(answer), clock=Clock())
    error = drive.error(revocations, "check", TOKEN)
    assert (type(error), error.status) == (StoreUnavailable, 503)


@pytest.mark.parametrize("answer", [ConnectionError("refused"), ValueError("corrupt reply")])
def test_a_revocation_that_could_not_be_recorded_says_so_and_is_not_told(answer: Exception, drive: Driver) -> None:
    told: list[Event] = []
    revocations = Revocations(Failing(answer), clock=Clock(), on_event=told.append)
    assert type(drive.error(revocations, "revoke", TOKEN)) is StoreUnavailable
    assert told == []


def test_a_local_check_that_fails_is_unavailable(drive: Driver) -> None:
    class Broken(MemoryRevocationStore):
        def local_check(self, token: Revocable, now: float) -> Verdict:
            raise LookupError

    assert type(drive.error(Revocations(Broken(), clock=Clock()), "check", TOKEN)) is StoreUnavailable


def test_an_answer_at_hand_is_not_asked_for(drive: Driver) -> None:
    class Local(Failing):
        def local_check(self, token: Revocable, now: float) -> Verdict | None:
            return ACTIVE

    revocations = Revocations(Local(AssertionError("asked")), clock=Clock())
    assert drive(revocations, "check", TOKEN).token is TOKEN


@pytest.mark.parametrize("empty", [None, "", 0, [], b"x"])
@pytest.mark.parametrize(
    ("verb", "position"),
    [
        ("revoke_session", 0),
        ("revoke_session", 1),
        ("revoke_subject", 0),
        ("revoke_subject", 1),
        ("revoke_client", 1),
        ("revoke_issuer", 0),
    ],
)
def test_an_empty_identifier_is_an_error_and_records_nothing(
    verb: str, position: int, empty: Any, drive: Driver
) -> None:
    store = MemoryRevocationStore()
    arguments: list[Any] = [ISSUER] if verb == "revoke_issuer" else [ISSUER, "x"]
    arguments[position] = empty
    with pytest.raises(ValueError, match="non-empty string"):
        drive(Revocations(store, clock=Clock()), verb, *arguments)
    assert len(store) == 0


@pytest.mark.parametrize(
    ("issuer", "token_id", "exp"),
    [
        ("", "t", NOW),
        (ISSUER, "", NOW),
        (ISSUER, None, NOW),
        (ISSUER, "t", None),
        (ISSUER, "t", float("nan")),
        (ISSUER, "t", True),
    ],
)
def test_a_token_is_revoked_by_whole_arguments_only(issuer: Any, token_id: Any, exp: Any, drive: Driver) -> None:
    with pytest.raises(ValueError, match=r"non-empty|seconds"):
        drive(Revocations(MemoryRevocationStore(), clock=Clock()), "revoke_token", issuer, token_id, expires_at=exp)


def test_an_anonymous_context_has_nothing_to_revoke(drive: Driver) -> None:
    with pytest.raises(ValueError, match="anonymous"):
        drive(Revocations(MemoryRevocationStore()), "revoke", ANONYMOUS)


def test_a_not_before_may_lie_ahead_as_far_as_clocks_differ(drive: Driver) -> None:
    revocations = Revocations(MemoryRevocationStore(), clock=Clock())
    drive(revocations, "revoke_all", before=NOW + 5)
    assert type(drive.error(revocations, "check", like(issued_at=NOW + 5))) is TokenRevoked
    assert drive(revocations, "check", like(issued_at=NOW + 6)).token.subject == "alice"


def test_an_auth_error_of_a_store_passes_unchanged(drive: Driver) -> None:
    raised = StoreUnavailable("the store's own words")
    assert drive.error(Revocations(Failing(raised), clock=Clock()), "check", TOKEN) is raised


@pytest.mark.parametrize("before", [NOW + 5.1, NOW + 61, NOW * 1000, float("inf"), float("nan"), True, "now", -1])
def test_a_not_before_in_the_future_is_an_error(before: Any, drive: Driver) -> None:
    with pytest.raises(ValueError, match="not in the future"):
        drive(Revocations(MemoryRevocationStore(), clock=Clock()), "revoke_all", before=before)


def test_a_context_is_revoked_like_its_token(drive: Driver) -> None:
    revocations = Revocations(MemoryRevocationStore(), clock=Clock())
    auth = Authenticator(verifier(), revocations=revocations)
    token = local_issuer().token()
    drive(revocations, "revoke", drive(auth, "authenticate_token", token))
    assert type(drive.error(auth, "authenticate_token", token)) is TokenRevoked


def test_a_token_that_outlives_the_rules_is_refused(drive: Driver) -> None:
    revocations = Revocations(MemoryRevocationStore(), clock=Clock(), max_token_lifetime=1000.0)
    assert drive(revocations, "check", like(expires_at=NOW + 1060)).token.subject == "alice"
    for longer in (like(expires_at=NOW + 1061), like(issued_at=None, expires_at=NOW + 1061)):
        error = drive.error(revocations, "check", longer)
        assert (type(error), "max_token_lifetime=" in error.detail) == (ClaimRejected, True)


def test_every_revocation_is_told_with_what_and_for_whom(drive: Driver) -> None:
    told: list[Event] = []
    revocations = Revocations(MemoryRevocationStore(), clock=Clock(), on_event=told.append)
    drive(revocations, "revoke", TOKEN)
    drive(revocations, "revoke_token", ISSUER, "t-9", expires_at=NOW)
    drive(revocations, "revoke_session", ISSUER, "s")
    drive(revocations, "revoke_subject", ISSUER, "u")
    drive(revocations, "revoke_client", ISSUER, "c")
    drive(revocations, "revoke_issuer", ISSUER)
    drive(revocations, "revoke_all")
    assert told == [
        RevocationRecorded("token", ISSUER, "jti:t-1", None),
        RevocationRecorded("token", ISSUER, "jti:t-9", None),
        RevocationRecorded("session", ISSUER, "s", NOW),
        RevocationRecorded("subject", ISSUER, "u", NOW),
        RevocationRecorded("client", ISSUER, "c", NOW),
        RevocationRecorded("issuer", ISSUER, "", NOW),
        RevocationRecorded("all", "", "", NOW),
    ]


@pytest.mark.parametrize("store", [None, object(), {}, MemoryRevocationStore])
def test_what_is_no_store_is_refused_while_building(store: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no RevocationStore"):
        Revocations(store)


@pytest.mark.parametrize("lifetime", [0, -1, float("inf"), float("nan")])
def test_a_senseless_lifetime_is_refused_while_building(lifetime: float) -> None:
    with pytest.raises(ConfigurationError):
        Revocations(MemoryRevocationStore(), max_token_lifetime=lifetime)


def test_a_store_of_partials_counts_as_what_it_returns() -> None:
    origin = AsyncOrigin()

    class Wrapped:
        record = staticmethod(functools.partial(AsyncOrigin.record, origin))
        check = staticmethod(functools.partial(AsyncOrigin.check, origin))

        def local_check(self, token: Revocable, now: float) -> Verdict | None:
            return None

    revocations = Revocations(Wrapped(), clock=Clock())
    asyncio.run(revocations.arevoke(TOKEN))
    assert type(Driver("asyncio").error(revocations, "check", TOKEN)) is TokenRevoked


OFFSETS = st.one_of(st.none(), st.integers(-5, 5), st.floats(-5, 5, allow_nan=False))


@given(
    st.lists(
        st.tuples(st.sampled_from(["session", "subject", "client", "issuer", "all"]), st.integers(-5, 5)), max_size=6
    ),
    OFFSETS,
)
def test_judging_takes_the_maximum_over_all_rules(rules: list[tuple[Any, int]], issued: float | None) -> None:
    token = like(issued_at=None if issued is None else NOW + issued)
    verdict = judge(token, [Rule(RevocationKey(scope), NOW + before, NOW + LATER) for scope, before in rules])
    strictest = max((NOW + before for _, before in rules), default=None)
    expected = strictest is not None and (issued is None or (NOW + issued) // 1 <= strictest)
    assert (verdict.revoked_by is not None, verdict.not_before) == (expected, strictest)


def test_the_keys_of_a_token_are_those_it_has() -> None:
    assert keys_of(like(session_id=None, client_id=None)) == (
        RevocationKey("token", ISSUER, "jti:t-1"),
        RevocationKey("subject", ISSUER, "alice"),
        RevocationKey("issuer", ISSUER),
        RevocationKey("all"),
    )


@pytest.mark.parametrize("token", ["a.b.c", None, {"jti": "x"}])
def test_what_is_no_token_cannot_be_revoked(token: Any, drive: Driver) -> None:
    with pytest.raises(ValueError, match="takes a VerifiedToken"):
        drive(Revocations(MemoryRevocationStore()), "revoke", token)
