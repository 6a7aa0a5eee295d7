"""`protect` against a reference that works by brute force, on schemas, data, operations and callers that are drawn."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Iterator
from random import Random
from typing import Any, cast

import pytest
from graphql import ExecutionResult, GraphQLSchema, parse, validate
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from graphql_authkit.authorization.declared import EXTENSION
from graphql_authkit.authorization.index import Default
from graphql_authkit.graphql import protect
from graphql_authkit.graphql.decisions import Mode
from tests.authorization import matrix_table as table
from tests.authorization.matrix_documents import document
from tests.authorization.matrix_running import Request, Stage, differences, events_of, execute, staged
from tests.authorization.matrix_schemas import CALLERS, Design, design
from tests.authorization.reference import Reference

EXAMPLES = int(os.environ.get("MATRIX_EXAMPLES", "0"))  # by hand; then they differ from run to run
SHRINKS = bool(os.environ.get("MATRIX_SHRINKS"))  # which takes minutes, and dice that hypothesis can see
matrix = settings(
    max_examples=EXAMPLES or 15,
    derandomize=not EXAMPLES,
    phases=[Phase.generate, *([Phase.shrink] if SHRINKS else [])],
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)

# Of graphql-core: where a list is null for one of its rows, it forgets what it began of the others.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
dices = st.randoms(use_true_random=not SHRINKS)


@pytest.fixture(autouse=True, scope="module")
def forgotten() -> Iterator[None]:
    """What graphql-core forgot is collected here, and troubles no other test."""
    yield
    gc.collect()


def built(drawn: Design, mode: Mode) -> tuple[GraphQLSchema, GraphQLSchema, Stage]:
    """The schema, its protected copy, and their stage."""
    schema, stage = staged(drawn.sdl, typing=drawn.typing)
    for place, rules in drawn.extensions.items():
        type_name, _, name = place.partition(".")
        element: Any = schema.type_map[type_name]
        element = element.fields[name] if name else element
        element.extensions = {**(element.extensions or {}), EXTENSION: rules}
    default = cast(Default, drawn.declared.default)
    protected = protect(schema, rules=drawn.rules, default=default, mode=mode, on_event=lambda _event: None)
    return schema, protected, stage


def compare(dice: Random, *, nests_roots: bool, shares_paths: bool) -> None:
    """One schema, some documents of it, and several requests of several callers, sync and async."""
    drawn = design(dice, nests_roots=nests_roots)
    mode: Mode = dice.choice(("filter", "filter", "filter", "reject"))
    schema, protected, stage = built(drawn, mode)
    for _ in range(3):
        asked = document(dice, schema, shares_paths=shares_paths)
        parsed = parse(asked.text)
        assert validate(schema, parsed) == [], "documents are valid as they are drawn"
        callers = dice.sample(CALLERS, 3)
        for scopes, variables, (name, kind) in itertools.product(callers, asked.variables, asked.operations.items()):
            request = Request(parsed, scopes, drawn.data[kind.capitalize()], name, variables)
            is_strict = mode == "reject"
            reference = Reference(
                schema, drawn.declared, scopes, parsed, name=name, variables=variables, is_strict=is_strict
            )
            found = [
                f"is_async={is_async}: {one}"
                for is_async in (False, True)
                for one in differences_of(reference, protected, stage, request, kind, is_async=is_async)
            ]
            if found:
                pytest.fail("\n".join([str(drawn), asked.text, f"{mode} {scopes} {name} {variables}", *found]), False)


def differences_of(
    reference: Reference, protected: GraphQLSchema, stage: Stage, request: Request, kind: str, *, is_async: bool
) -> list[str]:
    """What is not as the reference has it, of one execution."""
    if kind == "subscription":
        return _of_events(reference, protected, stage, request, is_async=is_async)
    expected = reference.expect(request.root)
    result = execute(protected, stage, request, is_async=is_async)
    return differences(expected, result, stage.ran, request.scopes, is_async=is_async)


def _of_events(
    reference: Reference, protected: GraphQLSchema, stage: Stage, request: Request, *, is_async: bool
) -> list[str]:
    found = events_of(protected, stage, request, is_async=is_async)
    if isinstance(found, ExecutionResult):
        expected = reference.expect({})
        if not expected.is_whole:
            return [f"no source, but {found}"]
        expected.data = None
        return differences(expected, found, stage.ran, request.scopes, is_async=is_async) + [
            f"{one} started" for one in stage.sources
        ]
    if reference.is_refused_whole():
        return [f"the source started: {found}"]
    (source,) = stage.sources
    name = source.partition(".")[2]
    complaints = [] if len(found) == len(request.root[name]) else [f"{len(found)} events"]
    for (result, ran), value in zip(found, request.root[name], strict=False):
        expected = reference.expect({"__typename": "Subscription", name: value})
        complaints += differences(expected, result, ran, request.scopes, is_async=is_async)
    return complaints


@matrix
@given(dices)
def test_what_a_caller_gets_is_what_the_reference_says(dice: Random) -> None:
    compare(dice, nests_roots=False, shares_paths=False)


@matrix
@given(dices)
def test_it_is_so_where_one_path_leads_through_objects_of_several_types(dice: Random) -> None:
    compare(dice, nests_roots=False, shares_paths=True)


@matrix
@given(dices)
def test_it_is_so_where_the_types_of_roots_are_found_below_them(dice: Random) -> None:
    compare(dice, nests_roots=True, shares_paths=True)


# ------------------------------------------------------------------------- every place and every shape


@pytest.mark.parametrize("operation", table.OPERATIONS)
@pytest.mark.parametrize("shape", table.SHAPES)
@pytest.mark.parametrize("place", table.PLACES)
def test_a_rule_holds_wherever_it_stands_and_whatever_leads_to_it(place: str, shape: str, operation: str) -> None:
    document = table.document_of(table.PLACES[place].leaf, shape, operation)
    events = {name: [value, value] for name, value in table.DATA.items()}
    root = events if operation == "subscription" else table.DATA
    sent: list[dict[str, Any]] = [{"it": False}, {"it": True}] if "$it" in table.SHAPES[shape] else [{}]
    lacking, holding = frozenset[str](), frozenset({table.SCOPE})
    asked = [(None, False), *itertools.product((lacking, holding), (False, True))]
    for (scopes, is_async), variables in itertools.product(asked, sent):
        schema, protected, stage = table.stage_of(place, "rules" if is_async else "directive")
        request = Request(document, scopes, root, variables=variables)
        reference = Reference(schema, table.declared_of(place), scopes, document, variables=variables)
        found = differences_of(reference, protected, stage, request, operation, is_async=is_async)
        assert found == [], (is_async, scopes, variables)
        if not variables and shape != "literals":
            holds = scopes is not None and (table.SCOPE in scopes or place == "default")
            assert (table.SECRET in str(stage.answers)) == holds, (is_async, scopes)
