"""Which requests are guarded, and what a refusal looks like on the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_authkit import Authenticator, ConfigurationError
from graphql_authkit._gate import Gate, is_preflight, is_preflight_field
from graphql_authkit.errors import (
    AuthError,
    ClaimRejected,
    CsrfRejected,
    Forbidden,
    InsufficientScope,
    InvalidRequest,
    KeysUnavailable,
    MalformedToken,
    MissingCredential,
    TokenExpired,
)
from tests.support import verifier

AUTH = Authenticator(verifier())


def gate(**options: Any) -> Gate:
    return Gate(AUTH, **options)


TRICKS = [
    "",
    "health",
    "//health",
    "/health//",
    "/./health",
    "/x/../health",
    "/health/.",
    "/health/..",
    "/health;x",
    "/health;/../graphql",
    "/health%2f",
    "/health%",
    "/health\\",
    "/health?",
    "/health#",
    "/health\x00",
    "/health\n",
    "/health\ufffd",
    "*",
    "http://x/health",
]


def test_everything_is_guarded_unless_paths_are_named() -> None:
    assert [gate().guards(path) for path in ("/", "/graphql", "/anything", *TRICKS)] == [True] * (3 + len(TRICKS))


@pytest.mark.parametrize(
    "path",
    [
        "/graphql",
        "/graphql/",
        "/graphql/x",
        "/GraphQL",
        "/GRAPHQL/x",
        "/\uff47raphql",
        "/graphq\u2113",
        "/api/graphql",
        "/a/b/GraphQL/x",
        *TRICKS,
    ],
)
def test_a_named_path_is_guarded_in_every_spelling_and_so_is_a_trick(path: str) -> None:
    assert gate(paths=["/graphql"]).guards(path) is True


@pytest.mark.parametrize("path", ["/", "/health", "/graphqlx", "/x/graphqlx", "/xgraphql", "/über", "/a b", "/graphq"])
def test_another_path_is_not(path: str) -> None:
    assert gate(paths=["/graphql"]).guards(path) is False


@pytest.mark.parametrize("path", ["/health", "/docs/", "/docs/a", "/docs/a/b"])
def test_a_public_path_is_public(path: str) -> None:
    assert gate(public_paths=["/health", "/docs/*"]).guards(path) is False


@pytest.mark.parametrize(
    "path", ["/Health", "/health/", "/health/x", "/docs", "/docsx", "/Docs/a", "/docs/../graphql", *TRICKS]
)
def test_anything_but_a_public_path_as_it_is_written_is_guarded(path: str) -> None:
    assert gate(public_paths=["/health", "/docs/*"]).guards(path) is True


@pytest.mark.parametrize(
    ("paths", "public", "path", "guarded"),
    [
        (["/api"], ["/api/health"], "/api/health", False),
        (["/api"], ["/api/docs/*"], "/api/docs/x", False),
        (["/docs/graphql"], ["/docs/*"], "/docs/graphql", True),
        (["/docs/graphql"], ["/docs/*"], "/docs/graphql/x", True),
        (["/docs/graphql"], ["/docs/*"], "/docs/other", False),
        (["/health"], ["/health"], "/health", True),
        (["/"], ["/"], "/", True),
        (["/"], ["/*"], "/x", True),
        (["/cafe\u0301"], ["/cafe\u0301"], "/cafe\u0301", True),
        (["/"], ["/health"], "/health", False),
        (["/"], ["/health"], "/other", True),
        ([], ["/*"], "/anything", False),
        (["/graphql"], ["/*"], "/graphql", True),
        (["/graphql"], ["/*"], "/GRAPHQL/", True),
    ],
)
def test_the_longer_pattern_decides_and_a_tie_guards(
    paths: list[str], public: list[str], path: str, guarded: bool
) -> None:
    assert gate(paths=paths, public_paths=public).guards(path) is guarded


@pytest.mark.parametrize(
    ("root", "path", "guarded"),
    [
        ("/api", "/health", False),
        ("/api", "/api/health", True),
        ("", "/api/health", True),
        ("", "/health", False),
        ("/health", "/x", True),
        ("/api", "health", True),
        ("/docs/x", "graphql", True),
        ("api", "/health", True),
        ("//api", "/health", True),
        ("/api/..", "/health", True),
        ("/%61pi", "/health", True),
        ("/api/", "/health", True),
        ("/", "/health", False),
        ("/", "/other", True),
    ],
)
def test_what_is_public_is_written_without_its_mount(root: str, path: str, guarded: bool) -> None:
    assert gate(public_paths=["/health"]).guards(path, root) is guarded


@pytest.mark.parametrize(
    ("root", "path"), [("/api", "/graphql"), ("", "/api/graphql"), ("/api/graphql", "/x"), ("/api", "/graphql/")]
)
@pytest.mark.parametrize("pattern", ["/graphql", "/api/graphql"])
def test_what_is_guarded_is_written_with_its_mount_or_without(root: str, path: str, pattern: str) -> None:
    assert gate(paths=[pattern], public_paths=["/*"]).guards(path, root) is True


@pytest.mark.parametrize(
    "raw", [b"/docs%2fgraphql", b"/docs/%2e%2e/graphql", b"/docs%5Cx", b"/docs/%252e", b"/docs/x%00", b"/docs%3Bx"]
)
def test_an_encoded_separator_on_the_wire_is_a_trick_whatever_the_server_made_of_it(raw: bytes) -> None:
    assert gate(public_paths=["/docs/*"]).guards("/docs/x", raw=raw) is True


def test_an_ordinary_encoding_on_the_wire_is_none() -> None:
    assert gate(public_paths=["/docs/*"]).guards("/docs/a b", raw=b"/docs/a%20b") is False


SEGMENTS = st.lists(
    st.sampled_from(["graphql", "GraphQL", "public", "..", ".", "", "%2e%2e", "a;b", "x", "graphql ", "é"]), max_size=5
)


@given(SEGMENTS, st.booleans())
def test_no_path_that_a_lenient_router_takes_for_a_guarded_one_is_public(segments: list[str], slash: bool) -> None:
    import posixpath
    from urllib.parse import unquote

    path = "/" + "/".join(segments) + ("/" if slash else "")
    lenient = posixpath.normpath(unquote(path).split(";")[0].lower()).replace("//", "/")
    if lenient == "/graphql" or lenient.startswith("/graphql/"):
        assert gate(paths=["/graphql"], public_paths=["/public/*"]).guards(path) is True
        assert gate(public_paths=["/public/*"]).guards(path) is True


# --------------------------------------------------------------------------------------- preflight


PREFLIGHT = {"origin": "https://app.test", "access-control-request-method": "POST"}


@pytest.mark.parametrize(
    ("method", "fields", "expected"),
    [
        ("OPTIONS", PREFLIGHT, True),
        ("OPTIONS", {**PREFLIGHT, "content-length": "0"}, True),
        ("OPTIONS", {**PREFLIGHT, "content-length": ""}, True),
        ("OPTIONS", {"origin": "x"}, False),
        ("OPTIONS", {"access-control-request-method": "POST"}, False),
        ("OPTIONS", {}, False),
        ("OPTIONS", {**PREFLIGHT, "origin": ""}, False),
        ("OPTIONS", {**PREFLIGHT, "access-control-request-method": ""}, False),
        ("OPTIONS", {**PREFLIGHT, "authorization": "Bearer x"}, False),
        ("OPTIONS", {**PREFLIGHT, "content-length": "5"}, False),
        ("OPTIONS", {**PREFLIGHT, "content-length": "00"}, False),
        ("OPTIONS", {**PREFLIGHT, "transfer-encoding": "chunked"}, False),
        ("options", PREFLIGHT, False),
        ("POST", PREFLIGHT, False),
        ("GET", PREFLIGHT, False),
    ],
)
def test_only_a_real_preflight_is_one(method: str, fields: dict[str, str], expected: bool) -> None:
    assert is_preflight(method, fields.items()) is expected


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("origin", True),
        ("host", True),
        ("access-control-request-headers", True),
        ("x-forwarded-proto", True),
        ("x-forwarded-user", False),
        ("x-forwarded-method", False),
        ("x-forwarded-prefix", False),
        ("x-http-method-override", False),
        ("x-method-override", False),
        ("content-type", False),
        ("cookie", False),
        ("authorization", False),
    ],
)
def test_of_a_preflight_only_what_concerns_it_is_handed_on(name: str, kept: bool) -> None:
    assert is_preflight_field(name) is kept


# ----------------------------------------------------------------------------------------- refusal


def headers(error: AuthError, *accept: str, **options: Any) -> dict[str, str]:
    return dict(gate(**options).refusal(error, accept).headers)


@pytest.mark.parametrize(
    ("error", "status", "challenge"),
    [
        (MissingCredential("x"), 401, 'Bearer realm="GraphQL"'),
        (
            InvalidRequest("x"),
            400,
            'Bearer realm="GraphQL", error="invalid_request", '
            'error_description="The request\'s credentials are malformed."',
        ),
        (
            MalformedToken("x"),
            401,
            'Bearer realm="GraphQL", error="invalid_token", error_description="The access token is invalid."',
        ),
        (
            TokenExpired("x"),
            401,
            'Bearer realm="GraphQL", error="invalid_token", error_description="The access token expired."',
        ),
        (
            InsufficientScope(["a", "b:c"]),
            403,
            'Bearer realm="GraphQL", error="insufficient_scope", '
            'error_description="The access token lacks a required scope.", scope="a b:c"',
        ),
        (Forbidden("x"), 403, None),
        (CsrfRejected("x"), 403, None),
        (KeysUnavailable("x"), 503, None),
    ],
)
def test_the_challenge_is_that_of_rfc_6750(error: AuthError, status: int, challenge: str | None) -> None:
    response = gate().refusal(error)
    assert (response.status, dict(response.headers).get("WWW-Authenticate")) == (status, challenge)


@pytest.mark.parametrize("error", [MissingCredential("x"), InvalidRequest("x"), Forbidden("x"), KeysUnavailable("x")])
def test_no_refusal_may_be_stored_or_served_to_another(error: AuthError) -> None:
    fields = headers(error)
    assert (fields["Cache-Control"], fields["Vary"]) == ("no-store", "Authorization")


def test_only_unavailability_says_when_to_retry() -> None:
    assert (headers(KeysUnavailable("x")).get("Retry-After"), headers(TokenExpired("x")).get("Retry-After")) == (
        "5",
        None,
    )


def test_the_body_is_shaped_like_graphql_and_shows_no_detail() -> None:
    response = gate().refusal(ClaimRejected("aud", "SECRET detail"))
    assert json.loads(response.body) == {
        "errors": [
            {
                "message": "The access token is not acceptable here.",
                "extensions": {"code": "UNAUTHENTICATED", "reason": "CLAIM_REJECTED"},
            }
        ]
    }
    assert "SECRET" not in repr(response)
    assert dict(response.headers)["Content-Length"] == str(len(response.body))


GRAPHQL = "application/graphql-response+json; charset=utf-8"
PLAIN = "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ([], PLAIN),
        (["*/*"], PLAIN),
        (["application/json"], PLAIN),
        (["application/graphql-response+json"], GRAPHQL),
        (["Application/GraphQL-Response+JSON;charset=utf-8"], GRAPHQL),
        (["application/graphql-response+json;charset=utf-8,application/json;charset=utf-8"], GRAPHQL),
        (["application/json", "application/graphql-response+json;q=0.5"], GRAPHQL),
        (["application/graphql-response+json;q=0"], PLAIN),
        (["application/graphql-response+json; q=0.000"], PLAIN),
        (["text/html, application/xhtml+xml"], PLAIN),
        (["application/graphql-response+jsonx"], PLAIN),
    ],
)
def test_graphqls_own_media_type_goes_to_whoever_names_it(accept: list[str], media_type: str) -> None:
    assert headers(MissingCredential("x"), *accept)["Content-Type"] == media_type


@pytest.mark.parametrize("realm", ['My "API"', "back\\slash", "a b, c=d"])
def test_header_values_are_quoted(realm: str) -> None:
    escaped = realm.replace("\\", "\\\\").replace('"', '\\"')
    assert headers(MissingCredential("x"), realm=realm)["WWW-Authenticate"] == f'Bearer realm="{escaped}"'


def test_a_scope_cannot_break_out_of_the_header() -> None:
    fields = headers(InsufficientScope(['a"\r\nSet-Cookie: x=y', "\u2028é"]))
    assert ("\r" in fields["WWW-Authenticate"], "\n" in fields["WWW-Authenticate"]) == (False, False)
    assert fields["WWW-Authenticate"].isascii()


@pytest.mark.parametrize(
    "options",
    [
        {"paths": "/graphql"},
        {"paths": ["graphql"]},
        {"paths": ["/graphql/*"]},
        {"paths": ["/a//b"]},
        {"paths": ["/a/../b"]},
        {"paths": ["/a%20b"]},
        {"paths": [None]},
        {"public_paths": "/health"},
        {"public_paths": ["health"]},
        {"public_paths": ["*"]},
        {"public_paths": ["/*/x"]},
        {"public_paths": ["/x*"]},
        {"public_paths": [""]},
        {"realm": ""},
        {"realm": "a\r\nb"},
        {"realm": "é"},
        {"realm": None},
    ],
)
def test_what_could_never_match_or_be_sent_is_refused_while_building(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        gate(**options)


def test_a_gate_needs_a_pipeline() -> None:
    with pytest.raises(ConfigurationError):
        Gate(verifier())  # type: ignore[arg-type]
