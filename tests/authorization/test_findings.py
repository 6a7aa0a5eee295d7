"""What a close reading of `protect` found, each with its test."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

import graphql
import pytest
from graphql import build_schema, parse

from graphql_authkit import ANONYMOUS, ConfigurationError
from graphql_authkit.authenticator import serving, take_in_request
from graphql_authkit.authorization import PUBLIC, policy, requires, row_policy
from graphql_authkit.authorization.coverage import explain
from graphql_authkit.graphql import batched, execute_sync, freeze, protect
from graphql_authkit.graphql.protect import index_of
from tests.authorization.parts import codes, known, run, schema_of


def test_a_visible_schema_of_which_an_anonymous_caller_sees_nothing_still_serves_others() -> None:
    protected = protect(build_schema("type Query { me: String }"), introspection="visible")
    for auth, data in ((ANONYMOUS, None), (known(), {"me": "Ann"}), (ANONYMOUS, None), (known(), {"me": "Ann"})):
        with serving(auth):
            assert execute_sync(protected, parse("{ me }"), root_value={"me": "Ann"}, auth=auth).data == data
            assert (graphql.graphql_sync(protected, "{ me }", {"me": "Ann"}).data or None) == data


def test_an_invalid_schema_cannot_be_shown_in_parts() -> None:
    with pytest.raises(ConfigurationError, match="not valid"):
        protect(graphql.GraphQLSchema(), introspection="visible")


def test_a_mutation_with_a_refused_look_at_the_schema_below_its_root_does_not_run() -> None:
    schema, ran = schema_of(
        "type Query { q: Query } type Mutation { go: Payload } type Payload { q: Query }", {"go": {"q": {}}}
    )
    text = 'mutation { go { q { __type(name: "Payload") { name } } } }'
    result = run(protect(schema, introspection="none"), text, known())
    assert (result.data, ran) == ({"go": None}, [])


def test_a_document_that_asks_for_the_schema_only_later_is_refused() -> None:
    schema, _ = schema_of("type Query { hello: String @public }", {"hello": "hi"})
    protected = protect(schema, introspection="none")
    document = parse("{ hello }")
    assert graphql.execute_sync(protected, document, context_value=freeze(auth=known())).errors is None
    operation: Any = document.definitions[0]
    other: Any = parse("{ __schema { queryType { name } } }").definitions[0]
    object.__setattr__(operation, "selection_set", other.selection_set)  # nodes of graphql-core 3.3 are frozen
    result = graphql.execute_sync(protected, document, context_value=freeze(auth=known()))
    assert (result.data, [code for _, code in codes(result)]) == (None, ["FORBIDDEN"])


def test_an_applications_own_errors_are_never_left_out() -> None:
    def fail(_source: Any, _info: Any, /) -> Any:
        raise graphql.GraphQLError("mine", extensions={"coordinate": [1]})

    schema, _ = schema_of("type Query { rows: [Row] } type Row { bad: String }", {"rows": [{}] * 5})
    row: Any = schema.type_map["Row"]
    row.fields["bad"].resolve = fail
    result = execute_sync(protect(schema), parse("{ rows { bad } }"), auth=known())
    assert len(result.errors or ()) == 5


def test_refused_rows_of_a_visible_schema_are_said_once_too() -> None:
    sdl = "type Query { rows: [Both] } union Both = A | B type A { a: Int } type B { b: Int }"
    schema, _ = schema_of(sdl, {"rows": [{"type": "B"}] * 50})
    protected = protect(schema, rules={"B": requires("b")}, introspection="visible")
    result = execute_sync(protected, parse("{ rows { __typename } }"), auth=known())
    assert (result.data, len(result.errors or ())) == ({"rows": [None] * 50}, 1)


OWN = "type Query { x: X, y: Y } type X { boom: String!, u: U } type Y { u: U } type U { e: String }"


@pytest.mark.parametrize("wrap", [lambda decide: decide, batched], ids=["alone", "batched"])
def test_a_cancelled_sibling_does_not_cancel_who_waits_for_the_same_answer(wrap: Any) -> None:
    user = {"e": "E"}
    schema, _ = schema_of(OWN, {"x": {"boom": None, "u": user}, "y": {"u": user}}, is_async=True)

    async def own(_auth: Any, asked: Any, _arguments: Any = None) -> Any:
        await asyncio.sleep(0.01)
        return [True] * len(asked) if wrap is batched else True

    protected = protect(schema, rules={"U.e": row_policy("own")}, row_policies={"own": wrap(own)})
    result = run(protected, "{ x { u { e } boom } y { u { e } } }", known())
    assert result.data == {"x": None, "y": {"u": {"e": "E"}}}


def test_a_batched_policy_that_is_cancelled_keeps_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async def own(_auth: Any, _questions: Any) -> Any:
        raise asyncio.CancelledError

    schema, _ = schema_of(OWN, {"y": {"u": {"e": "E"}}}, is_async=True)
    protected = protect(schema, rules={"U.e": row_policy("own")}, row_policies={"own": batched(own)})
    with caplog.at_level(logging.ERROR):
        result = run(protected, "{ y { u { e again: e } } }", known())
    assert {code for _, code in codes(result)} == {"UNAVAILABLE"}
    assert [record.message for record in caplog.records] == ["a batched row policy failed"]


def test_silence_is_of_the_rule_that_fails() -> None:
    schema, _ = schema_of("type Query { me: User } type User { email: String }", {"me": {"email": "E"}})
    rules = {"User": requires("users").silent(), "User.email": row_policy("own")}
    protected = protect(schema, rules=rules, row_policies={"own": lambda *_: False})
    assert codes(run(protected, "{ me { email } }", known("users"))) == [(["me", "email"], "FORBIDDEN")]
    result = run(protected, "{ me { email } }", known())
    assert (result.data, result.errors) == ({"me": None}, None)


def test_a_field_resolver_of_ones_own_is_not_for_sources_of_events() -> None:
    async def ticks(_info: Any) -> Any:
        yield {"tick": 1}

    schema = build_schema("type Query { a: Int } type Subscription { tick: Int }")
    protected = protect(schema, field_resolver=lambda source, info, **_: source[info.field_name] + 1)

    class Root:
        tick = staticmethod(ticks)

    async def whole() -> list[Any]:
        stream: Any = graphql.subscribe(
            protected, parse("subscription { tick }"), root_value=Root(), context_value=freeze(auth=known())
        )
        stream = await stream if inspect.isawaitable(stream) else stream
        return [event.data async for event in stream]

    assert asyncio.run(whole()) == [{"tick": 2}]


def test_what_a_policy_cannot_mend_is_not_explained_by_it() -> None:
    protected = protect(
        build_schema("type Query { a: Int }"),
        rules={"Query.a": requires("x") & policy("p")},
        policies=lambda _auth, names: names,
    )
    assert "does not hold" in explain(index_of(protected), "Query.a", [])
    assert "holds if policies= says so" in explain(index_of(protected), "Query.a", ["x"])


@pytest.mark.parametrize(
    ("rule", "given"), [(requires, (None,)), (requires, (5,)), (requires, ("a", ["b"])), (policy, ()), (policy, ([],))]
)
def test_what_is_no_rule_is_refused(rule: Any, given: Any) -> None:
    with pytest.raises(ConfigurationError):
        rule(*given)


@pytest.mark.parametrize("coordinate", ["T", "I", "E", "S"])
def test_a_row_policy_holds_on_fields_alone(coordinate: str) -> None:
    sdl = "type Query { t: T, e: E, s: S } interface I { a: Int } type T implements I { a: Int } enum E { A } scalar S"
    with pytest.raises(ConfigurationError, match="row policy holds on fields"):
        protect(build_schema(sdl), rules={coordinate: row_policy("own")}, row_policies={"own": lambda *_: True})


def test_public_is_for_one_field() -> None:
    with pytest.raises(ConfigurationError, match="only a field"):
        protect(build_schema("type Query { a: Int }"), rules={"Query": PUBLIC})


def test_floods_of_refused_rows_are_located_a_hundred_times() -> None:
    sdl = "type Query { rows: [Both] } union Both = A | B type A { a: Int } type B { b: Int }"
    schema, _ = schema_of(sdl, {"rows": [{"type": "B"}] * 250})
    result = run(protect(schema, rules={"B": requires("b")}), "{ rows { __typename } }", known())
    located = [error for error in result.errors or () if error.locations]
    assert result.data == {"rows": [None] * 250}
    assert (len(located), len(result.errors or ())) == (100, 250)
    assert {code for _, code in codes(result)} == {"FORBIDDEN"}


def test_what_was_refused_for_its_number_takes_nothing_of_the_limit() -> None:
    with serving(known()):
        assert [take_in_request("login", count, 2) for count in (3, 1, 2, 1, 1)] == [False, True, False, True, False]
        assert take_in_request("logout", 1, 1)
    assert take_in_request("login", 2, 2), "outside any request"


def test_threads_of_one_request_that_ask_at_once_are_never_all_allowed() -> None:
    class Racing(list[tuple[str, int]]):
        def append(self, one: tuple[str, int]) -> None:
            super().append(one)  # ours, and that of another thread, which looked when we did
            super().append(one)

    request = serving(known())
    with request:
        request._taken = Racing()
        assert not take_in_request("login", 1, 1)
