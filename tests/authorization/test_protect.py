"""`protect` on plain graphql-core: what a caller gets of each kind of operation, and which resolvers ran for it."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import graphql
import pytest
from graphql import parse

from graphql_authkit import ANONYMOUS, ConfigurationError
from graphql_authkit.authorization import PUBLIC, policy, requires, row_policy
from graphql_authkit.graphql import batched, execute_sync, freeze, protect
from tests.authorization.parts import codes, known, run, schema_of

SDL = """
type Query {
  hello: String @public
  me: User
  users: [User]
  strict: [Strict!]
  nodes: [Node]
  things: [Thing]
  required: String!
}
type Mutation {
  login: String @public
  rename: User
  erase: String @requiresScopes(scopes: [["erase"]])
}
type Subscription {
  ticks: Int
  alarms: Int @requiresScopes(scopes: [["alarms"]])
  secrets: Strict
}
type User { name: String, email: String @requiresScopes(scopes: [["email"], ["admin"]]) }
type Strict { id: String, secret: String! @requiresScopes(scopes: [["secret"]]) }
interface Node { id: String }
type Open implements Node { id: String }
type Closed implements Node @requiresScopes(scopes: [["closed"]]) { id: String, code: String }
union Thing = Open | Strict
"""
ROOT = {
    "hello": "hello",
    "me": {"name": "Ann", "email": "ann@example.com"},
    "users": [{"name": "Ann", "email": "a@x"}, {"name": "Bob", "email": "b@x"}],
    "strict": [{"id": "1", "secret": "s"}],
    "nodes": [{"type": "Open", "id": "1"}, {"type": "Closed", "id": "2"}, {"type": "Open", "id": "3"}],
    "things": [{"type": "Open", "id": "1"}, {"type": "Strict", "id": "2", "secret": "s"}],
    "required": "here",
    "login": "token",
    "rename": {"name": "Cleo", "email": "c@x"},
    "erase": "done",
    "ticks": [1, 2],
    "alarms": [1],
    "secrets": [{"id": "1", "secret": "s"}],
}


@pytest.fixture(params=["sync", "asyncio"])
def app(request: pytest.FixtureRequest) -> Any:
    return schema_of(SDL, ROOT, is_async=request.param == "asyncio")


def test_a_field_whose_scope_is_lacking_is_null_with_its_path_and_does_not_run(app: Any) -> None:
    schema, ran = app
    result = run(protect(schema), "{ me { name mail: email } }", known())
    assert result.data == {"me": {"name": "Ann", "mail": None}}
    assert codes(result) == [(["me", "mail"], "FORBIDDEN")]
    assert ran == ["Query.me", "User.name"]


@pytest.mark.parametrize("scope", ["email", "admin"])
def test_one_of_several_groups_is_enough(app: Any, scope: str) -> None:
    result = run(protect(app[0]), "{ me { email } }", known(scope))
    assert (result.data, result.errors) == ({"me": {"email": "ann@example.com"}}, None)


def test_a_list_of_rows_has_one_error(app: Any) -> None:
    result = run(protect(app[0]), "{ users { name email } }", known())
    assert result.data == {"users": [{"name": "Ann", "email": None}, {"name": "Bob", "email": None}]}
    assert codes(result) == [(["users", 0, "email"], "FORBIDDEN")]


def test_what_would_be_null_for_what_lies_below_it_is_not_resolved(app: Any) -> None:
    schema, ran = app
    result = run(protect(schema), "{ strict { id secret } me { name } }", known())
    assert result.data == {"strict": None, "me": {"name": "Ann"}}
    assert codes(result) == [(["strict"], "FORBIDDEN")]
    assert sorted(ran) == ["Query.me", "User.name"]


def test_without_the_part_that_is_refused_the_rest_is_there(app: Any) -> None:
    result = run(protect(app[0]), "{ strict { id } }", known())
    assert (result.data, result.errors) == ({"strict": [{"id": "1"}]}, None)


def test_rows_of_a_guarded_type_are_null_and_hide_their_typename(app: Any) -> None:
    result = run(protect(app[0]), "{ nodes { __typename id } }", known())
    assert result.data == {"nodes": [{"__typename": "Open", "id": "1"}, None, {"__typename": "Open", "id": "3"}]}
    assert codes(result) == [(["nodes", 1], "FORBIDDEN")]


def test_a_row_that_would_be_null_for_what_it_selects_resolves_nothing(app: Any) -> None:
    schema, ran = app
    text = "{ things { ... on Open { id } ... on Strict { id secret } } }"
    result = run(protect(schema), text, known())
    assert result.data == {"things": [{"id": "1"}, None]}
    assert codes(result) == [(["things", 1], "FORBIDDEN")]
    assert ran == ["Query.things", "Open.id"]


def test_a_mutation_of_which_anything_is_refused_runs_nothing(app: Any) -> None:
    schema, ran = app
    result = run(protect(schema), "mutation { rename { name email } erase }", known("erase"))
    assert result.data == {"rename": None, "erase": None}
    assert codes(result) == [(["rename"], "FORBIDDEN")]
    assert ran == []


def test_a_mutation_that_is_allowed_runs(app: Any) -> None:
    result = run(protect(app[0]), "mutation { rename { name } erase }", known("erase"))
    assert (result.data, result.errors) == ({"rename": {"name": "Cleo"}, "erase": "done"}, None)


def test_data_that_would_be_null_as_a_whole_runs_nothing(app: Any) -> None:
    schema, ran = app
    protected = protect(schema, rules={"Query.required": requires("more")})
    result = run(protected, "{ me { name } required }", known())
    assert result.data is None
    assert codes(result) == [(["required"], "FORBIDDEN")]
    assert ran == []


def test_an_anonymous_caller_runs_public_operations_alone(app: Any) -> None:
    schema, ran = app
    protected = protect(schema)
    assert run(protected, "{ hello }").data == {"hello": "hello"}
    result = run(protected, "{ hello me { name } }")
    assert result.data == {"hello": None, "me": None}
    assert codes(result) == [(["me"], "UNAUTHENTICATED")]
    assert ran == ["Query.hello"]


@pytest.mark.parametrize(
    "text",
    [
        "query login { me { name } }",
        "mutation login { rename { name } }",
        "mutation login { login rename { name } }",
        "mutation login { login: rename { name } }",
        "mutation login { ...F } fragment F on Mutation { login ... { rename { name } } }",
        "mutation login { rename { name } } query other { hello }",
    ],
)
def test_the_name_of_an_operation_opens_nothing(app: Any, text: str) -> None:
    schema, ran = app
    result = run(protect(schema), text, name="login")
    assert [code for _, code in codes(result)] == ["UNAUTHENTICATED"]
    assert ran == []


def test_another_operation_of_the_document_is_not_decided_on(app: Any) -> None:
    text = "query one { hello } query two { me { email } }"
    assert run(protect(app[0]), text, name="one").errors is None


@pytest.mark.parametrize("variables", [{}, {"no": False}, {"no": True}])
def test_what_is_skipped_is_not_refused(app: Any, variables: dict[str, Any]) -> None:
    protected = protect(app[0])
    text = "query ($no: Boolean = false) { strict { id ... @include(if: $no) { secret } } me { name @skip(if: $no) } }"
    for _ in range(2):
        result = run(protected, text, known(), variables=variables)
        assert codes(result) == ([(["strict"], "FORBIDDEN")] if variables.get("no") else [])


def test_one_document_serves_callers_of_different_scopes(app: Any) -> None:
    protected = protect(app[0])
    document = parse("{ me { email } }")

    async def ask(*scopes: str) -> Any:
        result: Any = graphql.execute(protected, document, context_value=freeze(auth=known(*scopes)))
        result = await result if inspect.isawaitable(result) else result
        return result.data["me"]["email"]

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(ask(*scopes) for scopes in [(), ("email",), (), ("admin",), ()]))

    assert asyncio.run(all_of_them()) == [None, "ann@example.com", None, "ann@example.com", None]


# ---------------------------------------------------------------------------------------- subscriptions


def events(protected: Any, text: str, auth: Any) -> tuple[list[Any], Any]:
    async def whole() -> tuple[list[Any], Any]:
        stream: Any = graphql.subscribe(protected, parse(text), context_value=freeze(auth=auth))
        stream = await stream if inspect.isawaitable(stream) else stream
        if isinstance(stream, graphql.ExecutionResult):
            return [], stream
        return [event async for event in stream], None

    return asyncio.run(whole())


@pytest.mark.parametrize("text", ["subscription { alarms }", "subscription { secrets { secret } }"])
def test_a_subscription_that_is_refused_starts_no_source(text: str) -> None:
    schema, ran = schema_of(SDL, ROOT)
    found, failure = events(protect(schema), text, known())
    assert (found, codes(failure)[0][1], ran) == ([], "FORBIDDEN", [])


def test_a_subscription_that_is_allowed_goes_on() -> None:
    found, failure = events(protect(schema_of(SDL, ROOT)[0]), "subscription { ticks }", known())
    assert ([event.data for event in found], failure) == ([{"ticks": 1}, {"ticks": 2}], None)


# ---------------------------------------------------------------------------------------------- options


def test_reject_refuses_a_query_of_which_anything_is_refused(app: Any) -> None:
    schema, ran = app
    result = run(protect(schema, mode="reject"), "{ hello me { email } }", known())
    assert (result.data, codes(result), ran) == ({"hello": None, "me": None}, [(["me"], "FORBIDDEN")], [])


def test_dry_run_refuses_nothing_and_tells(app: Any) -> None:
    told: list[Any] = []
    result = run(protect(app[0], mode="dry_run", on_event=told.append), "{ me { email } }", known())
    assert (result.data, result.errors) == ({"me": {"email": "ann@example.com"}}, None)
    assert [(event.subject, event.coordinates, event.mode) for event in told] == [("alice", ("User.email",), "dry_run")]


def test_silence_is_null_without_an_error(app: Any) -> None:
    protected = protect(app[0], rules={"User.name": requires("name").silent()})
    result = run(protected, "{ users { name } }", known())
    assert (result.data, result.errors) == ({"users": [{"name": None}, {"name": None}]}, None)


@pytest.mark.parametrize("is_async", [False, True])
def test_policies_are_asked_once_for_all_that_an_operation_mentions(is_async: bool) -> None:
    asked: list[tuple[str | None, frozenset[str]]] = []

    def decide(auth: Any, names: frozenset[str]) -> Any:
        asked.append((auth.subject, names))

        async def later() -> list[str]:
            await asyncio.sleep(0)
            return ["staff", "other"]

        return later() if is_async else ["staff", "other"]

    rules = {"User.name": policy("staff"), "User.email": policy("boss"), "Query.required": policy("other")}
    protected = protect(schema_of(SDL, ROOT)[0], rules=rules, policies=decide)
    result = run(protected, "{ hello a: me { name email } users { name } }", known("email"))
    assert result.data == {
        "hello": "hello",
        "a": {"name": "Ann", "email": None},
        "users": [{"name": "Ann"}, {"name": "Bob"}],
    }
    assert asked == [("alice", frozenset({"staff", "boss"}))]


def test_an_asynchronous_policy_without_a_loop_is_a_configuration_error() -> None:
    async def decide(_auth: Any, names: frozenset[str]) -> frozenset[str]:
        return names

    protected = protect(schema_of(SDL, ROOT)[0], rules={"User.name": policy("staff")}, policies=decide)
    result = graphql.execute_sync(protected, parse("{ me { name } }"), context_value=freeze(auth=known()))
    assert result.data == {"me": None}
    assert isinstance((result.errors or [])[0].original_error, ConfigurationError)


def test_policies_that_fail_are_503_and_nothing_runs(app: Any) -> None:
    schema, ran = app

    def decide(_auth: Any, _names: Any) -> Any:
        raise OSError("down")

    protected = protect(schema, rules={"User.name": policy("staff")}, policies=decide)
    result = run(protected, "{ hello me { name } }", known())
    assert (result.data, [code for _, code in codes(result)], ran) == ({"hello": None, "me": None}, ["UNAVAILABLE"], [])


@pytest.mark.parametrize("is_async", [False, True])
def test_a_row_policy_is_asked_for_each_object_once(is_async: bool) -> None:
    asked: list[str] = []

    def is_own(_auth: Any, user: Any, _arguments: Any) -> Any:
        asked.append(user["name"])

        async def later() -> bool:
            return bool(user["name"] == "Ann")

        return later() if is_async else user["name"] == "Ann"

    rules = {"User.email": row_policy("own")}
    protected = protect(
        schema_of(SDL.replace('@requiresScopes(scopes: [["email"], ["admin"]])', ""), ROOT)[0],
        rules=rules,
        row_policies={"own": is_own},
    )
    result = run(protected, "{ users { email again: email } }", known())
    assert result.data == {"users": [{"email": "a@x", "again": "a@x"}, {"email": None, "again": None}]}
    assert codes(result) == [(["users", 1, "email"], "FORBIDDEN"), (["users", 1, "again"], "FORBIDDEN")]
    assert sorted(asked) == ["Ann", "Bob"]


@pytest.mark.parametrize(
    ("introspection", "auth", "is_allowed"),
    [
        ("all", ANONYMOUS, True),
        ("authenticated", ANONYMOUS, False),
        ("authenticated", known(), True),
        ("none", known(), False),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        "query IntrospectionQuery { __schema { types { name } } }",
        '{ x: __type(name: "User") { name } }',
        "{ ...F } fragment F on Query { ... { __schema { queryType { name } } } }",
    ],
)
def test_the_schema_is_shown_to_whom_it_may_be(introspection: Any, auth: Any, is_allowed: bool, text: str) -> None:
    schema, _ = schema_of(SDL, ROOT)
    result = run(protect(schema, introspection=introspection), text, auth)
    assert (result.errors is None) == is_allowed
    assert is_allowed or not any((result.data or {}).values())
    assert run(schema, text).errors is None, "the schema that was given is as it was"


def test_limits_count_aliases(app: Any) -> None:
    schema, ran = app
    protected = protect(schema, limits={"Mutation.login": 2})
    assert run(protected, "mutation { a: login b: login }").data == {"a": "token", "b": "token"}
    ran.clear()
    result = run(protected, "mutation { a: login b: login ...F } fragment F on Mutation { c: login }")
    assert (result.data, ran) == ({"a": None, "b": None, "c": None}, [])
    assert (result.errors or [])[0].extensions == {"code": "BAD_REQUEST", "reason": "TOO_MANY"}


# --------------------------------------------------------------------------------------------- building


@pytest.mark.parametrize(
    ("sdl", "options", "text"),
    [
        ("type Query { a: Int }", {"default": "deny"}, "Query.a"),
        ("type Query { a: Int @requiresScopes(scopes: []) }", {}, "empty"),
        ("type Query { a: Int @requiresScopes(scopes: [[]]) }", {}, "empty"),
        ("type Query { a: Int @policy(policies: [[\"p\"]]) }", {}, "policies"),
        ("type Query { a: Int @rowPolicy(policies: [[\"p\"]]) }", {}, "row policies"),
        ("type Query { a: U } type T { a: Int } union U @authenticated = T", {}, "cannot hold on the union U"),
        ("type Query { a: Int @public @authenticated }", {}, "which"),
        ("type Query { a: T @public } type T @authenticated { a: Int }", {}, "yet guarded"),
        ("type Query @public { a: Int }", {}, "only a field"),
        ("type Query { a: Int! @authenticated(silent: true) }", {}, "silent"),
        ("type Query { a: Int }", {"rules": {"Query.b": PUBLIC}}, "no such"),
        ("type Query { a: Int }", {"rules": {"Query.a": "read"}}, "no Rule"),
        ("type Query { a: Int }", {"limits": {"User.a": 1}}, "limits"),
        ("type Query { a: Int }", {"mode": "fliter"}, "mode"),
        ("type Query { a: Int }", {"directives": {"auth": "authentic"}}, "authentic"),
        ("directive @Authenticated on FIELD_DEFINITION type Query { a: Int @Authenticated }", {}, "looks like"),
        ("directive @requiresScope on FIELD_DEFINITION type Query { a: Int @requiresScope }", {}, "looks like"),
        ("directive @rowPolicies on FIELD_DEFINITION type Query { a: Int @rowPolicies }", {}, "looks like"),
        ("directive @auth on FIELD_DEFINITION type Query { a: Int @auth }", {}, "looks like"),
        ("directive @is_authenticated on OBJECT type Query @is_authenticated { a: Int }", {}, "looks like"),
    ],
)  # fmt: skip
def test_rules_that_are_doubtful_are_refused_while_building(sdl: str, options: Any, text: str) -> None:
    schema = schema_of(sdl, {})[0]
    with pytest.raises(ConfigurationError, match=text):
        protect(schema, **options)


def test_rows_of_one_list_have_one_error_where_we_execute() -> None:
    nodes = [{"type": "Closed", "id": str(number)} for number in range(50)]
    protected = protect(schema_of(SDL, {**ROOT, "nodes": nodes})[0])
    result = execute_sync(protected, parse("{ a: nodes { id } b: nodes { id } }"), auth=known())
    assert result.data == {"a": [None] * 50, "b": [None] * 50}
    assert codes(result) == [(["a", 0], "FORBIDDEN"), (["b", 0], "FORBIDDEN")]


def test_refusals_are_said_at_most_a_hundred_times() -> None:
    protected = protect(schema_of(SDL, ROOT)[0])
    text = "{ me { name " + " ".join(f"a{number}: email" for number in range(500)) + " } }"
    result = execute_sync(protected, parse(text), auth=known())
    assert len(result.errors or ()) == 100


def test_a_batched_row_policy_is_asked_for_many_objects_at_once() -> None:
    asked: list[list[str]] = []

    async def own(_auth: Any, questions: Any) -> list[bool]:
        asked.append([user["name"] for user, _ in questions])
        await asyncio.sleep(0)
        return [user["name"] == "Bob" for user, _ in questions]

    rules = {"User.name": row_policy("own")}
    protected = protect(schema_of(SDL, ROOT, is_async=True)[0], rules=rules, row_policies={"own": batched(own)})
    result = run(protected, "{ users { name } }", known())
    assert (result.data, asked) == ({"users": [{"name": None}, {"name": "Bob"}]}, [["Ann", "Bob"]])


@pytest.mark.parametrize("answers", [[], [True], None, "yes"])
def test_a_batched_row_policy_that_answers_too_little_says_neither_yes_nor_no(answers: Any) -> None:
    protected = protect(
        schema_of(SDL, ROOT)[0],
        rules={"User.name": row_policy("own")},
        row_policies={"own": batched(lambda _auth, _questions: answers)},
    )
    result = run(protected, "{ users { name } }", known())
    assert result.data == {"users": [{"name": None}, {"name": None}]}
    assert {code for _, code in codes(result)} == {"UNAVAILABLE"}


RECURSIVE = """
type Query { again: Query, secret: String @requiresScopes(scopes: [["secret"]]), node: Node, a: A }
interface Node { a: A }
type A implements Node { a: A, deep: String! @requiresScopes(scopes: [["secret"]]), name: String }
"""


def test_an_object_of_a_root_type_below_a_field_is_guarded_too() -> None:
    schema, ran = schema_of(RECURSIVE, {"again": {"secret": "s"}, "secret": "s"})
    result = run(protect(schema), "{ again { secret again { s: secret } } }", known())
    assert (result.data, "Query.secret" in ran) == ({"again": {"secret": None, "again": None}}, False)


def test_what_is_null_for_one_row_is_not_for_another_of_the_same_path() -> None:
    deep = {"type": "A", "name": "deep", "a": {"type": "A", "name": "deeper", "deep": "x"}}
    schema, _ = schema_of(
        RECURSIVE.replace("node: Node", "nodes: [Both]") + "union Both = A | Query",
        {"nodes": [{"type": "A", "a": deep}, {"type": "Query", "a": deep}]},
    )
    text = "{ nodes { ... on A { a { a { deep } } } ... on Query { a { a { name } } } } }"
    result = run(protect(schema), text, known())
    assert result.data == {"nodes": [{"a": {"a": None}}, {"a": {"a": {"name": "deeper"}}}]}


def test_other_directives_are_none_of_ours() -> None:
    sdl = """
    directive @cost(weight: Int) on FIELD_DEFINITION
    directive @auth on FIELD_DEFINITION
    directive @signedIn on FIELD_DEFINITION
    type Query { a: Int @cost(weight: 1) b: Int @auth c: Int @signedIn }
    """
    names = {"auth": None, "signedIn": "authenticated"}
    protected = protect(schema_of(sdl, {"a": 1, "b": 2, "c": 3})[0], default="public", directives=names)
    assert run(protected, "{ a b }").data == {"a": 1, "b": 2}
    assert codes(run(protected, "{ c }")) == [(["c"], "UNAUTHENTICATED")]
