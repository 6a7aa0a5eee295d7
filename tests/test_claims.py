"""The claims policy, row by row: what is accepted, what is refused, and what the log then says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_authkit import ConfigurationError, JWTVerifier, VerifiedToken
from graphql_authkit.errors import BadSignature, ClaimRejected, TokenExpired
from graphql_authkit.testing import sign
from tests.support import AUDIENCE, NOW, Clock, Driver, key, local_issuer, refused, verifier


def verify(
    claims: dict[str, Any] | None = None, *, without: list[str] | None = None, header: Any = None, **options: Any
) -> VerifiedToken:
    token = local_issuer().token(claims=claims, without=without or [], header=header)
    return verifier(**options).verify(token)


def rejected(claims: dict[str, Any] | None = None, **more: Any) -> str:
    error = refused(lambda: verify(claims, **more))
    assert isinstance(error, ClaimRejected), error
    return error.claim


# ---------------------------------------------------------------------------------------- iss, aud


@pytest.mark.parametrize(
    "iss",
    [
        "https://issuer.test",
        "https://issuer.test//",
        "https://ISSUER.test/",
        "",
        "issuer",
        None,
        1,
        True,
        ["https://issuer.test/"],
        {},
    ],
)
def test_the_issuer_is_exact(iss: Any) -> None:
    assert rejected({"iss": iss}) == "iss"


def test_a_token_without_issuer_is_refused_and_the_log_names_the_option() -> None:
    error = refused(lambda: verify(without=["iss"]))
    assert "insecure_any_issuer" in error.detail


def test_any_issuer_passes_only_where_danger_is_named() -> None:
    token = local_issuer().token(claims={"iss": "https://elsewhere/"})
    subject = JWTVerifier(
        keys=local_issuer().verifier().keys, insecure_any_issuer=True, audience=AUDIENCE, clock=Clock()
    )
    assert subject.verify(token).issuer == "https://elsewhere/"
    assert subject.verify(local_issuer().token(without=["iss"])).issuer == ""


@pytest.mark.parametrize("aud", [AUDIENCE, [AUDIENCE], ["x", AUDIENCE], [AUDIENCE, AUDIENCE]])
def test_one_audience_in_common_is_enough(aud: Any) -> None:
    assert verify({"aud": aud}).subject == "user-1"


@pytest.mark.parametrize(
    "aud",
    [
        "",
        [],
        "x",
        ["x"],
        [AUDIENCE, 1],
        [None],
        {AUDIENCE: 1},
        1,
        True,
        AUDIENCE + "/",
        AUDIENCE[:-1],
        [[AUDIENCE]],
        f"{AUDIENCE} x",
    ],
)
def test_any_other_audience_is_refused(aud: Any) -> None:
    assert rejected({"aud": aud}) == "aud"


@pytest.mark.parametrize("missing", [{"without": ["aud"]}, {"claims": {"aud": None}}])
def test_a_token_without_audience_is_refused_and_the_log_names_the_option(missing: dict[str, Any]) -> None:
    error = refused(lambda: verify(**missing))
    assert "client_ids=" in error.detail


@pytest.mark.parametrize("claim", ["client_id", "azp", "appid", "cid"])
def test_a_token_without_audience_passes_by_its_client_id(claim: str) -> None:
    token = verify(
        {claim: "app"},
        without=["aud"] + (["client_id"] if claim != "client_id" else []),
        audience=None,
        client_ids=["app"],
    )
    assert token.client_id == "app"


@pytest.mark.parametrize(
    ("claims", "without"),
    [
        ({}, ["client_id"]),
        ({"client_id": "other"}, []),
        ({"client_id": "app", "azp": "other"}, []),
        ({"client_id": "other", "azp": "app"}, []),
        ({"client_id": ["app"]}, []),
        ({"client_id": ""}, []),
        ({"client_id": 1}, []),
    ],
)
def test_another_client_or_none_or_two_that_disagree_is_refused(claims: dict[str, Any], without: list[str]) -> None:
    assert rejected(claims, without=["aud", *without], audience=None, client_ids=["app"]) in ("client_id", "azp")


def test_client_ids_alone_refuse_a_token_that_is_meant_for_some_audience() -> None:
    error = refused(
        lambda: verify({"client_id": "app", "aud": "https://another.api/"}, audience=None, client_ids=["app"])
    )
    assert (isinstance(error, ClaimRejected), "audience=" in error.detail) == (True, True)


def test_audience_and_client_ids_together_are_both_asked_for() -> None:
    both: dict[str, Any] = {"audience": AUDIENCE, "client_ids": ["app"]}
    assert verify({"client_id": "app"}, **both).client_id == "app"
    assert verify({"client_id": "app"}, without=["aud"], **both).client_id == "app"
    assert rejected({"client_id": "other"}, **both) == "client_id"
    assert rejected({"client_id": "app", "aud": "x"}, **both) == "aud"


# ------------------------------------------------------------------------------------------- dates


@pytest.mark.parametrize(
    ("exp", "leeway", "accepted"),
    [
        (NOW + 1, 0, True),
        (NOW, 0, False),
        (NOW + 0.001, 0, True),
        (NOW - 0.001, 0, False),
        (NOW - 4, 5, True),
        (NOW - 4.999, 5, True),
        (NOW - 5, 5, False),
        (NOW - 59, 60, True),
        (NOW - 60, 60, False),
        (int(NOW) + 1, 0, True),
        (0, 5, False),
    ],
)
def test_a_token_ends_at_exp_exactly(exp: float, leeway: float, accepted: bool) -> None:
    token = local_issuer().token(claims={"exp": exp})
    subject = verifier(leeway=leeway)
    if accepted:
        assert subject.verify(token).expires_at == exp
    else:
        assert type(refused(lambda: subject.verify(token))) is TokenExpired


NO_DATES = [True, False, "1800000600", None, [], {}, -1, 1e300, 253402300800, 10**19, -1e-9]


@pytest.mark.parametrize("value", NO_DATES)
@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
def test_what_is_no_date_is_refused(claim: str, value: Any) -> None:
    assert rejected({claim: value}) == claim


def test_a_token_that_never_ends_is_refused() -> None:
    assert rejected(without=["exp"]) == "exp"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_of_the_future_is_refused_beyond_the_leeway(claim: str) -> None:
    assert verify({claim: NOW + 5}).subject == "user-1"
    assert rejected({claim: NOW + 5.001}) == claim


def test_iat_and_nbf_are_optional() -> None:
    token = verify(without=["iat", "nbf"])
    assert (token.issued_at, token.not_before) == (None, None)


def test_max_age_bounds_a_token_whatever_its_exp() -> None:
    assert verify({"iat": NOW - 64}, max_age=60).subject == "user-1"
    assert type(refused(lambda: verify({"iat": NOW - 65}, max_age=60))) is TokenExpired
    assert rejected(without=["iat"], max_age=60) == "iat"


@given(st.floats(allow_nan=False, min_value=0, max_value=2e9), st.floats(min_value=0, max_value=60))
def test_a_token_passes_exactly_while_now_is_before_exp_and_leeway(exp: float, leeway: float) -> None:
    token = local_issuer().token(claims={"exp": exp})
    subject = verifier(leeway=leeway)
    if exp + leeway > NOW:
        assert subject.verify(token).expires_at == exp
    else:
        assert type(refused(lambda: subject.verify(token))) is TokenExpired


# ------------------------------------------------------------------------------ subject and others


@pytest.mark.parametrize("sub", ["", None, 1, True, ["user-1"], {}, "a\x00b"])
def test_a_subject_is_a_string_that_any_log_or_database_can_hold(sub: Any) -> None:
    assert rejected({"sub": sub}) == "sub"


def test_a_missing_subject_names_the_option_in_the_log() -> None:
    assert "subject_claim=" in refused(lambda: verify(without=["sub"])).detail


def test_the_subject_may_come_from_another_claim_or_a_nested_one() -> None:
    assert verify({"oid": "o-1"}, without=["sub"], subject_claim="oid").subject == "o-1"
    assert verify({"act": {"who": "w"}}, without=["sub"], subject_claim=("act", "who")).subject == "w"
    assert rejected({"act": "w"}, without=["sub"], subject_claim=("act", "who")) == "act.who"


@pytest.mark.parametrize("claim", ["jti", "sid", "client_id"])
@pytest.mark.parametrize("value", ["", 1, True, [], {}, "a\x00"])
def test_other_identifiers_are_strings_too(claim: str, value: Any) -> None:
    assert rejected({claim: value}) == claim


def test_session_and_token_id_may_come_from_other_claims() -> None:
    token = verify({"session_state": "s", "uti": "u"}, session_claim="session_state", token_id_claim="uti")
    assert (token.session_id, token.token_id, token.token_key) == ("s", "u", "jti:u")


def test_a_token_without_jti_is_known_by_the_digest_of_what_was_signed() -> None:
    issuer = local_issuer("ES256")
    token = issuer.token(without=["jti"])
    head = token.rpartition(".")[0]
    again = f"{head}.{issuer.token().rpartition('.')[2]}"  # another signature of the same key
    first = issuer.verifier().verify(token)
    assert (first.token_id, first.token_key[:7], len(first.token_key)) == (None, "sha256:", 71)
    resigned = sign({"alg": "ES256", "kid": issuer.key.key_id, "typ": "at+jwt"}, dict(first.claims), key("ES256"))
    assert type(refused(lambda: issuer.verifier().verify(again))) is BadSignature
    assert issuer.verifier().verify(resigned).token_key == first.token_key  # ECDSA signs anew, the identity stays


def test_a_hostile_jti_cannot_name_another_tokens_digest() -> None:
    victim = verify(without=["jti"])
    assert verify({"jti": victim.token_key}).token_key != victim.token_key


@pytest.mark.parametrize("missing", [{"without": ["jti"]}, {"claims": {"jti": None}}])
def test_required_claims_are_present_and_not_null(missing: dict[str, Any]) -> None:
    assert rejected(**missing, required=["jti"]) == "jti"


# ---------------------------------------------------------------------------------- kinds of token


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt"])
def test_an_access_tokens_typ_is_accepted(typ: str) -> None:
    assert verify(header={"typ": typ}).subject == "user-1"


def test_an_absent_typ_is_accepted() -> None:
    assert verify(without=["typ"]).subject == "user-1"


@pytest.mark.parametrize(
    "typ", ["", "id+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "at+jwt ", "application/", "statuslist+jwt"]
)
def test_any_other_typ_is_refused(typ: str) -> None:
    assert rejected(header={"typ": typ}) == "typ"


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("token_use", "id"),
        ("token_use", "refresh"),
        ("token_use", None),
        ("token_use", ["access"]),
        ("typ", "ID"),
        ("typ", "id"),
        ("typ", "Refresh"),
        ("typ", "Offline"),
        ("typ", "Logout"),
        ("typ", 1),
        ("typ", None),
        ("events", {}),
        ("events", None),
        ("cnf", {"jkt": "x"}),
        ("cnf", {}),
        ("cnf", None),
    ],
)
def test_a_token_of_another_kind_or_bound_to_a_key_is_refused(claim: str, value: Any) -> None:
    assert rejected({claim: value}) == claim


@pytest.mark.parametrize(("claim", "value"), [("token_use", "access"), ("typ", "Bearer")])
def test_what_cognito_and_keycloak_write_into_access_tokens_is_accepted(claim: str, value: str) -> None:
    assert verify({claim: value}).subject == "user-1"


def test_the_strict_profile_accepts_the_strict_form() -> None:
    assert verify(profile="rfc9068").subject == "user-1"


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": "jwt"}])
def test_the_strict_profile_wants_its_typ(header: Any) -> None:
    assert rejected(header=header, profile="rfc9068") == "typ"
    assert rejected(without=["typ"], profile="rfc9068") == "typ"


def test_the_strict_profile_wants_an_audience_that_names_somebody() -> None:
    both: dict[str, Any] = {"audience": AUDIENCE, "client_ids": ["test-client"]}
    assert rejected({"aud": []}, profile="rfc9068", **both) == "aud"
    assert verify({"aud": []}, **both).client_id == "test-client"  # without the profile it is a token without one


def test_the_strict_profile_keeps_what_else_is_required() -> None:
    assert rejected(profile="rfc9068", required=["auth_time"]) == "auth_time"


@pytest.mark.parametrize("claim", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
def test_the_strict_profile_wants_its_seven_claims(claim: str) -> None:
    assert rejected(without=[claim], profile="rfc9068") == claim


# ------------------------------------------------------------------------------------------ scopes


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "read write"}, {"read", "write"}),
        ({"scope": ["read", "write"]}, {"read", "write"}),
        ({"scope": "", "scp": "read"}, {"read"}),
        ({"scope": "read", "scp": ["write"]}, {"read", "write"}),
        ({"scope": " read  write "}, {"read", "write"}),
        ({"scope": ["read write"]}, {"read write"}),
        ({"scope": []}, set()),
        ({"scope": None}, set()),
        ({"scope": "read\twrite"}, {"read\twrite"}),
        ({"roles": ["admin"], "permissions": ["x"]}, set()),
    ],
)
def test_scopes_are_read_from_strings_and_arrays(claims: dict[str, Any], scopes: set[str]) -> None:
    assert verify(claims, without=["scope"] if "scope" not in claims else []).scopes == scopes


@pytest.mark.parametrize("value", [["read", 1], ["read", None], ["read", ["write"]], 1, True, {"read": True}])
@pytest.mark.parametrize("claim", ["scope", "scp"])
def test_a_mixed_scope_is_refused_whole(claim: str, value: Any) -> None:
    assert rejected({claim: value}) == claim


def test_other_claims_grant_only_when_named() -> None:
    claims = {"roles": ["admin"], "realm_access": {"roles": ["staff"]}, "scope": "read"}
    named = verify(claims, scope_claims=["roles", ("realm_access", "roles")])
    assert named.scopes == {"admin", "staff"}


# --------------------------------------------------------------------------------- order of checks


def test_a_forged_token_never_learns_which_claim_was_wrong(drive: Driver) -> None:
    wrong: list[dict[str, Any]] = [{"exp": 1}, {"iss": "x"}, {"aud": "x"}, {"cnf": {}}, {"sub": None}]
    for claims in wrong:
        forged = local_issuer().token(claims=claims, key=key("RS256", 2))
        assert type(drive.error(verifier(), "verify", forged)) is BadSignature


# ----------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    "options",
    [
        {"leeway": 61},
        {"leeway": -1},
        {"leeway": float("nan")},
        {"leeway": True},
        {"max_age": 0},
        {"max_age": float("inf")},
        {"profile": "rfc7519"},
        {"subject_claim": ""},
        {"subject_claim": ()},
        {"subject_claim": ("a", 1)},
        {"scope_claims": "scope"},
        {"audience": []},
        {"audience": ""},
        {"audience": [""]},
        {"audience": [None]},
        {"audience": None},
        {"audience": None, "client_ids": []},
        {"client_ids": "app"},
        {"required": "jti"},
        {"required": [""]},
        {"required": [1, "a"]},
        {"session_claim": ""},
        {"token_id_claim": ("a", "")},
        {"scope_claims": [()]},
        {"profile": "rfc9068", "audience": None, "client_ids": ["app"]},
        {"max_token_bytes": float("nan")},
        {"max_token_bytes": "x"},
        {"max_token_bytes": 10},
        {"cache": -5},
    ],
)
def test_a_policy_that_accepts_too_much_or_nothing_is_refused_while_building(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        verifier(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"audience": "a"},
        {"issuer": "i"},
        {"issuer": "i", "insecure_any_issuer": True, "audience": "a"},
        {"issuer": "i", "audience": "a", "insecure_any_audience": True},
        {"issuer": "", "audience": "a"},
        {"issuer": [], "audience": "a"},
    ],
)
def test_issuer_and_audience_rules_are_required_and_never_contradicted(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        JWTVerifier(keys=local_issuer().verifier().keys, **options)
