"""`introspection="visible"`: what a caller may not see does not exist for them."""

from __future__ import annotations

from typing import Any

import graphql
import pytest
from graphql import build_client_schema, get_introspection_query, parse, print_schema, validate

from graphql_authkit import ANONYMOUS, AuthContext
from graphql_authkit.authenticator import serving
from graphql_authkit.authorization import policy
from graphql_authkit.graphql import execute_sync, protect, visible_to
from tests.authorization.parts import DIRECTIVES, known, schema_of

SDL = """
type Query {
  hello: String @public
  me: User
  nodes(kind: Kind): [Node]
  vault(input: VaultInput): Vault
  report: Report
  mixed: Mixed
}
type Mutation { erase: String @requiresScopes(scopes: [["erase"]]) }
type User { name: String, email: String @requiresScopes(scopes: [["email"]]) }
interface Node { id: String, seal: String @requiresScopes(scopes: [["seals"]]) }
type Open implements Node { id: String, seal: String }
type Closed implements Node @requiresScopes(scopes: [["closed"]]) { id: String, seal: String }
type Vault @requiresScopes(scopes: [["vault"]]) { gold: Metal }
type Metal { weight: Int }
type Report { text: String }
union Mixed = Open | Vault
enum Kind { A B }
input VaultInput { code: Int }
"""
ROOT = {"hello": "hi", "me": {"name": "Ann", "email": "a@x"}, "nodes": [{"type": "Open", "id": "1"}]}
ALL = known("erase", "email", "closed", "vault", "seals")


@pytest.fixture
def protected() -> Any:
    return protect(
        schema_of(SDL, ROOT)[0],
        introspection="visible",
        rules={"Query.report": policy("staff")},
        policies=lambda _auth, _names: (),
    )


def seen(protected: Any, auth: AuthContext) -> str:
    """The SDL that a client builds of what introspection tells it."""
    result = execute_sync(protected, parse(get_introspection_query()), auth=auth)
    assert result.errors is None
    schema = build_client_schema(result.data)  # type: ignore[arg-type]
    return print_schema(schema)


def test_who_holds_everything_sees_everything(protected: Any) -> None:
    assert seen(protected, ALL) == print_schema(graphql.build_schema(DIRECTIVES + SDL)).replace("@public", "@public")


def test_an_anonymous_caller_finds_the_public_fields(protected: Any) -> None:
    assert "type Query {\n  hello: String\n}" in seen(protected, ANONYMOUS)
    assert not any(name in seen(protected, ANONYMOUS) for name in ("User", "Node", "Kind", "VaultInput", "Mutation"))


def test_a_caller_finds_what_their_scopes_show(protected: Any) -> None:
    found = seen(protected, known("email"))
    assert "type User {\n  name: String\n  email: String\n}" in found
    assert "interface Node {\n  id: String\n}" in found
    assert "union Mixed = Open" in found
    assert "report: Report" in found, "policies are not known before an operation"
    assert not any(name in found for name in ("Vault", "Metal", "Closed", "seal", "erase", "Mutation"))


@pytest.mark.parametrize(
    ("hidden", "unknown"),
    [
        ("{ me { email } }", "{ me { emaix } }"),
        ("{ vault { gold { weight } } }", "{ vaulx { gold { weight } } }"),
        ("{ nodes { ... on Closed { id } } }", "{ nodes { ... on Closex { id } } }"),
        ("{ nodes { seal } }", "{ nodes { seax } }"),
        ("mutation { erase }", "mutation { erasx }"),
        ("query ($v: VaultInput) { hello }", "query ($v: VaultInpux) { hello }"),
    ],
)
def test_what_is_hidden_is_not_told_from_what_never_was(protected: Any, hidden: str, unknown: str) -> None:
    def answer(text: str) -> Any:
        result = execute_sync(protected, parse(text), auth=known())
        return result.data, [error.message for error in result.errors or ()]

    masked = str(answer(unknown)).replace("emaix", "email").replace("vaulx", "vault").replace("Closex", "Closed")
    masked = masked.replace("seax", "seal").replace("erasx", "erase").replace("VaultInpux", "VaultInput")
    assert str(answer(hidden)) == masked


def test_suggestions_name_nothing_hidden(protected: Any) -> None:
    errors = validate(visible_to(protected, known()), parse("{ me { emai } }"))
    assert [error.message for error in errors] == ["Cannot query field 'emai' on type 'User'."]
    errors = validate(visible_to(protected, known("email")), parse("{ me { emai } }"))
    assert [error.message for error in errors] == ["Cannot query field 'emai' on type 'User'. Did you mean 'email'?"]


@pytest.mark.parametrize("name", ["Vault", "Metal", "Closed", "Mutation", "VaultInput"])
def test_a_hidden_type_cannot_be_asked_for(protected: Any, name: str) -> None:
    text = f'{{ __type(name: "{name}") {{ name }} }}'
    assert execute_sync(protected, parse(text), auth=known()).data == {"__type": None}
    assert execute_sync(protected, parse(text), auth=ALL).data == {"__type": {"name": name}}


def test_behind_the_middleware_the_schema_is_so_for_whatever_executes_it(protected: Any) -> None:
    text = '{ __type(name: "User") { fields { name } } }'
    for auth, names in ((known(), ["name"]), (known("email"), ["name", "email"]), (ANONYMOUS, None)):
        with serving(auth):
            assert validate(protected, parse(text)) == []
            found: Any = graphql.execute_sync(protected, parse(text)).data
        fields = found["__type"] and [field["name"] for field in found["__type"]["fields"]]
        assert fields == names


def test_rules_hold_as_before(protected: Any) -> None:
    assert execute_sync(protected, parse("{ me { name email } }"), auth=known("email")).data == {"me": ROOT["me"]}
    denied = execute_sync(protected, parse("{ report { text } }"), auth=known())
    assert (denied.data, len(denied.errors or ())) == ({"report": None}, 1)
