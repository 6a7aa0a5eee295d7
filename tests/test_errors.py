"""The one tree of errors: codes, statuses, and what each lets out."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Iterator

import pytest

from graphql_authkit import errors
from graphql_authkit.errors import AuthError, ClaimRejected, ConfigurationError, InsufficientScope


def every(kind: type[AuthError]) -> Iterator[type[AuthError]]:
    """The tree as it is drawn; rooms may have finer ones of their own."""
    yield kind
    for sub in kind.__subclasses__():
        if sub.__module__ == errors.__name__:
            yield from every(sub)


def sample(kind: type[AuthError]) -> AuthError:
    if kind is ClaimRejected:
        return ClaimRejected("aud", "detail for the log")
    if issubclass(kind, InsufficientScope):
        return InsufficientScope(["read"], "detail for the log")
    return kind("detail for the log")


KINDS = list(every(AuthError))


def test_every_error_of_the_tree_is_exported() -> None:
    assert {kind.__name__ for kind in KINDS} | {"ConfigurationError"} == set(errors.__all__)


@pytest.mark.parametrize("kind", KINDS)
def test_the_public_message_never_shows_the_detail_and_a_traceback_does(kind: type[AuthError]) -> None:
    error = sample(kind)
    shown = traceback.format_exception(error)
    assert ("detail" in str(error), "detail for the log" in "".join(shown)) == (False, True)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_pickling_and_copying(kind: type[AuthError]) -> None:
    error = sample(kind)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(twin), twin.detail, str(twin)) == (kind, error.detail, str(error))


def test_status_and_code_by_branch() -> None:
    table = {kind.__name__: (kind.status, kind.code, kind.reason) for kind in KINDS}
    assert table == {
        "AuthError": (401, "UNAUTHENTICATED", "UNAUTHENTICATED"),
        "InvalidRequest": (400, "BAD_REQUEST", "INVALID_REQUEST"),
        "Unauthenticated": (401, "UNAUTHENTICATED", "UNAUTHENTICATED"),
        "MissingCredential": (401, "UNAUTHENTICATED", "MISSING_CREDENTIAL"),
        "InvalidToken": (401, "UNAUTHENTICATED", "INVALID_TOKEN"),
        "MalformedToken": (401, "UNAUTHENTICATED", "INVALID_TOKEN"),
        "UnknownKey": (401, "UNAUTHENTICATED", "INVALID_TOKEN"),
        "BadSignature": (401, "UNAUTHENTICATED", "INVALID_TOKEN"),
        "ClaimRejected": (401, "UNAUTHENTICATED", "CLAIM_REJECTED"),
        "TokenExpired": (401, "UNAUTHENTICATED", "TOKEN_EXPIRED"),
        "TokenRevoked": (401, "UNAUTHENTICATED", "TOKEN_REVOKED"),
        "SessionExpired": (401, "UNAUTHENTICATED", "SESSION_EXPIRED"),
        "Forbidden": (403, "FORBIDDEN", "FORBIDDEN"),
        "InsufficientScope": (403, "FORBIDDEN", "INSUFFICIENT_SCOPE"),
        "CsrfRejected": (403, "FORBIDDEN", "CSRF_REJECTED"),
        "Unavailable": (503, "UNAVAILABLE", "UNAVAILABLE"),
        "KeysUnavailable": (503, "UNAVAILABLE", "KEYS_UNAVAILABLE"),
        "StoreUnavailable": (503, "UNAVAILABLE", "STORE_UNAVAILABLE"),
        "UserUnavailable": (503, "UNAVAILABLE", "USER_UNAVAILABLE"),
    }


def test_malformed_unknown_key_and_bad_signature_look_alike_from_outside() -> None:
    kinds = (errors.MalformedToken, errors.UnknownKey, errors.BadSignature)
    assert len({(str(kind("x")), tuple(kind("x").extensions.items())) for kind in kinds}) == 1


def test_a_configuration_error_is_a_value_error_and_no_auth_error() -> None:
    assert (issubclass(ConfigurationError, ValueError), issubclass(ConfigurationError, AuthError)) == (True, False)


def test_a_rejected_claim_tells_which_and_why() -> None:
    error = ClaimRejected("aud", "missing")
    assert (error.claim, error.why, error.detail) == ("aud", "missing", "claim 'aud': missing")
