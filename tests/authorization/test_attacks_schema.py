"""Shapes of schemas meant to walk past `protect`: roots below roots, types found in odd ways, @defer."""

from __future__ import annotations

import asyncio
import enum
from typing import Any

import pytest
from graphql import extend_schema, parse

from graphql_authkit import ANONYMOUS
from graphql_authkit.graphql import protect
from tests.authorization.parts import codes, known, schema_of
from tests.authorization.test_attacks import ask, whole

NESTED = """
interface Node { id: ID }
type Query implements Node {
  id: ID @public
  query: Query @public
  node: Node @public
  hello: String @public
  me: User
  secret: String @requiresScopes(scopes: [["secret"]])
  search(source: String, info: String, self: String): String @public
}
type Mutation { login: Login @public }
type Login { token: String, query: Query }
type User { email: String @requiresScopes(scopes: [["email"]]) }
"""


@pytest.fixture
def nested() -> Any:
    root: dict[str, Any] = {"hello": "hello", "me": {"email": "E"}, "secret": "SECRET", "search": "found", "id": "q"}
    root["query"] = root
    root["node"] = {**root, "type": "Query"}
    root["login"] = {"token": "t", "query": root}
    return schema_of(NESTED, root)


@pytest.mark.parametrize("auth", [ANONYMOUS, known()])
@pytest.mark.parametrize(
    "text",
    [
        "{ query { secret } }",
        "{ query { hello: secret } }",
        "{ query { query { ... { ...F } } } } fragment F on Query { secret }",
        "{ node { ... on Query { secret } } }",
        "mutation { login { query { secret } } }",
    ],
)
def test_a_root_type_below_a_root_keeps_its_rules(nested: Any, text: str, auth: Any) -> None:
    schema, ran = nested
    result = ask(protect(schema), text, auth)
    assert [code for _, code in codes(result)] == ["FORBIDDEN" if auth.is_authenticated else "UNAUTHENTICATED"]
    assert "Query.secret" not in ran


def test_a_root_type_below_a_root_is_for_known_callers_by_default(nested: Any) -> None:
    schema, ran = nested
    ask(protect(schema), "{ query { me { email } } }")
    assert "Query.me" not in ran


def test_a_key_below_a_root_is_not_taken_for_a_root_field(nested: Any) -> None:
    result = ask(protect(nested[0]), "{ a: secret query { a: hello } }", known())
    assert result.data == {"a": None, "query": {"a": "hello"}}


@pytest.mark.parametrize("auth", [ANONYMOUS, known()])
@pytest.mark.parametrize("field", ['__type(name: "User") { name }', "__schema { queryType { name } }"])
@pytest.mark.parametrize(
    "text", ["{ query { %s } }", "{ node { ... on Query { %s } } }", "{ query { ...F } } fragment F on Query { %s }"]
)
def test_the_schema_is_hidden_below_a_root_too(nested: Any, text: str, field: str, auth: Any) -> None:
    result = ask(protect(nested[0], introspection="none"), text % field, auth)
    assert result.errors
    assert "'name'" not in str(result.data)


def test_limits_count_fields_of_a_root_below_a_root(nested: Any) -> None:
    schema, ran = nested
    result = ask(protect(schema, limits={"Query.hello": 1}), "{ a: query { hello } b: query { c: hello d: hello } }")
    assert result.errors
    assert ran.count("Query.hello") <= 1


@pytest.mark.parametrize("name", ["source", "info", "self"])
def test_an_argument_may_have_any_name(nested: Any, name: str) -> None:
    result = ask(protect(nested[0]), f'{{ search({name}: "a") }}')
    assert (result.data, result.errors) == ({"search": "found"}, None)


def test_what_is_added_to_a_protected_schema_leads_to_nothing_guarded(nested: Any) -> None:
    extended = extend_schema(protect(nested[0]), parse("extend type Query { added: User @public }"))
    query: Any = extended.query_type
    query.fields["added"].resolve = lambda *_arguments: {"email": "E"}
    assert "'E'" not in str(ask(extended, "{ added { email } }", known()).data)


def test_what_is_refused_as_a_whole_is_refused_below_a_field_that_was_added_too(nested: Any) -> None:
    schema, _ = nested
    extended = extend_schema(protect(schema, limits={"Query.hello": 1}), parse("extend type Query { added: User }"))
    query: Any = extended.query_type
    query.fields["added"].resolve = lambda *_arguments: {"email": "E"}
    text = "{ added { email } a: hello b: hello }"
    assert "'E'" not in str(ask(extended, text, known("email")).data)


def test_a_type_that_is_not_visible_is_not_named_by_an_error() -> None:
    sdl = """
    interface Node { id: ID }
    type Query { nodes: [Node] @public }
    type Open implements Node { id: ID }
    type Hidden implements Node @requiresScopes(scopes: [["hidden"]]) { id: ID }
    """
    schema, _ = schema_of(sdl, {"nodes": [{"type": "Hidden", "id": "1"}]})
    result = ask(protect(schema, introspection="visible"), "{ nodes { id } }")
    assert result.data == {"nodes": [None]}
    assert "Hidden" not in str([error.formatted for error in result.errors or ()])


# --------------------------------------------------------------------------------------- abstract types


ABSTRACT = """
interface Base { id: ID }
interface Node implements Base @requiresScopes(scopes: [["node"]]) { id: ID }
type Query { bases: [Base], things: [Thing] }
type Open implements Base { id: ID, code: String }
type Closed implements Node & Base { id: ID, code: String }
union Thing = Open | Closed
"""


class Kind(enum.StrEnum):
    OPEN = "Open"
    CLOSED = "Closed"


class Named(str):
    name = "Open"


def later(found: Any) -> Any:
    async def wait() -> Any:
        await asyncio.sleep(0)
        return found

    return wait()


WAYS: dict[str, Any] = {
    "name": lambda value, _info, _type: value["kind"],
    "awaitable": lambda value, _info, _type: later(value["kind"]),
    "enum": lambda value, _info, _type: Kind(value["kind"]),
    "awaitable enum": lambda value, _info, _type: later(Kind(value["kind"])),
    "text with a name": lambda value, _info, _type: Named(value["kind"]),
    "default": None,
}


@pytest.mark.parametrize("way", [*WAYS, "is_type_of", "awaitable is_type_of"])
@pytest.mark.parametrize("field", ["bases", "things"])
def test_a_row_of_a_guarded_type_is_null_however_its_type_is_found(way: str, field: str) -> None:
    rows = [{"kind": kind, "__typename": Kind(kind), "id": kind, "code": kind} for kind in ("Open", "Closed")]
    schema, ran = schema_of(ABSTRACT, {"bases": rows, "things": rows})
    for name in ("Base", "Node", "Thing"):
        named: Any = schema.type_map[name]
        named.resolve_type = WAYS.get(way)
    if "is_type_of" in way:
        for row in rows:
            del row["__typename"]
        for name in ("Open", "Closed"):
            named = schema.type_map[name]
            named.is_type_of = lambda value, _info, name=name: (
                later(value["kind"] == name) if "awaitable" in way else value["kind"] == name
            )
    text = f"{{ {field} {{ __typename ... on Open {{ code }} ... on Closed {{ code }} }} }}"
    result = whole(protect(schema), text, known())
    assert result.data == {field: [{"__typename": "Open", "code": "Open"}, None]}
    assert (codes(result), "Closed.code" in ran) == ([([field, 1], "FORBIDDEN")], False)


@pytest.mark.parametrize("answer", [None, "Nothing", "Query", 1, [], {}])
def test_a_type_that_is_nonsense_is_an_error_of_the_field(answer: Any) -> None:
    schema, ran = schema_of(ABSTRACT, {"bases": [{"id": "1", "code": "CODE"}]})
    base: Any = schema.type_map["Base"]
    base.resolve_type = lambda *_arguments: answer
    result = ask(protect(schema), "{ bases { id } }", known())
    assert (result.data, len(result.errors or ()), ran) == ({"bases": [None]}, 1, ["Query.bases"])


def test_a_schema_with_many_types_of_one_interface_answers_honest_documents() -> None:
    types = "\n".join(
        f'type T{i} implements Node {{ id: ID, next: Node, code: String @requiresScopes(scopes: [["code"]]) }}'
        for i in range(60)
    )
    schema, _ = schema_of(
        f"type Query {{ nodes: [Node] }} interface Node {{ id: ID, next: Node }} {types}", {"nodes": []}
    )
    fields = " ".join(f"f{i}: id" for i in range(15))
    for text in (
        f"{{ nodes {{ {fields} next {{ {fields} }} }} }}",
        "{ nodes { next { next { next { next { id } } } } } }",
    ):
        result = ask(protect(schema), text, known())
        assert (result.data, result.errors) == ({"nodes": []}, None)
