"""Every place of a rule, and every shape of an operation that may lead to what it guards; one schema for them all."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import DocumentNode, GraphQLSchema, parse, validate

from graphql_authkit.authorization import requires
from graphql_authkit.graphql import protect
from tests.authorization.matrix_running import Stage, staged
from tests.authorization.reference import Declared

SCOPE = "s"
SECRET = "SECRET"
LEAVES = "id: String, secret: String{0}, grade: Grade{0}, stamp: Stamp{0}, seal: Seal{0}, view: View{0}"
ROOT = (
    "box: Box, node: Node, thing: Thing, boxes: [Box], nodes: [Node], grid: [[Node!]]!, strict: [[Tight!]!], "
    "depth1: Tight, depth2: Depth2, depth3: Depth3"
)
SDL = f"""
type Query {{ {ROOT} }}
type Mutation {{ {ROOT} }}
type Subscription {{ {ROOT} }}
interface Node {{ {LEAVES.format("")} }}
type Box implements Node {{ {LEAVES.format("")} }}
type Open implements Node {{ {LEAVES.format("")} }}
type Tight {{ {LEAVES.format("!")} }}
type Depth2 {{ below: Tight! }}
type Depth3 {{ below: Depth2! }}
union Thing = Open | Box
interface View {{ text: String }}
type Seal implements View {{ text: String }}
enum Grade {{ SECRET OPEN }}
scalar Stamp
"""
OPERATIONS = ("query", "mutation", "subscription")


@dataclass(frozen=True)
class Place:
    """Where a rule stands, and what to select to meet it."""

    coordinates: tuple[str, ...]
    leaf: str


def _roots(*names: str) -> tuple[str, ...]:
    return tuple(f"{operation.capitalize()}{name}" for operation in OPERATIONS for name in names)


_FIELDS = tuple(f".{one.split(':')[0].strip()}" for one in ROOT.split(", "))
PLACES: Mapping[str, Place] = {
    "object type": Place(("Box", "Tight"), "secret"),
    "object field": Place(("Box.secret", "Open.secret", "Tight.secret"), "secret"),
    "interface type": Place(("Node", "Tight"), "secret"),
    "interface field": Place(("Node.secret", "Tight.secret"), "secret"),
    "returned object": Place(("Seal",), "seal { text }"),
    "returned interface": Place(("View",), "view { text }"),
    "object behind an interface": Place(("Seal",), "view { text }"),
    "enum": Place(("Grade",), "grade"),
    "scalar": Place(("Stamp",), "stamp"),
    "root type": Place(_roots(""), "secret"),
    "root field": Place(_roots(*_FIELDS), "secret"),
    "default": Place((), "secret"),
}
SWITCHED = "($yes: Boolean! = true, $no: Boolean = false, $it: Boolean!)"
SHAPES: Mapping[str, str] = {
    "alias": "{ a: box { id b: LEAF } }",
    "inline fragment": "{ box { id ... on Box { LEAF } ... on Node { __typename } } }",
    "inline fragment without a type": "{ ... { box { ... { LEAF } } } }",
    "named fragment": "{ box { ...F } } fragment F on Box { id LEAF }",
    "nested fragments": "{ box { ...G } } fragment F on Node { LEAF } fragment G on Box { ... { ...F } id }",
    "repeated fragment": "{ box { ...F id ...F ... on Box { ...F } } } fragment F on Node { LEAF }",
    "merged fields": "{ box { id } ...R box { again: id } } fragment R on ROOT { box { LEAF } }",
    "interface": "{ node { __typename LEAF } }",
    "condition on an interface": "{ node { id ... on Box { LEAF } } }",
    "union": "{ thing { __typename ... on Box { LEAF } ... on Open { id } } }",
    "list": "{ boxes { id LEAF } }",
    "list of an interface": "{ nodes { id ... on Box { LEAF } } }",
    "list of lists": "{ grid { id LEAF } }",
    "list that can not be null inside": "{ strict { id LEAF } }",
    "non-null once": "{ depth1 { id LEAF } }",
    "non-null twice": "{ depth2 { below { id LEAF } } }",
    "non-null three times": "{ depth3 { below { below { id LEAF } } } }",
    "skip": SWITCHED + "{ depth1 { id ... @skip(if: $it) { LEAF } } node { id @skip(if: $yes) ...F } }"
    " fragment F on Node { __typename @skip(if: $no) }",
    "include": SWITCHED + "{ depth1 { id ...F @include(if: $it) } } fragment F on Tight { LEAF x: id @include(if: $yes)"
    " y: id @include(if: $no) }",
    "literals": "{ box { id LEAF @skip(if: true) ... @include(if: false) { LEAF } } }",
    "variables": SWITCHED + "{ depth2 { below { id @include(if: $yes) ... @skip(if: $no) { x: id ... @include(if: $it)"
    " { LEAF } } } } }",
}


@functools.cache
def document_of(leaf: str, shape: str, operation: str) -> DocumentNode:
    """The operation; a subscription has one root field. It is parsed once, and used with many schemas."""
    text = SHAPES[shape]
    # A directive stands before what is selected.
    name, _, below = leaf.partition(" ")
    text = text.replace("LEAF @skip(if: true)", f"{name} @skip(if: true) {below}").replace("LEAF", leaf)
    if operation == "subscription":
        text = text.replace(" node { id @skip(if: $yes) ...F }", " ... { depth1 { id @skip(if: $yes) ...F } }")
        text = text.replace(
            "fragment F on Node { __typename @skip(if: $no) }", "fragment F on Tight { x: id @skip(if: $no) }"
        )
    document = parse(f"{operation} {text.replace('ROOT', operation.capitalize())}")
    assert validate(stage_of("default", "rules")[0], document) == []
    return document


@functools.cache
def stage_of(name: str, source: str) -> tuple[GraphQLSchema, GraphQLSchema, Stage]:
    """The schema with the rule at a place, said in one of two ways; and protected."""
    coordinates = PLACES[name].coordinates
    sdl = SDL
    if source == "directive":
        for coordinate in coordinates:
            sdl = _with_directive(sdl, coordinate)
        coordinates = ()
    schema, stage = staged(sdl)
    rules = {coordinate: requires(SCOPE) for coordinate in coordinates}
    return schema, protect(schema, rules=rules, on_event=lambda _event: None), stage


def _with_directive(sdl: str, coordinate: str) -> str:
    type_name, _, field = coordinate.partition(".")
    mark = f'@requiresScopes(scopes: [["{SCOPE}"]])'
    lines = sdl.splitlines()
    (number,) = (n for n, line in enumerate(lines) if line.split(" ")[1:2] == [type_name])
    line = lines[number]
    if field:
        parts = line.split(", ")
        (at,) = (n for n, part in enumerate(parts) if part.split(":")[0].split()[-1] == field)
        end = " }" if parts[at].endswith(" }") else ""
        parts[at] = f"{parts[at].removesuffix(' }')} {mark}{end}"
        lines[number] = ", ".join(parts)
    elif "{" in line:
        head, brace, rest = line.partition("{")
        lines[number] = f"{head}{mark} {brace}{rest}"
    else:
        lines[number] = f"{line} {mark}"
    return "\n".join(lines)


def declared_of(name: str) -> Declared:
    """The same for the reference."""
    return Declared({one: [(frozenset({SCOPE}),)] for one in PLACES[name].coordinates})


def _object(type_name: str, text: str = SECRET) -> dict[str, Any]:
    seal = {"__typename": "Seal", "text": text}
    leaves = dict.fromkeys(["secret", "grade", "stamp"], text)
    return {"__typename": type_name, "id": "id", "seal": seal, "view": seal, **leaves}


def _data() -> dict[str, Any]:
    box, open_one, tight = _object("Box"), _object("Open", "OPEN"), _object("Tight")
    depth2 = {"__typename": "Depth2", "below": tight}
    return {
        "box": box,
        "node": box,
        "thing": box,
        "boxes": [box, None, box],
        "nodes": [open_one, box, None, box],
        "grid": [[open_one, box], None, [], [open_one]],
        "strict": [[tight, tight], []],
        "depth1": tight,
        "depth2": depth2,
        "depth3": {"__typename": "Depth3", "below": depth2},
    }


DATA = _data()
