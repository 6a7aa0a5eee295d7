"""The pipeline, step by step, through both drivers."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_authkit import (
    ANONYMOUS,
    Authenticator,
    AuthError,
    ConfigurationError,
    JWTVerifier,
    MemoryRevocationStore,
    Request,
    Revocations,
    VerifiedToken,
    current_auth,
)
from graphql_authkit._flow import _warned
from graphql_authkit.authenticator import serving
from graphql_authkit.errors import (
    BadSignature,
    Forbidden,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    MissingCredential,
    TokenExpired,
    TokenRevoked,
    Unavailable,
    UserUnavailable,
)
from graphql_authkit.events import Event, RequestAdmitted, RequestRefused, log_event
from graphql_authkit.testing import LocalIssuer
from tests.support import ISSUER, Clock, Driver, key, local_issuer, verifier

GOOD = local_issuer().token("alice", scopes=["read", "write"], claims={"jti": "t-1"})


def bearer(token: str) -> Request:
    return Request([("authorization", f"Bearer {token}")])


def find_user(token: VerifiedToken) -> dict[str, str]:
    return {"name": token.subject.title()}


async def afind_user(token: VerifiedToken) -> dict[str, str]:
    await asyncio.sleep(0)
    return find_user(token)


def test_a_request_with_a_good_token_is_who_it_says(drive: Driver) -> None:
    auth = drive(Authenticator(verifier()), "authenticate", bearer(GOOD))
    assert (auth.is_authenticated, auth.subject, auth.issuer, auth.scopes) == (True, "alice", ISSUER, {"read", "write"})


def test_a_token_of_a_server_of_ones_own_does_too(drive: Driver) -> None:
    assert drive(Authenticator(verifier()), "authenticate_token", GOOD).subject == "alice"


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([], MissingCredential),
        ([("authorization", "Basic abc")], MissingCredential),
        ([("authorization", "Bearer a"), ("authorization", "Bearer b")], InvalidRequest),
        ([("authorization", "Bearer")], InvalidRequest),
    ],
)
def test_a_request_without_a_usable_credential_is_refused(headers: Any, error: type, drive: Driver) -> None:
    assert type(drive.error(Authenticator(verifier()), "authenticate", Request(headers))) is error


def test_in_optional_mode_only_the_absence_of_credentials_is_anonymous(drive: Driver) -> None:
    auth = Authenticator(verifier())
    assert drive(auth, "authenticate", Request([]), optional=True) is ANONYMOUS
    for value in (
        "Basic abc",
        "Bearer",
        "Bearer a b",
        "",
        f"Bearer {GOOD}x",
        "Bearer " + local_issuer().token(lifetime=-99),
    ):
        assert drive.error(auth, "authenticate", Request([("Authorization", value)]), optional=True).status in (
            400,
            401,
        )


# ------------------------------------------------------------------------------------------- users


def test_the_user_is_loaded_by_a_sync_loader(drive: Driver) -> None:
    auth = Authenticator(verifier(), load_user=find_user)
    assert drive(auth, "authenticate_token", GOOD).user == {"name": "Alice"}


@pytest.mark.parametrize("loader", [afind_user, functools.partial(afind_user), lambda token: afind_user(token)])
def test_the_user_is_loaded_by_any_async_loader(loader: Any) -> None:
    auth = Authenticator(verifier(), load_user=loader)
    assert asyncio.run(auth.aauthenticate_token(GOOD)).user == {"name": "Alice"}
    with pytest.raises(ConfigurationError, match=r"aauthenticate_token\(\)"):
        auth.authenticate_token(GOOD)


def test_a_user_nobody_knows_is_refused(drive: Driver) -> None:
    auth = Authenticator(verifier(), load_user=lambda token: None)
    error = drive.error(auth, "authenticate_token", GOOD)
    assert (type(error), error.reason) == (InvalidToken, "INVALID_TOKEN")


@pytest.mark.parametrize("user", [False, 0, "", {}, []])
def test_any_user_but_none_is_a_user(user: Any, drive: Driver) -> None:
    assert drive(Authenticator(verifier(), load_user=lambda token: user), "authenticate_token", GOOD).user == user


def test_an_auth_error_of_the_loader_passes_unchanged(drive: Driver) -> None:
    raised = Forbidden("the account is locked")

    def locked(_token: VerifiedToken) -> None:
        raise raised

    assert drive.error(Authenticator(verifier(), load_user=locked), "authenticate_token", GOOD) is raised


@pytest.mark.parametrize("failure", [LookupError("x"), StopIteration("x"), RecursionError(), TimeoutError()])
def test_anything_else_the_loader_raises_is_logged_and_unavailable(
    failure: Exception, drive: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_token: VerifiedToken) -> None:
        raise failure

    error = drive.error(Authenticator(verifier(), load_user=fail), "authenticate_token", GOOD)
    assert (type(error), error.status) == (UserUnavailable, 503)
    assert "load_user failed" in caplog.text
    assert not any(part in caplog.text for part in GOOD.split("."))


def test_the_loader_runs_only_for_a_token_that_passed_every_check(drive: Driver) -> None:
    asked: list[str] = []
    revocations = Revocations(MemoryRevocationStore(), clock=Clock())
    auth = Authenticator(
        verifier(),
        revocations=revocations,
        load_user=lambda token: asked.append(token.subject),
        required_scopes=["read"],
    )
    revoked = local_issuer().token("revoked", scopes=["read"])
    drive(revocations, "revoke", verifier().verify(revoked))
    for token in (local_issuer().token("forged", key=key(number=2)), local_issuer().token("scopeless"), revoked):
        drive.error(auth, "authenticate_token", token)
    assert asked == []


def test_under_asyncio_a_sync_loader_does_not_stop_the_loop() -> None:
    auth = Authenticator(verifier(), load_user=lambda token: threading.get_ident())
    assert asyncio.run(auth.aauthenticate_token(GOOD)).user != threading.get_ident()


# -------------------------------------------------------------------------- scopes and revocation


def test_a_scope_that_everyone_needs_is_asked_for(drive: Driver) -> None:
    assert drive(Authenticator(verifier(), required_scopes=["read"]), "authenticate_token", GOOD).subject == "alice"
    error = drive.error(Authenticator(verifier(), required_scopes=["admin", "read"]), "authenticate_token", GOOD)
    assert isinstance(error, InsufficientScope)
    assert (error.status, error.required) == (403, ("admin", "read"))


def test_revocation_is_checked_every_time_also_for_a_remembered_token(drive: Driver) -> None:
    revocations = Revocations(MemoryRevocationStore(), clock=Clock())
    auth = Authenticator(verifier(), revocations=revocations)
    for _ in range(3):
        drive(auth, "authenticate_token", GOOD)
    drive(revocations, "revoke_subject", ISSUER, "alice")
    assert type(drive.error(auth, "authenticate_token", GOOD)) is TokenRevoked


def test_a_forged_or_expired_token_is_never_asked_about_in_the_store(drive: Driver) -> None:
    class Asked(MemoryRevocationStore):
        def local_check(self, *_args: Any) -> Any:
            raise AssertionError("asked")

    auth = Authenticator(verifier(), revocations=Revocations(Asked(), clock=Clock()))
    assert type(drive.error(auth, "authenticate_token", local_issuer().token(key=key(number=2)))) is BadSignature
    assert type(drive.error(auth, "authenticate_token", local_issuer().token(lifetime=-100))) is TokenExpired


# ------------------------------------------------------------------------- verifiers of one's own


class OwnVerifier:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def verify(self, token: str) -> VerifiedToken:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]

    async def averify(self, token: str) -> VerifiedToken:
        return self.verify(token)


def test_a_verifier_of_ones_own_is_used(drive: Driver) -> None:
    auth = Authenticator(OwnVerifier(verifier().verify(GOOD)))
    assert drive(auth, "authenticate_token", "anything").subject == "alice"


@pytest.mark.parametrize("answer", [None, True, {"sub": "alice"}, "alice", LookupError("x"), ValueError("x")])
def test_a_verifier_that_fails_or_answers_nonsense_lets_nobody_in(answer: Any, drive: Driver) -> None:
    error = drive.error(Authenticator(OwnVerifier(answer)), "authenticate_token", GOOD)
    assert (type(error), error.status) == (Unavailable, 503)


# ---------------------------------------------------------------------------- events, current_auth


def test_each_decision_is_told_once_and_no_event_holds_the_token(drive: Driver) -> None:
    told: list[Event] = []
    auth = Authenticator(verifier(), on_event=told.append)
    drive(auth, "authenticate", bearer(GOOD))
    drive.error(auth, "authenticate", Request([]))
    drive.error(auth, "authenticate", bearer(GOOD + "x"))
    assert told[0] == RequestAdmitted("alice", ISSUER, "test-client", "jti:t-1")
    assert [type(event.error).__name__ for event in told[1:] if isinstance(event, RequestRefused)] == [
        "MissingCredential",
        "MalformedToken",
    ]
    assert not any(part in repr(told) for part in GOOD.split("."))


def test_refusals_are_logged_with_their_detail_and_without_the_token(
    caplog: pytest.LogCaptureFixture, drive: Driver
) -> None:
    auth = Authenticator(verifier(audience="https://other.test/"))
    with caplog.at_level(logging.DEBUG, "graphql_authkit"):
        drive.error(auth, "authenticate_token", GOOD)
    assert "refused: CLAIM_REJECTED (ClaimRejected): claim 'aud'" in caplog.text
    assert not any(part in caplog.text for part in GOOD.split("."))


def test_the_default_listener_takes_every_event(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "graphql_authkit"):
        log_event(RequestAdmitted("alice", ISSUER, None, "jti:t"))
        log_event(RequestRefused(UserUnavailable("down")))
    assert [record.levelname for record in caplog.records] == ["DEBUG", "WARNING"]


def test_current_auth_answers_within_and_not_beyond_a_request() -> None:
    auth = Authenticator(verifier()).authenticate_token(GOOD)
    assert current_auth() is ANONYMOUS
    with serving(auth):
        assert current_auth() is auth
        with serving(ANONYMOUS):
            assert current_auth() is ANONYMOUS
        assert current_auth() is auth
    assert current_auth() is ANONYMOUS


def test_a_request_that_is_closed_in_another_context_leaves_nobody_behind() -> None:
    auth = Authenticator(verifier()).authenticate_token(GOOD)
    scope = serving(auth)
    elsewhere = contextvars.copy_context()
    elsewhere.run(scope.__enter__)
    assert elsewhere.run(current_auth) is auth
    scope.__exit__()
    assert (current_auth(), elsewhere.run(current_auth)) == (ANONYMOUS, ANONYMOUS)


def test_a_task_that_outlives_its_request_acts_for_nobody() -> None:
    auth = Authenticator(verifier()).authenticate_token(GOOD)
    seen: list[Any] = []

    async def worker(go: asyncio.Event) -> None:
        seen.append(current_auth())
        await go.wait()
        seen.append(current_auth())

    async def main() -> None:
        go = asyncio.Event()
        with serving(auth):
            task = asyncio.create_task(worker(go))
            await asyncio.sleep(0)
        with serving(ANONYMOUS):
            go.set()
            await task

    asyncio.run(main())
    assert seen == [auth, ANONYMOUS]


def test_closed_requests_are_not_kept_by_later_ones() -> None:
    scopes = [serving(ANONYMOUS) for _ in range(3)]
    for scope in scopes:
        scope.__enter__()
        scope.close()
    assert serving(ANONYMOUS)._outer is None
    scopes[-1].__exit__()


# ----------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("subject", "options"),
    [
        (None, {}),
        (object(), {}),
        (verifier(), {"revocations": MemoryRevocationStore()}),
        (verifier(), {"load_user": "find_user"}),
        (verifier(), {"required_scopes": "read"}),
    ],
)
def test_a_pipeline_put_together_wrongly_is_refused_while_building(subject: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Authenticator(subject, **options)


def test_it_is_known_while_building_whether_sync_code_can_use_it() -> None:
    assert Authenticator(verifier(), load_user=find_user).is_async_only is False
    assert Authenticator(verifier(), load_user=afind_user).is_async_only is True


def test_requests_of_one_thread_may_close_in_any_order_and_twice() -> None:
    first, second = (Authenticator(verifier()).authenticate_token(local_issuer().token(name)) for name in "ab")
    one, two = serving(first), serving(second)
    one.__enter__()
    two.__enter__()
    one.__exit__()
    assert current_auth() is second
    one.__exit__()
    assert current_auth() is second
    two.__exit__()
    assert current_auth() is ANONYMOUS
    two.__exit__()
    assert current_auth() is ANONYMOUS


@pytest.mark.parametrize("failure", [ConfigurationError("an inner library's"), ValueError("x")])
def test_a_configuration_error_of_the_applications_own_is_unavailable(failure: Exception, drive: Driver) -> None:
    def fail(_token: VerifiedToken) -> None:
        raise failure

    assert type(drive.error(Authenticator(verifier(), load_user=fail), "authenticate_token", GOOD)) is UserUnavailable


@pytest.mark.parametrize("scopes", [[1], [""], ["a b"], [None]])
def test_scopes_that_nobody_could_have_are_refused_while_building(scopes: Any) -> None:
    with pytest.raises(ConfigurationError):
        Authenticator(verifier(), required_scopes=scopes)


def test_a_sync_verb_that_waits_for_keys_in_a_loop_names_its_own_twin() -> None:
    issuer = LocalIssuer(key=key())
    with issuer.serve() as url:
        auth = Authenticator(JWTVerifier.from_issuer(url, audience=issuer.audience))

        async def main() -> None:
            _warned.discard("authenticate_token")
            with pytest.warns(RuntimeWarning, match=r"await aauthenticate_token\(\) instead"):
                auth.authenticate_token(issuer.token())

        asyncio.run(main())


HEADER_VALUES = st.one_of(
    st.text(alphabet=st.characters(max_codepoint=255)),
    st.sampled_from(
        ["Basic x", "Bearer", f"Bearer {GOOD}", f"bearer {GOOD}", f"Bearer {GOOD}=", f"Bearer {GOOD[:-1]}"]
    ),
    st.integers(0, len(GOOD) - 1).map(lambda at: f"Bearer {GOOD[:at]}{GOOD[at + 1 :]}"),
)


@given(st.lists(HEADER_VALUES, max_size=2), st.booleans(), st.sampled_from([None, "user-1", "alice"]))
def test_both_drivers_agree_in_outcome_and_code(values: list[str], optional: bool, revoked: str | None) -> None:
    revocations = Revocations(MemoryRevocationStore(), clock=Clock(), on_event=lambda _event: None)
    if revoked:
        revocations.revoke_subject(ISSUER, revoked)
    auth = Authenticator(verifier(), revocations=revocations, load_user=find_user, required_scopes=["read"])
    request = Request([("authorization", value) for value in values])

    def outcome(driver: Driver) -> Any:
        try:
            found = driver(auth, "authenticate", request, optional=optional)
        except AuthError as error:
            return type(error), error.detail, error.extensions, error.status
        return found.subject, found.user, found.scopes

    assert outcome(Driver("sync")) == outcome(Driver("asyncio"))
