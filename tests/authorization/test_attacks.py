"""Documents, callers and answers meant to walk past `protect`, or to make it fall over."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import inspect
import sys
import time
from typing import Any

import graphql
import pytest
from graphql import DocumentNode, ExecutionResult, parse

from graphql_authkit import ANONYMOUS
from graphql_authkit.authenticator import serving
from graphql_authkit.authorization import authenticated, policy, row_policy
from graphql_authkit.graphql import freeze, protect
from graphql_authkit.graphql.protection import protection_of
from tests.authorization.parts import codes, known, schema_of

SDL = """
type Query {
  hello: String @public
  me: User
  secret: String @requiresScopes(scopes: [["secret"]])
  other: String @requiresScopes(scopes: [["other"]])
  doc(id: ID): String
  nodes: [Node]
}
type Mutation { one: String, two: String, login: String @public, rename: User }
type Subscription { ticks: Int, users: User }
type User {
  name: String
  email: String @requiresScopes(scopes: [["email"]])
  must: String! @requiresScopes(scopes: [["must"]])
  friend: User
}
interface Node { id: ID }
type One implements Node { id: ID, user: User }
type Two implements Node { id: ID, user: User }
"""
ANN: dict[str, Any] = {"name": "Ann", "email": "ann@example.com", "must": "must"}
ROOT = {
    "hello": "hello",
    "me": ANN,
    "secret": "SECRET",
    "other": "OTHER",
    "doc": "DOC",
    "nodes": [{"type": "One", "id": "1", "user": ANN}, {"type": "Two", "id": "2", "user": ANN}],
    "one": "one",
    "two": "two",
    "login": "token",
    "rename": ANN,
    "ticks": [1, 2, 3],
    "users": [ANN],
}


def ask(schema: Any, document: str | DocumentNode, auth: Any = ANONYMOUS, **options: Any) -> ExecutionResult:
    """What is answered without validation: what frameworks do that trust documents they keep."""
    parsed = parse(document) if isinstance(document, str) else document
    return graphql.execute_sync(schema, parsed, context_value=freeze(auth=auth), **options)


def whole(schema: Any, text: str, auth: Any) -> ExecutionResult:
    async def awaited() -> ExecutionResult:
        found: Any = graphql.execute(schema, parse(text), context_value=freeze(auth=auth))
        result: ExecutionResult = await found if inspect.isawaitable(found) else found
        return result

    return asyncio.run(awaited())


@pytest.fixture
def app() -> Any:
    return schema_of(SDL, ROOT)


@pytest.fixture
def protected(app: Any) -> Any:
    return protect(app[0])


# ------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize(
    "text",
    [
        "{ secret @include(if: true) @include(if: false) }",
        "{ secret @skip(if: false) @skip(if: true) }",
        "{ secret @include(if: false, if: true) }",
        "{ secret @skip(if: true, if: false) }",
        "{ ... @skip(if: false) @skip(if: true) { secret } }",
        "{ ...F @include(if: true) @include(if: false) } fragment F on Query { secret }",
    ],
)
def test_directives_and_arguments_given_twice_hide_nothing_from_the_decision(protected: Any, text: str) -> None:
    assert (ask(protected, text).data or {}).get("secret") is None


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("query ($x: Boolean) { hello secret @include(if: $x) }", {}),
        ("query ($x: Boolean = false) { hello secret @include(if: $x) }", {"x": None}),
        ("query ($x: Boolean = true) { hello secret @include(if: $x) }", {}),
        ('query ($x: String = "true") { hello secret @include(if: $x) }', {}),
        ("query ($x: [Boolean]) { hello secret @include(if: $x) }", {"x": [False]}),
        ("query ($x: Boolean = true, $x: Boolean = false) { hello secret @skip(if: $x) }", {}),
        ("{ hello secret @include(if: 1) }", {}),
        ("{ hello secret @skip(if: $unknown) }", {}),
        ("{ hello secret @skip }", {}),
    ],
)
def test_switches_of_odd_kinds_open_nothing(protected: Any, text: str, variables: dict[str, Any]) -> None:
    assert (ask(protected, text, variable_values=variables).data or {}).get("secret") is None


def test_a_fragment_that_was_missing_once_is_decided_on_when_it_is_there(protected: Any) -> None:
    document = parse("{ hello ...F } fragment F on Query { secret }")
    ask(protected, DocumentNode(definitions=(document.definitions[0],)))
    assert ask(protected, document).data in ({"hello": None, "secret": None}, None)


def test_a_fragment_that_was_replaced_is_decided_on_anew(protected: Any) -> None:
    document, other = (parse(f"{{ hello ...F }} fragment F on Query {{ {name} }}") for name in ("hello", "secret"))
    assert ask(protected, document).data == {"hello": "hello"}
    mixed = DocumentNode(definitions=(document.definitions[0], other.definitions[1]))
    assert ask(protected, mixed).data == {"hello": None, "secret": None}


def test_a_document_that_was_changed_after_its_first_execution_shows_nothing(protected: Any) -> None:
    document, other = parse("{ hello }"), parse("{ hello secret }")
    ask(protected, document)
    operation: Any = document.definitions[0]
    object.__setattr__(operation, "selection_set", getattr(other.definitions[0], "selection_set"))  # noqa: B009
    assert (ask(protected, document).data or {}).get("secret") is None


def test_a_switch_that_is_found_late_does_not_serve_what_was_decided_before(protected: Any) -> None:
    document = parse(
        "query ($x: Boolean!, $a: Boolean!, $b: Boolean!) "
        "{ hello ... @include(if: $x) { secret @include(if: $a) } ... @skip(if: $x) { other @include(if: $b) } }"
    )
    for number in (0, 4, 1, 5, 6, 7, 3, 2, 0, 7):
        variables = {name: bool(number >> bit & 1) for bit, name in enumerate("abx")}
        data = ask(protected, document, known(), variable_values=variables).data
        assert data in ({"hello": "hello"}, {"hello": "hello", "secret": None}, {"hello": "hello", "other": None})


def test_of_two_operations_with_one_name_the_one_that_is_executed_is_decided_on(protected: Any) -> None:
    result = ask(protected, "query login { hello } query login { secret }", operation_name="login")
    assert "SECRET" not in str(result)


@pytest.mark.parametrize(
    "text",
    [
        "{ hello me { ...F } } fragment F on User { friend { ...F } email }",
        "{ hello ...F } fragment F on Query { ...G } fragment G on Query { me { email } ...F }",
        "{ hello me { ...F0 } } fragment F30 on User { email }"
        + "".join(
            f"fragment F{i} on User {{ a: friend {{ ...F{i + 1} }} b: friend {{ ...F{i + 1} }} }}" for i in range(30)
        ),
        "{ me { ...F0 } } fragment F5000 on User { email }"
        + "".join(f"fragment F{i} on User {{ name ...F{i + 1} }}" for i in range(5000)),
    ],
)
def test_documents_that_never_end_are_answered_soon(protected: Any, text: str) -> None:
    began = time.perf_counter()
    result = ask(protected, text, known())
    assert time.perf_counter() - began < 3
    assert "ann@example.com" not in str(result)


@pytest.mark.parametrize("auth", [ANONYMOUS, known()])
def test_thousands_of_fields_that_are_refused_take_no_more_time_than_fields_do(protected: Any, auth: Any) -> None:
    fields = " ".join(f"e{i}: email" for i in range(4000))
    aliases = " ".join(f"s{i}: secret" for i in range(4000))
    for text in (f"{{ me {{ {fields} }} }}", f"{{ {aliases} }}"):
        document = parse(text)
        began = time.perf_counter()
        assert ask(protected, document, auth).errors
        assert time.perf_counter() - began < 2.5


def test_fields_of_one_path_under_different_types_are_decided_apart(protected: Any) -> None:
    text = "{ nodes { ... on One { x: user { f: friend { must } } } ... on Two { x: user { f: friend { name } } } } }"
    friend = {**ANN, "friend": ANN}
    schema, _ = schema_of(SDL, {**ROOT, "nodes": [{"type": "Two", "id": "2", "user": friend}]})
    assert graphql.validate(schema, parse(text)) == []
    result = ask(protect(schema), text, known())
    assert (result.data, result.errors) == ({"nodes": [{"x": {"f": {"name": "Ann"}}}]}, None)


def test_documents_are_forgotten_when_they_are_gone(protected: Any) -> None:
    for number in range(2000):
        ask(protected, f"{{ a{number}: me {{ email }} }}", known())
    gc.collect()
    protection: Any = protection_of(protected)
    assert not protection.decider._documents


# ------------------------------------------------------------------------------------- threads and tasks


def in_threads(work: Any, count: int = 6) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            list(pool.map(work, range(count)))
    finally:
        sys.setswitchinterval(interval)


def test_one_document_in_threads_gives_each_caller_his_own(protected: Any) -> None:
    document = parse("{ me { email } }")
    found: list[bool] = []

    def work(number: int) -> None:
        auth, email = (known("email"), "ann@example.com") if number % 2 else (known(), None)
        found.extend(ask(protected, document, auth).data == {"me": {"email": email}} for _ in range(50))

    in_threads(work)
    assert found == [True] * 300


def test_a_document_with_many_fragments_in_threads_fails_in_no_other_way_than_by_rules(protected: Any) -> None:
    names = range(300)
    text = (
        f"query ({', '.join(f'$v{i}: Boolean!' for i in names)}) "
        f"{{ hello {' '.join(f'...F{i} @include(if: $v{i})' for i in names)} }}"
        + " ".join(f"fragment F{i} on Query {{ hello }}" for i in names)
    )
    errors: list[Any] = []
    for _ in range(4):
        document = parse(text)

        def work(number: int, document: Any = document) -> None:
            for turn in range(40):
                variables = {f"v{i}": i == turn * 6 + number for i in names}
                errors.extend(ask(protected, document, known(), variable_values=variables).errors or ())

        in_threads(work)
    assert [error.message for error in errors] == []


def test_an_operation_that_is_cancelled_leaves_no_task_behind() -> None:
    async def decide(_auth: Any, names: frozenset[str]) -> frozenset[str]:
        await asyncio.sleep(30)
        return names

    protected = protect(schema_of(SDL, ROOT)[0], rules={"User.name": policy("p")}, policies=decide)

    async def cancelled() -> int:
        found: Any = graphql.execute(
            protected, parse("{ a: me { name } b: me { name } }"), context_value=freeze(auth=known())
        )
        task = asyncio.ensure_future(found)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.01)
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(cancelled()) == 0


# --------------------------------------------------------------------------------------------- answers


class Masked:
    """A scalar's value that does not show itself, as pydantic's SecretStr."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Masked(***)"


class Plain(Masked):
    __repr__ = object.__repr__


@pytest.mark.parametrize("kind", [Masked, Plain])
def test_a_row_policy_answers_for_arguments_that_only_look_alike_apart(kind: Any) -> None:
    schema, _ = schema_of("scalar Ref type Query { doc(id: Ref): String }", ROOT)
    ref: Any = schema.type_map["Ref"]
    ref.parse_literal = ref.coerce_input_literal = lambda node, _variables=None: kind(node.value)
    ref.parse_value = ref.coerce_input_value = kind
    protected = protect(
        schema,
        rules={"Query.doc": row_policy("own")},
        row_policies={"own": lambda _auth, _object, arguments: arguments["id"].value == "mine"},
    )
    asked = " ".join(f'a{i}: doc(id: "mine") b{i}: doc(id: "theirs")' for i in range(10))
    data = ask(protected, f"{{ {asked} }}", known()).data or {}
    assert {key for key, value in data.items() if value} == {f"a{i}" for i in range(10)}


@pytest.mark.parametrize("answer", [None, 0, 1, "yes", [True], object()])
def test_only_true_lets_a_row_through(app: Any, answer: Any) -> None:
    answers = {"own": lambda *_arguments: answer}
    protected = protect(app[0], rules={"Query.doc": row_policy("own")}, row_policies=answers)
    assert ask(protected, "{ doc }", known()).data == {"doc": None}


def test_an_asynchronous_row_policy_without_a_loop_is_refused_and_leaves_no_coroutine(app: Any) -> None:
    async def own(*_arguments: Any) -> bool:
        return True

    protected = protect(app[0], rules={"Query.doc": row_policy("own")}, row_policies={"own": own})
    assert ask(protected, "{ doc }", known()).data == {"doc": None}
    gc.collect()  # a coroutine that nobody awaited warns, and warnings are errors here


@pytest.mark.parametrize("answer", [None, True, "p", [["p"]], 1])
def test_policies_that_answer_nonsense_are_unavailable(app: Any, answer: Any) -> None:
    protected = protect(app[0], rules={"User.name": policy("p")}, policies=lambda _auth, _names: answer)
    result = ask(protected, "{ hello me { name } }", known())
    assert result.data == {"hello": None, "me": None}
    assert {code for _, code in codes(result)} == {"UNAVAILABLE"}


def test_a_mutation_runs_nothing_if_its_policies_fail_once(app: Any) -> None:
    schema, ran = app
    answers: list[Any] = [["p"], None]
    protected = protect(
        schema,
        rules={"Mutation.one": policy("p"), "Mutation.two": authenticated()},
        policies=lambda _auth, _names: answers.pop(),
    )
    assert ask(protected, "mutation { one two }", known()).errors
    assert ran == []


def test_dry_run_refuses_nothing_even_if_policies_fail(app: Any) -> None:
    def decide(_auth: Any, _names: Any) -> Any:
        raise OSError("down")

    protected = protect(app[0], rules={"User.name": policy("p")}, policies=decide, mode="dry_run")
    assert ask(protected, "{ me { name } }", known()).data == {"me": {"name": "Ann"}}


# ---------------------------------------------------------------------------- requests and subscriptions


def test_limits_count_the_operations_of_one_request_together(app: Any) -> None:
    protected = protect(app[0], limits={"Mutation.login": 2})
    with serving(known()):
        found = [ask(protected, "mutation { a: login }", known()).data for _ in range(3)]
    assert found == [{"a": "token"}, {"a": "token"}, {"a": None}]


def events(protected: Any, text: str, auth: Any) -> list[Any]:
    async def all_of_them() -> list[Any]:
        stream: Any = graphql.subscribe(protected, parse(text), context_value=freeze(auth=auth))
        stream = await stream if inspect.isawaitable(stream) else stream
        return [stream] if isinstance(stream, ExecutionResult) else [event async for event in stream]

    with serving(auth):
        return asyncio.run(all_of_them())


def test_a_subscription_with_a_limit_is_counted_once_and_not_for_each_event(app: Any) -> None:
    found = events(protect(app[0], limits={"Subscription.ticks": 1}), "subscription { ticks }", known())
    assert [event.data for event in found] == [{"ticks": 1}, {"ticks": 2}, {"ticks": 3}]


def test_a_source_does_not_start_while_asynchronous_policies_have_not_answered(app: Any) -> None:
    async def decide(_auth: Any, _names: frozenset[str]) -> list[str]:
        await asyncio.sleep(0)
        return []

    schema, ran = app
    protected = protect(schema, rules={"Subscription.ticks": policy("p")}, policies=decide)
    (found,) = events(protected, "subscription { ticks }", known())
    assert ([code for _, code in codes(found)], ran) == (["FORBIDDEN"], [])


class Fake:
    """What a context may hold that isn't ours."""

    is_authenticated = True
    scopes = frozenset({"secret"})
    subject = issuer = "fake"


@pytest.mark.parametrize("context", [None, {}, {"auth": Fake()}, Fake(), "text", {"request": Fake()}, 1])
def test_a_context_that_is_not_ours_is_anonymous(protected: Any, context: Any) -> None:
    result = graphql.execute_sync(protected, parse("{ secret }"), context_value=context, root_value={"secret": "x"})
    assert (result.data, codes(result)) == ({"secret": None}, [(["secret"], "UNAUTHENTICATED")])
