"""What every revocation store must do: one class of tests, run for each store through both drivers."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from graphql_authkit import Revocations, VerifiedToken
from graphql_authkit.errors import TokenRevoked
from tests.support import AUDIENCE, ISSUER, NOW, Clock, Driver, local_issuer, verifier

TOKEN = verifier().verify(
    local_issuer().token("alice", claims={"jti": "t-1", "sid": "s-1", "client_id": "c-1", "iat": int(NOW)})
)
KEPT = {name: getattr(TOKEN, name) for name in inspect.signature(VerifiedToken).parameters}
LATER = 100 * 86_400.0


def like(**changes: Any) -> VerifiedToken:
    """A token that differs from TOKEN in these attributes."""
    return VerifiedToken(**{**KEPT, **changes})


SCOPES: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    # scope: the verb, its arguments, and what makes another token that it does not cover
    "session": ("revoke_session", (ISSUER, "s-1"), {"session_id": "s-2"}),
    "subject": ("revoke_subject", (ISSUER, "alice"), {"subject": "bob"}),
    "client": ("revoke_client", (ISSUER, "c-1"), {"client_id": "c-2"}),
    "issuer": ("revoke_issuer", (ISSUER,), {"issuer": "https://another.test/"}),
}


class StoreContract:
    """Subclass it, and give `make_store`."""

    def make_store(self) -> Any:
        raise AssertionError("a subclass makes the store")

    @pytest.fixture
    def revocations(self, clock: Clock) -> Revocations:
        return Revocations(self.make_store(), clock=clock)

    def is_revoked(self, drive: Driver, revocations: Revocations, token: VerifiedToken) -> bool:
        try:
            return drive(revocations, "check", token).token is not token
        except TokenRevoked:
            return True

    def test_nothing_is_revoked_at_first(self, revocations: Revocations, drive: Driver) -> None:
        assert self.is_revoked(drive, revocations, TOKEN) is False

    def test_a_revoked_token_is_revoked_whenever_it_was_issued(self, revocations: Revocations, drive: Driver) -> None:
        drive(revocations, "revoke", TOKEN)
        assert self.is_revoked(drive, revocations, TOKEN) is True
        assert self.is_revoked(drive, revocations, like(issued_at=NOW + 3)) is True
        assert self.is_revoked(drive, revocations, like(issued_at=None)) is True

    def test_another_token_is_not(self, revocations: Revocations, drive: Driver) -> None:
        drive(revocations, "revoke", TOKEN)
        assert self.is_revoked(drive, revocations, like(token_key="jti:t-2")) is False
        assert self.is_revoked(drive, revocations, like(issuer="https://another.test/")) is False

    def test_a_token_is_revoked_by_its_id_alone(self, revocations: Revocations, drive: Driver) -> None:
        drive(revocations, "revoke_token", ISSUER, "t-1", expires_at=TOKEN.expires_at)
        assert self.is_revoked(drive, revocations, TOKEN) is True

    def test_a_token_without_id_is_revoked_by_its_digest(self, revocations: Revocations, drive: Driver) -> None:
        nameless = verifier().verify(local_issuer().token(without=["jti"]))
        other = verifier().verify(local_issuer().token("other", without=["jti"]))
        drive(revocations, "revoke", nameless)
        assert self.is_revoked(drive, revocations, nameless) is True
        assert self.is_revoked(drive, revocations, other) is False

    @pytest.mark.parametrize("scope", SCOPES)
    def test_a_rule_covers_what_was_issued_at_or_before_its_second(
        self, revocations: Revocations, drive: Driver, clock: Clock, scope: str
    ) -> None:
        verb, arguments, _ = SCOPES[scope]
        clock.now = NOW + 0.7
        drive(revocations, verb, *arguments)
        seen = {
            offset: self.is_revoked(drive, revocations, like(issued_at=NOW + offset))
            for offset in (-1000.0, -1.0, 0.0, 0.5, 0.9, 1.0, 2.0)
        }
        assert seen == {-1000.0: True, -1.0: True, 0.0: True, 0.5: True, 0.9: True, 1.0: False, 2.0: False}

    @pytest.mark.parametrize("scope", SCOPES)
    def test_a_rule_covers_nobody_else(self, revocations: Revocations, drive: Driver, scope: str) -> None:
        verb, arguments, other = SCOPES[scope]
        drive(revocations, verb, *arguments)
        assert self.is_revoked(drive, revocations, like(**other)) is False

    @pytest.mark.parametrize("scope", SCOPES)
    def test_for_want_of_iat_only_a_rule_that_covers_the_token_refuses_it(
        self, revocations: Revocations, drive: Driver, scope: str
    ) -> None:
        verb, arguments, other = SCOPES[scope]
        drive(revocations, verb, *arguments)
        assert self.is_revoked(drive, revocations, like(issued_at=None)) is True
        assert self.is_revoked(drive, revocations, like(issued_at=None, **other)) is False

    def test_revoking_all_covers_every_issuer(self, revocations: Revocations, drive: Driver) -> None:
        drive(revocations, "revoke_all")
        assert self.is_revoked(drive, revocations, TOKEN) is True
        assert self.is_revoked(drive, revocations, like(issuer="https://another.test/", subject="bob")) is True
        assert self.is_revoked(drive, revocations, like(issued_at=NOW + 1)) is False

    @pytest.mark.parametrize("order", [(100.0, 50.0), (50.0, 100.0)])
    def test_the_strictest_rule_wins_in_any_order_and_over_all_scopes(
        self, revocations: Revocations, drive: Driver, order: tuple[float, float]
    ) -> None:
        first, second = order
        drive(revocations, "revoke_subject", ISSUER, "alice", before=NOW - first)
        drive(revocations, "revoke_subject", ISSUER, "alice", before=NOW - second)
        assert self.is_revoked(drive, revocations, like(issued_at=NOW - 50)) is True
        assert self.is_revoked(drive, revocations, like(issued_at=NOW - 49)) is False
        drive(revocations, "revoke_all", before=NOW - 20)
        drive(revocations, "revoke_session", ISSUER, "s-1", before=NOW - 30)
        assert self.is_revoked(drive, revocations, like(issued_at=NOW - 20)) is True
        assert self.is_revoked(drive, revocations, like(issued_at=NOW - 19)) is False

    def test_a_token_lives_in_the_list_until_it_has_expired_leeway_included(
        self, revocations: Revocations, drive: Driver, clock: Clock
    ) -> None:
        drive(revocations, "revoke", TOKEN)
        clock.now = TOKEN.expires_at + 59.9
        assert self.is_revoked(drive, revocations, TOKEN) is True

    def test_a_rule_lives_until_the_last_token_it_covers_has_expired(self, clock: Clock, drive: Driver) -> None:
        revocations = Revocations(self.make_store(), clock=clock, max_token_lifetime=1000.0)
        drive(revocations, "revoke_subject", ISSUER, "alice")
        last = like(issued_at=NOW, expires_at=NOW + 1000.0 + 60.0)  # the longest life that is let in
        clock.now = last.expires_at + 59.9
        assert self.is_revoked(drive, revocations, last) is True

    def test_a_rule_about_the_past_still_covers_what_lives_now(self, clock: Clock, drive: Driver) -> None:
        revocations = Revocations(self.make_store(), clock=clock, max_token_lifetime=1000.0)
        drive(revocations, "revoke_subject", ISSUER, "alice", before=NOW - 500)
        clock.now = NOW + 400
        assert self.is_revoked(drive, revocations, like(issued_at=NOW - 500, expires_at=NOW + 490)) is True

    def test_a_clock_set_back_forgets_nothing(self, revocations: Revocations, drive: Driver, clock: Clock) -> None:
        drive(revocations, "revoke_subject", ISSUER, "alice")
        clock.now = NOW - 3600
        assert self.is_revoked(drive, revocations, TOKEN) is True

    def test_recording_again_never_weakens(self, clock: Clock, drive: Driver) -> None:
        store = self.make_store()
        revocations = Revocations(store, clock=clock)
        drive(revocations, "revoke_token", ISSUER, "t-1", expires_at=NOW + LATER)
        drive(revocations, "revoke_token", ISSUER, "t-1", expires_at=NOW + 1)
        clock.now = NOW + 1000
        assert self.is_revoked(drive, revocations, like(expires_at=NOW + 1500)) is True

    @pytest.mark.parametrize("value", ["a:b", "a\nb", "é", "'; drop table x; --", "*", "x" * 4000, "%s", "\U0001f600"])
    def test_any_identifier_is_only_itself(self, revocations: Revocations, drive: Driver, value: str) -> None:
        drive(revocations, "revoke_subject", ISSUER, value)
        assert self.is_revoked(drive, revocations, like(subject=value)) is True
        assert self.is_revoked(drive, revocations, like(subject=value + "x")) is False
        assert self.is_revoked(drive, revocations, like(session_id=value)) is False

    def test_keys_that_look_alike_when_joined_are_kept_apart(self, revocations: Revocations, drive: Driver) -> None:
        drive(revocations, "revoke_subject", "a", "b:c")
        assert self.is_revoked(drive, revocations, like(issuer="a:b", subject="c")) is False
        assert self.is_revoked(drive, revocations, like(issuer="a", subject="b:c")) is True


assert TOKEN.claims["aud"] == AUDIENCE
