"""What graphql-core 3.3 alone can: increments, and arguments of fragments. With 3.2 these are not collected."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import graphql
import pytest
from graphql import parse, validate

from graphql_authkit import ANONYMOUS
from graphql_authkit.graphql import freeze, protect
from tests.authorization import matrix_table as table
from tests.authorization.matrix_running import Request, execute
from tests.authorization.parts import known, schema_of
from tests.authorization.test_attacks import ask

DEFERRING = """
directive @defer(if: Boolean! = true, label: String) on FRAGMENT_SPREAD | INLINE_FRAGMENT
directive @stream(if: Boolean! = true, label: String, initialCount: Int = 0) on FIELD
"""
PEOPLE = """
type Query { hello: String @public, me: User, users: [User] }
type Mutation { rename: User }
type User {
  name: String
  email: String @requiresScopes(scopes: [["email"]])
  must: String! @requiresScopes(scopes: [["must"]])
}
"""


@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("auth", [ANONYMOUS, known()])
@pytest.mark.parametrize(
    "text",
    [
        "{ hello me { name ... @defer { email } } }",
        "{ hello ... @defer { me { email must } } }",
        "{ users @stream(initialCount: 1) { email } }",
        "{ ...F @defer ...F } fragment F on Query { me { email } }",
        "{ me { ... @defer { ... @defer { must } } } }",
        "mutation { rename { name ... @defer { email } } }",
    ],
)
def test_what_is_deferred_or_streamed_keeps_its_rules(text: str, auth: Any, is_early: bool) -> None:
    user = {"name": "Ann", "email": "EMAIL", "must": "MUST"}
    schema, ran = schema_of(DEFERRING + PEOPLE, {"hello": "h", "me": user, "users": [user, user], "rename": user})
    protected = protect(schema)

    async def increments() -> str:
        execute: Any = getattr(graphql, "experimental_execute_incrementally")  # noqa: B009
        found = execute(protected, parse(text), context_value=freeze(auth=auth), enable_early_execution=is_early)
        found = await found if inspect.isawaitable(found) else found
        if not hasattr(found, "initial_result"):
            return str(found.formatted)
        return str([found.initial_result.formatted, *[one.formatted async for one in found.subsequent_results]])

    shown = asyncio.run(increments())
    assert "EMAIL" not in shown
    assert "MUST" not in shown
    assert not {"User.email", "User.must", "Mutation.rename"} & set(ran)


@pytest.mark.parametrize(
    "text",
    [
        "{ ...F(x: true) } fragment F($x: Boolean! = false) on Query { me { email @include(if: $x) } }",
        "query ($y: Boolean = true) { ...F(x: $y) } fragment F($x: Boolean) on Query { me { email @include(if: $x) } }",
        "query ($x: Boolean = true) { ...F(x: false) } fragment F($x: Boolean) on Query { me { email @skip(if: $x) } }",
        "{ ...F(x: true, x: false) } fragment F($x: Boolean!) on Query { me { email @skip(if: $x) } }",
        "{ ...F(x: $unknown) } fragment F($x: Boolean = true) on Query { me { email @include(if: $x) } }",
        "{ ...F(x: false) ...F(x: true) } fragment F($x: Boolean!) on Query { me { name email @include(if: $x) } }",
    ],
)
def test_arguments_of_fragments_hide_nothing(text: str) -> None:
    schema, ran = schema_of(PEOPLE, {"me": {"name": "Ann", "email": "EMAIL"}})
    options: Any = {"experimental_fragment_arguments": True}
    ask(protect(schema), parse(text, **options), known())
    assert "User.email" not in ran


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("is_on", [False, True])
@pytest.mark.parametrize(
    "fragment",
    [
        "($it: Boolean!) on Tight { id secret @include(if: $it) }",
        "($it: Boolean! = true) on Tight { id ... @include(if: $it) { secret } }",
        "($it: Boolean!) on Tight { id ...G(not: $it) }"
        " fragment G($not: Boolean!) on Tight { ...H(off: true, on: $not) }"
        " fragment H($off: Boolean!, $on: Boolean!) on Tight { __typename @skip(if: $off) secret @include(if: $on) }",
        # The operation has a variable of this name too; here it is the fragment's that counts.
        "($yes: Boolean!) on Tight { id secret @include(if: $yes) }",
    ],
)
def test_a_fragment_holds_what_its_variables_say_at_each_spread(fragment: str, is_on: bool, is_async: bool) -> None:
    argument = "yes" if "$yes" in fragment else "it"
    text = (
        f"query ($yes: Boolean!) {{ a: depth1 {{ ...F({argument}: $yes) }} b: depth1 {{ ...F({argument}: false) }}"
        f" c: depth2 {{ below {{ ...F({argument}: true) }} }} }} fragment F{fragment}"
    )
    document = parse(text, experimental_fragment_arguments=True)
    schema, protected, stage = table.stage_of("object field", "rules")
    assert validate(schema, document) == []
    request = Request(document, frozenset(), table.DATA, variables={"yes": is_on})
    result = execute(protected, stage, request, is_async=is_async)
    assert result.data == {"a": None if is_on else {"id": "id"}, "b": {"id": "id"}, "c": None}
    assert [error.path for error in result.errors or ()] == ([["a"], ["c"]] if is_on else [["c"]])
    assert all(not coordinate.endswith(".secret") for coordinate, _ in stage.ran)
    request = Request(document, frozenset({table.SCOPE}), table.DATA, variables={"yes": is_on})
    result = execute(protected, stage, request, is_async=is_async)
    with_it, without = {"id": "id", "secret": table.SECRET}, {"id": "id"}
    assert (result.data, result.errors) == (
        {"a": with_it if is_on else without, "b": without, "c": {"below": with_it}},
        None,
    )
