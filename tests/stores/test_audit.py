"""By whom and why: what every verb is told reaches the event, whoever calls it, and nothing else does."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlencode

import pytest

from graphql_authkit import JWKS, MemoryRevocationStore, Revocations
from graphql_authkit.events import Event, RevocationRecorded, log_event
from graphql_authkit.logout import EVENT, BackChannelLogout
from graphql_authkit.testing import sign
from tests.stores.contract import TOKEN
from tests.support import ISSUER, NOW, Clock, Driver, key

AUDIT = {"by": "carol", "reason": "phone lost"}
VERBS: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[str, str, str]]] = {
    # verb: its arguments, and what the event says was taken back
    "revoke": ((TOKEN,), {}, ("token", ISSUER, TOKEN.token_key)),
    "revoke_token": ((ISSUER, "t-9"), {"expires_at": NOW + 60}, ("token", ISSUER, "jti:t-9")),
    "revoke_session": ((ISSUER, "s-1"), {}, ("session", ISSUER, "s-1")),
    "revoke_subject": ((ISSUER, "alice"), {}, ("subject", ISSUER, "alice")),
    "revoke_client": ((ISSUER, "c-1"), {}, ("client", ISSUER, "c-1")),
    "revoke_issuer": ((ISSUER,), {}, ("issuer", ISSUER, "")),
    "revoke_all": ((), {}, ("all", "", "")),
}


class Listened:
    """Revocations in memory, and what their listener was told."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.store = MemoryRevocationStore()
        self.revocations = Revocations(self.store, clock=Clock(), on_event=self.told.append)

    @property
    def audit(self) -> list[tuple[str | None, str | None]]:
        return [(event.by, event.reason) for event in self.told if isinstance(event, RevocationRecorded)]


@pytest.mark.parametrize("verb", VERBS)
def test_who_and_why_are_in_the_event_of_each_verb(verb: str, drive: Driver) -> None:
    listened = Listened()
    arguments, options, (scope, issuer, value) = VERBS[verb]
    drive(listened.revocations, verb, *arguments, **options, **AUDIT)
    before = None if scope == "token" else NOW
    assert listened.told == [RevocationRecorded(scope, issuer, value, before, "carol", "phone lost")]


@pytest.mark.parametrize("verb", VERBS)
def test_who_and_why_may_be_left_out(verb: str, drive: Driver) -> None:
    listened = Listened()
    arguments, options, _ = VERBS[verb]
    drive(listened.revocations, verb, *arguments, **options)
    drive(listened.revocations, verb, *arguments, **options, by="carol")
    drive(listened.revocations, verb, *arguments, **options, reason="phone lost")
    assert listened.audit == [(None, None), ("carol", None), (None, "phone lost")]


@pytest.mark.parametrize("verb", VERBS)
def test_a_word_that_no_verb_knows_is_refused_before_anything_is_recorded(verb: str, drive: Driver) -> None:
    listened = Listened()
    arguments, options, _ = VERBS[verb]
    with pytest.raises(TypeError, match="becuase"):
        drive(listened.revocations, verb, *arguments, **options, becuase="of a slip")
    assert (len(listened.store), listened.told) == (0, [])


def test_the_log_says_who_and_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log_event(RevocationRecorded("subject", ISSUER, "alice", NOW, "carol\n", "phone lost"))
    assert "by 'carol\\n': 'phone lost'" in caplog.text


@pytest.mark.parametrize("named", ["sid", "sub"])
def test_a_logout_by_the_provider_says_so(named: str, drive: Driver) -> None:
    listened = Listened()
    logout = BackChannelLogout(
        keys=JWKS({"keys": [key().public_jwk()]}),
        issuer=ISSUER,
        client_ids=["client-1"],
        revocations=listened.revocations,
        clock=Clock(),
        on_event=lambda _event: None,
    )
    claims = {"iss": ISSUER, "aud": "client-1", "iat": int(NOW), "jti": "l-1", named: "x", "events": {EVENT: {}}}
    token = sign({"alg": "RS256", "kid": key().key_id, "typ": "logout+jwt"}, claims, key())
    body = urlencode({"logout_token": token}).encode()
    assert drive(logout, "handle", "application/x-www-form-urlencoded", body).status == 200
    assert listened.audit == [(ISSUER, "back-channel logout")]
