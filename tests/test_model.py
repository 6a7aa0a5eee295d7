"""The data that walks the pipeline: frozen at every depth, copyable, and silent about secrets."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from graphql_authkit import ANONYMOUS, Authenticator
from graphql_authkit._frozen import FrozenDict, freeze_json
from graphql_authkit.model import AuthContext, AuthenticatedContext, Credential
from tests.support import local_issuer

ISSUER = local_issuer()
TOKEN = ISSUER.token("alice", scopes=["read"], claims={"realm": {"roles": ["a", {"b": 1}]}})
AUTH = Authenticator(ISSUER.verifier()).authenticate_token(TOKEN)

ATTRIBUTES = ["subject", "issuer", "client_id", "session_id", "token_id", "scopes", "claims", "user", "expires_at"]


@pytest.mark.parametrize("context", [AUTH, ANONYMOUS])
@pytest.mark.parametrize("name", [*ATTRIBUTES, "is_authenticated", "_token", "anything"])
def test_no_attribute_can_be_set_or_deleted(context: AuthContext, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(context, name, "mallory")
    with pytest.raises(AttributeError):
        delattr(context, name)


def test_a_context_has_no_dict_to_write_into() -> None:
    assert (hasattr(AUTH, "__dict__"), hasattr(ANONYMOUS, "__dict__")) == (False, False)


@pytest.mark.parametrize(
    "change",
    [
        lambda claims: claims.__setitem__("sub", "mallory"),
        lambda claims: claims.update(sub="mallory"),
        lambda claims: claims.pop("sub"),
        lambda claims: claims.popitem(),
        lambda claims: claims.clear(),
        lambda claims: claims.setdefault("admin", True),
        lambda claims: claims.__delitem__("sub"),
        lambda claims: claims.__ior__({"sub": "mallory"}),
        lambda claims: claims["realm"].__setitem__("roles", ["admin"]),
        lambda claims: claims["realm"]["roles"].append("admin"),
        lambda claims: claims["realm"]["roles"][1].__setitem__("b", 2),
    ],
)
def test_claims_cannot_be_changed_at_any_depth(change: Any) -> None:
    with pytest.raises((TypeError, AttributeError)):
        change(AUTH.claims)
    assert (AUTH.claims["sub"], AUTH.claims["realm"]) == ("alice", {"roles": ("a", {"b": 1})})


def test_claims_are_frozen_once_and_still_json() -> None:
    assert AUTH.claims is AUTH.claims
    assert json.loads(json.dumps(AUTH.claims))["realm"] == {"roles": ["a", {"b": 1}]}


def test_copies_of_a_context_are_the_context() -> None:
    assert all(twin is AUTH for twin in (copy.copy(AUTH), copy.deepcopy(AUTH)))
    assert all(twin is ANONYMOUS for twin in (copy.copy(ANONYMOUS), copy.deepcopy(ANONYMOUS)))


def test_a_context_survives_pickling() -> None:
    twin = pickle.loads(pickle.dumps(AUTH))
    assert (twin.subject, twin.claims, twin.scopes) == (AUTH.subject, AUTH.claims, AUTH.scopes)
    assert pickle.loads(pickle.dumps(ANONYMOUS)).is_authenticated is False


def test_an_anonymous_context_says_nothing() -> None:
    values = {name: getattr(ANONYMOUS, name) for name in ATTRIBUTES}
    assert values == {**dict.fromkeys(ATTRIBUTES), "scopes": frozenset(), "claims": {}}


def test_a_known_caller_is_an_authenticated_context() -> None:
    assert isinstance(AUTH, AuthenticatedContext)
    assert not isinstance(ANONYMOUS, AuthenticatedContext)
    assert (AUTH.is_authenticated, ANONYMOUS.is_authenticated) == (True, False)


@pytest.mark.parametrize("thing", [AUTH, Credential(TOKEN), ISSUER.verifier().verify(TOKEN)])
def test_no_repr_shows_the_token(thing: object) -> None:
    assert not any(part in repr(thing) for part in TOKEN.split("."))


def test_freezing_json_keeps_its_value() -> None:
    value = {"a": [1, {"b": [None, True]}], "c": "x"}
    frozen = freeze_json(value)
    assert frozen == {"a": (1, {"b": (None, True)}), "c": "x"}
    assert isinstance(frozen, FrozenDict)


def test_frozen_claims_survive_copying_and_pickling() -> None:
    claims = AUTH.claims
    assert copy.copy(claims) is claims
    assert copy.deepcopy(claims) is claims
    assert pickle.loads(pickle.dumps(claims)) == claims


def test_building_a_frozen_thing_again_changes_nothing() -> None:
    claims = AUTH.claims
    FrozenDict.__init__(claims, sub="mallory")  # type: ignore[arg-type]
    assert claims["sub"] == "alice"
    other = Authenticator(ISSUER.verifier()).authenticate_token(ISSUER.token("mallory"))
    AuthenticatedContext.__init__(AUTH, other)  # type: ignore[call-arg]
    assert AUTH.subject == "alice"


def test_the_anonymous_context_cannot_become_another_and_is_pickled_by_name() -> None:
    class Known(AuthContext):
        __slots__ = ()
        is_authenticated = True

    with pytest.raises(AttributeError):
        ANONYMOUS.__class__ = Known
    assert ANONYMOUS.is_authenticated is False
    assert pickle.loads(pickle.dumps(ANONYMOUS)) is ANONYMOUS
