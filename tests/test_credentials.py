"""Where a token is read from, and every header that tries to say two things."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_authkit import Request
from graphql_authkit.credentials import field_values, read_field
from graphql_authkit.errors import AuthError, InvalidRequest, MissingCredential
from graphql_authkit.model import Credential
from tests.support import refused


def extract(given: Request) -> Credential | None:
    return read_field(field_values(given))


def request(*values: str, name: str = "authorization") -> Request:
    return Request([(name, value) for value in values])


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
@pytest.mark.parametrize("name", ["authorization", "Authorization", "AUTHORIZATION"])
def test_the_scheme_and_the_field_name_are_case_insensitive(scheme: str, name: str) -> None:
    credential = extract(request(f"{scheme} abc.def-_~+/==", name=name))
    assert credential is not None
    assert credential.token == "abc.def-_~+/=="


@pytest.mark.parametrize("value", ["Bearer  abc", "Bearer abc ", " Bearer abc", "\tBearer abc\t"])
def test_spaces_around_are_no_part_of_the_token(value: str) -> None:
    credential = extract(request(value))
    assert credential is not None
    assert credential.token == "abc"


def test_no_field_is_no_credential() -> None:
    assert extract(Request([])) is None
    assert extract(Request([("cookie", "token=abc"), ("x-authorization", "Bearer abc")])) is None


@pytest.mark.parametrize(
    "values",
    [
        ["Bearer a", "Bearer b"],
        ["Bearer a", "Bearer a"],
        ["Bearer a", "Basic b"],
        ["Basic b", "Bearer a"],
        ["", "Bearer a"],
        ["Bearer a,Bearer b"],
        ["Bearer a, Bearer b"],
        ["Bearer a,"],
        ["Basic b, Bearer a"],
        ["Basic b,bearer a"],
        ["Bearer a b"],
        ["Bearer a\tb"],
        ["Bearer\ta"],
        ["Bearer a\x00"],
        ["Bearer a\r\nX: y"],
        ["Bearer a\x7f"],
        ["Bearer"],
        ["Bearer "],
        ["Bearer ="],
        ["Bearer a=b"],
        ["Bearer a.é"],
        ["Bearer \ud800"],
        ["Bearer: a"],
        ["Bearer\u00a0a"],
        ["\u00a0Bearer a"],
        ["Bearer a\n"],
        ["Bearer a\x0b"],
        ["\x0cBearer a"],
        ["Bearer\u2003a"],
        ["Bearer,a"],
        [""],
        [" "],
        [", Bearer a"],
        ["\x00Basic a"],
        ["Basic a\x01"],
        ['"Bearer" a'],
    ],
)
def test_a_malformed_or_ambiguous_field_is_a_bad_request(values: list[str]) -> None:
    assert type(refused(lambda: extract(request(*values)))) is InvalidRequest


@pytest.mark.parametrize(
    "value",
    [
        "Basic dXNlcjpwYXNz",
        "DPoP abc",
        'Digest username="x", realm="y"',
        "Negotiate",
        "Bearerx abc",
        "Token abc",
        "a.b.c",
    ],
)
def test_another_scheme_is_no_bearer_token(value: str) -> None:
    error = refused(lambda: extract(request(value)))
    assert (type(error), error.error) == (MissingCredential, None)


@given(st.lists(st.text(alphabet=st.characters(max_codepoint=255)), max_size=3))
def test_any_field_at_all_is_an_auth_error_or_a_credential_or_none(values: list[str]) -> None:
    with contextlib.suppress(AuthError):
        extract(request(*values))


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_whatever_is_extracted_is_a_token68(value: str) -> None:
    try:
        credential = extract(request("Bearer " + value))
    except AuthError:
        return
    assert credential is not None
    assert set(credential.token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=")
