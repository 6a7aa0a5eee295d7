"""GraphQL authorisation: what rules cost an operation, and each field: `python -m benchmarks.authorization`

graphql-core executes a list of rows with ten plain fields each, synchronously, of a document that is parsed and
validated before. "A middleware" is graphql-core's own way: one function in front of every resolver that looks the
field up in a map of permissions. graphql-shield guards the same schema of graphql.js, its rules not cached.
Strawberry's `permission_classes` are asked in its own schema, over its own bare execution. What is added to a field
is what an execution takes more than the bare one, divided by the guarded fields.
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

import strawberry
from graphql import DocumentNode, GraphQLSchema, build_schema, execute_sync, parse
from strawberry.permission import BasePermission

from benchmarks import javascript
from benchmarks.harness import Case, Group, measure
from benchmarks.material import KEY_ID, key_set, pipeline, tokens, verifier
from benchmarks.results import Bar, Row, Table, arguments, report
from graphql_authkit import AuthContext, PrivateKey
from graphql_authkit.authorization import requires
from graphql_authkit.graphql import freeze, protect
from graphql_authkit.graphql.decisions import KEY
from graphql_authkit.graphql.protection import protection_of

FIELDS = [f"f{number}" for number in range(10)]
LEAVES = " ".join(f"{name}: String" for name in FIELDS)
SDL = f"type Query {{ rows(count: Int!): [Row], other: String }} type Row {{ {LEAVES} }}"
ROW = dict.fromkeys(FIELDS, "value")
TEXT = f"query ($count: Int!) {{ rows(count: $count) {{ {' '.join(FIELDS)} }} }}"
UNTOUCHED, GUARDED, PLAN = 1.02, 200.0, 3.0


def schema() -> GraphQLSchema:
    made = build_schema(SDL)
    assert made.query_type is not None
    made.query_type.fields["rows"].resolve = lambda _source, _info, count: [ROW] * count
    return made


def untouched_table(fields: int, auth: AuthContext, rounds: int) -> Table:
    """A query that touches no rule, of a schema that has some."""
    document = parse(TEXT)
    bare = schema()
    protected = protect(bare, default="public", rules={"Query.other": requires("other")})
    looked_up = frozenset({("Query", "other")})
    context = freeze(auth=auth)

    def guard(resolve: Callable[..., Any], source: Any, info: Any, **given: Any) -> Any:
        if (info.parent_type.name, info.field_name) in looked_up and "other" not in auth.scopes:
            raise PermissionError
        return resolve(source, info, **given)

    def run(target: GraphQLSchema, **options: Any) -> Callable[[int], object]:
        variables = {"count": fields // len(FIELDS)}
        return lambda _number: _checked(target, document, context, variables, **options)

    cases = [
        Case("graphql-authkit", run(protected)),
        Case("bare", run(bare)),
        Case("a middleware", run(bare, middleware=[guard])),
    ]
    group = Group(f"A query of {fields:,} fields that touches no rule", cases, {"bare": UNTOUCHED})
    return measure(group, rounds=rounds, calls=max(1, 20_000 // fields))


def _checked(target: GraphQLSchema, document: DocumentNode, context: Any, variables: Any, **options: Any) -> object:
    result = execute_sync(target, document, context_value=context, variable_values=variables, **options)
    if result.errors:
        raise SystemExit(f"a query failed: {result.errors[0]}")
    return result


class _HasScope(BasePermission):
    message = "no"

    def has_permission(self, source: Any, info: Any, **kwargs: Any) -> bool:
        return "read" in info.context["auth"].scopes


def _strawberry(permissions: list[type[BasePermission]]) -> strawberry.Schema:
    fields = {name: strawberry.field(permission_classes=permissions, default="value") for name in FIELDS}
    row = strawberry.type(type("Row", (), {"__annotations__": dict.fromkeys(FIELDS, str | None), **fields}))

    def rows(count: int) -> list[Any]:
        return [row()] * count

    rows.__annotations__["return"] = list[row]  # type: ignore[valid-type]
    query = type("Query", (), {"rows": strawberry.field(resolver=rows)})
    return strawberry.Schema(strawberry.type(query))


def guarded_table(count: int, auth: AuthContext, rounds: int) -> Table:
    """Every leaf field is guarded, and the caller may see them all."""
    document, variables = parse(TEXT), {"count": count}
    bare = schema()
    rules = {f"Row.{name}": requires("read") for name in FIELDS}
    protected = protect(bare, default="public", rules=rules)
    needed = {("Row", name): "read" for name in FIELDS}
    plain, permitted = _strawberry([]), _strawberry([_HasScope])
    context = freeze(auth=auth)

    def guard(resolve: Callable[..., Any], source: Any, info: Any, **given: Any) -> Any:
        scope = needed.get((info.parent_type.name, info.field_name))
        if scope is not None and scope not in auth.scopes:
            raise PermissionError
        return resolve(source, info, **given)

    cases: Mapping[str, tuple[str, Callable[[], object]]] = {
        "graphql-authkit": ("bare", lambda: _checked(protected, document, context, variables)),
        "a middleware": ("bare", lambda: _checked(bare, document, context, variables, middleware=[guard])),
        "Strawberry, permission_classes": (
            "bare Strawberry",
            lambda: _checked(permitted._schema, document, context, variables),
        ),
        "bare": ("", lambda: _checked(bare, document, context, variables)),
        "bare Strawberry": ("", lambda: _checked(plain._schema, document, context, variables)),
    }
    found = _interleaved({name: run for name, (_, run) in cases.items()}, rounds)
    fields = count * len(FIELDS)
    rows = []
    for name, (over, _) in cases.items():
        if over:
            added = [(of_it - of_bare) / fields * 1e9 for of_it, of_bare in zip(found[name], found[over], strict=True)]
            bar = Bar(GUARDED, of="value") if name == "graphql-authkit" else None
            rows.append(Row(name, statistics.median(added), bar=bar))
    absent = javascript.missing()
    if absent is None:
        rows.append(Row("graphql-shield (Node.js)", _shield(count, rounds)))
    else:
        print(absent, file=sys.stderr)
    return Table(f"Added to each of {fields:,} guarded fields that may be seen", "ns a field", rows)


def _interleaved(cases: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in cases}
    for name in cases:
        cases[name]()
    for _ in range(rounds):
        for name in random.sample(list(cases), len(cases)):
            gc.collect()
            gc.disable()
            started = time.perf_counter()
            cases[name]()
            found[name].append(time.perf_counter() - started)
            gc.enable()
    return found


def _shield(count: int, rounds: int) -> float:
    """Nanoseconds that graphql-shield adds to each field, its rules not cached."""
    with javascript.started("shield.mjs") as worker:
        found = [worker.ask(count=count) for _ in range(rounds + 5)][5:]
    return float(statistics.median((guarded - bare) / (count * len(FIELDS)) for guarded, bare in found))


def plan_table(auth: AuthContext, rounds: int) -> Table:
    """The decision on an operation whose plan is remembered, and on one that is new."""
    protected = protect(schema(), default="public", rules={f"Row.{name}": requires("read") for name in FIELDS})
    infos: list[Any] = []
    assert protected.query_type is not None
    field = protected.query_type.fields["rows"]
    inner = field.resolve
    assert inner is not None

    def noting(source: Any, info: Any, **given: Any) -> Any:
        infos.append(info)
        return inner(source, info, **given)

    field.resolve = noting
    _checked(protected, parse(TEXT), freeze(auth=auth), {"count": 1})
    protection, info = protection_of(protected), infos[0]
    assert protection is not None
    decider = protection.decider

    def remembered(_number: int) -> None:
        info.fragments.pop(KEY, None)
        decider.decide(info)

    def new(_number: int) -> None:
        decider._documents.clear()
        info.fragments.pop(KEY, None)
        decider.decide(info)

    cases = [Case("remembered", remembered), Case("new", new)]
    group = Group("The decision on an operation with ten guarded fields", cases, {}, {"remembered": PLAN})
    return measure(group, rounds=rounds, calls=2_000)


FRIENDS = "type Query { me: User } type User { friend: User, name: String, email: String }"
HOSTILE = {
    "1,000 aliases of a refused field": "{ me { " + " ".join(f"a{n}: email" for n in range(1_000)) + " } }",
    "10,000 fragments side by side": "{ me { "
    + " ".join(f"...F{n}" for n in range(10_000))
    + " } } "
    + " ".join(f"fragment F{n} on User {{ email }}" for n in range(10_000)),
    "10,000 fragments in a chain": "{ me { ...F0 } } "
    + " ".join(f"fragment F{n} on User {{ name ...F{n + 1} }}" for n in range(10_000))
    + " fragment F10000 on User { email }",
    "30 fragments, each twice in the one before": "{ me { ...F0 } } "
    + " ".join(
        f"fragment F{n} on User {{ a: friend {{ ...F{n + 1} }} b: friend {{ ...F{n + 1} }} }}" for n in range(30)
    )
    + " fragment F30 on User { email }",
}


def hostile_table(auth: AuthContext, rounds: int) -> Table:
    """Executions of documents that were parsed, and never validated: what the first decision on each takes."""
    protected = protect(build_schema(FRIENDS), default="public", rules={"User.email": requires("email")})
    context = freeze(auth=auth)
    rows = []
    for name, text in HOSTILE.items():
        document, found, most = parse(text), [], 0.0
        for number in range(min(rounds, 5) + 1):
            protection = protection_of(protected)
            assert protection is not None
            protection.decider._documents.clear()
            if number == 0:
                tracemalloc.start()
            started = time.perf_counter()
            execute_sync(protected, document, {"me": {"name": "Ann"}}, context_value=context)
            found.append((time.perf_counter() - started) * 1e3)
            if number == 0:
                most = tracemalloc.get_traced_memory()[1] / 1e6
                tracemalloc.stop()
        rows.append(Row(f"{name} ({most:.1f} MB at most)", statistics.median(found[1:])))
    return Table("A hostile document, executed", "ms", rows)


def main() -> None:
    given = arguments(__doc__, "authorization", rounds=40)
    key = PrivateKey.generate("RS256", key_id=KEY_ID)
    auth = pipeline(verifier(key_set(key))).authenticate_token(tokens(key, 1)[0])
    tables = [
        untouched_table(1_000, auth, given.rounds),
        untouched_table(10_000, auth, given.rounds),
        guarded_table(1_000, auth, given.rounds),
        plan_table(auth, given.rounds),
        hostile_table(auth, given.rounds),
    ]
    others = {} if javascript.missing() else javascript.versions("graphql", "graphql-shield")
    report(tables, given.json, ("graphql-core", "strawberry-graphql"), others)


if __name__ == "__main__":
    main()
