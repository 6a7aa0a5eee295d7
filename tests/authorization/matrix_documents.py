"""Operations for a schema, drawn: aliases, fragments of all kinds, fields that merge, skip and include.

A response key says the field, its shape and its arguments, so that whatever merges may: documents are valid as drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_composite_type,
)

DEEPEST = 7
SWITCHES = ("v0", "v1", "v2")
DECLARED = {"v0": "Boolean! = true", "v1": "Boolean! = false", "v2": "Boolean!"}


@dataclass(frozen=True)
class Asked:
    """A document, its operations by name with their kinds, and the variables of each request."""

    text: str
    operations: Mapping[str, str]
    variables: tuple[dict[str, Any], ...]


class _Writer:
    """Writes one document."""

    def __init__(self, dice: Random, schema: GraphQLSchema, *, shares_paths: bool) -> None:
        self._dice = dice
        self._schema = schema
        self._shares_paths = shares_paths
        self._conditions = [
            one
            for name, one in schema.type_map.items()
            if is_composite_type(one) and not name.startswith("__") and self._possible(one)
        ]
        self.fragments: dict[str, tuple[str, str]] = {}
        self._left = 28

    def _one_in(self, number: int) -> bool:
        return self._dice.randrange(number) == 0

    def _possible(self, named: Any) -> set[str]:
        if isinstance(named, GraphQLInterfaceType | GraphQLUnionType):
            return {one.name for one in self._schema.get_possible_types(named)}
        return {named.name}

    def selections(self, static: Any, depth: int) -> str:
        """A selection set, with its braces."""
        count = self._dice.randint(1, 3 if depth and self._left > 0 else 1)
        return "{ " + " ".join(self._selection(static, depth) for _ in range(count)) + " }"

    def root_of_subscription(self, root: GraphQLObjectType) -> str:
        """One field, perhaps asked for twice, and in a fragment."""
        name = self._dice.choice(sorted(root.fields))
        style = self._dice.randint(0, 2)

        def once() -> str:
            return self._field(root, name, root.fields[name], DEEPEST, style)

        form = self._dice.randint(0, 4)
        if form == 0:
            return f"{{ {once()} {once()} }}"
        if form == 1:
            return f"{{ ... on {root.name} {{ {once()} }} }}"
        if form == 2:
            return f"{{ {once()} ... {{ {once()} }} }}"
        if form == 3:
            body = f"{{ {once()} }}"
            name_of_it = f"F{len(self.fragments)}"
            self.fragments[name_of_it] = (root.name, body)
            return f"{{ {once()} ...{name_of_it} ...{name_of_it} }}"
        return f"{{ {once()} }}"

    def _selection(self, static: Any, depth: int) -> str:
        self._left -= 1
        kind = self._dice.random()
        fields = getattr(static, "fields", {})
        if kind < 0.65 and fields:
            below = [name for name, one in fields.items() if is_composite_type(get_named_type(one.type))]
            leaves = [name for name in fields if name not in below]
            is_deeper = depth > 0 and self._left > 0 and (not leaves or self._dice.random() < 0.6)
            names = below if is_deeper and below else leaves
            if names:
                name = self._dice.choice(sorted(names))
                style = self._dice.choice((0, 0, 0, 0, 1, 2))
                return self._field(static, name, fields[name], depth, style, self._switch())
        if kind < 0.72 or not depth or self._left <= 0:
            return "__typename" if self._one_in(2) else f"__typename{self._switch()}"
        if kind < 0.75:
            return f"...{self._switch()} {self.selections(static, depth - 1)}"
        return self._fragment(static, depth)

    def _fragment(self, static: Any, depth: int) -> str:
        here = self._possible(static)
        if self._shares_paths and len(here) > 1 and depth > 2 and self._one_in(2):
            return self._twins([self._schema.type_map[name] for name in self._dice.sample(sorted(here), 2)], depth)
        fitting = [one for one in self._conditions if here & self._possible(one)]
        condition = self._dice.choice(fitting)
        if self._one_in(2):
            return f"... on {condition.name}{self._switch()} {self.selections(condition, depth - 1)}"
        known = [name for name, (on, _) in self.fragments.items() if here & self._possible(self._schema.type_map[on])]
        if known and not self._one_in(3):
            spread = f"...{self._dice.choice(known)}{self._switch()}"
            return f"{spread} {spread}" if self._one_in(4) else spread
        body = self.selections(condition, depth - 1)
        name = f"F{len(self.fragments)}"
        self.fragments[name] = (condition.name, body)
        return f"...{name}{self._switch()}"

    def _twins(self, types: list[Any], depth: int) -> str:
        """Two objects that are asked for the same fields, and below those for different things."""
        chains = [""] * len(types)
        statics = types
        for _ in range(2):
            shared = [name for name in getattr(statics[0], "fields", ()) if _is_shared(name, statics)]
            if not shared:
                break
            name = self._dice.choice(shared)
            pairs = zip(chains, statics, strict=True)
            chains = [f"{chain}{{ {_key(name, one.fields[name])}: {name} " for chain, one in pairs]
            statics = [field_type(one.fields[name]) for one in statics]
            depth -= 1
        ends = [self.selections(one, depth) for one in statics]
        both = zip(types, chains, ends, strict=True)
        return " ".join(f"... on {one.name} {chain}{end}{' }' * chain.count('{')}" for one, chain, end in both)

    def _field(self, static: Any, name: str, field: GraphQLField, depth: int, style: int, switch: str = "") -> str:
        is_composite = is_composite_type(get_named_type(field.type))
        key = _key(name, field)
        arguments = ""
        if style == 1:
            key += "_one"
            arguments = "(n: 1)"
        elif style == 2:
            key += "_again"
        if is_composite and not self._shares_paths:
            key += f"_{static.name}"
        written = f"{key}: {name}{arguments}{switch}"
        return f"{written} {self.selections(field_type(field), depth - 1)}" if is_composite else written

    def _switch(self) -> str:
        if self._dice.randint(0, 5):
            return ""
        name = self._dice.choice(["skip", "include"])
        value = self._dice.choice([*(f"${one}" for one in SWITCHES), "true", "false"])
        mark = f" @{name}(if: {value})"
        if self._one_in(4):
            other = "include" if name == "skip" else "skip"
            mark += f" @{other}(if: ${self._dice.choice(SWITCHES)})"
        return mark


def _key(name: str, field: GraphQLField) -> str:
    return name + re.sub(r"\w", "", str(field.type)).translate({91: "L", 93: "l", 33: "N"})


def _is_shared(name: str, statics: list[Any]) -> bool:
    """Whether all of these have a field of objects of this name, and of one shape."""
    fields = [getattr(one, "fields", {}).get(name) for one in statics]
    if not all(one is not None and is_composite_type(field_type(one)) for one in fields):
        return False
    return len({_key(name, one) for one in fields if one is not None}) == 1


def field_type(field: GraphQLField) -> Any:
    """The named type that a field returns."""
    return get_named_type(field.type)


def document(dice: Random, schema: GraphQLSchema, *, shares_paths: bool = True) -> Asked:
    """A document of one operation, sometimes two.

    Args:
        dice: What decides.
        schema: For which it is valid.
        shares_paths: Whether one response path may lead through objects of different types that were asked for
            different things.
    """
    writer = _Writer(dice, schema, shares_paths=shares_paths)
    roots = {"query": schema.query_type, "mutation": schema.mutation_type, "subscription": schema.subscription_type}
    kinds = ("query", "query", "query", "mutation", "subscription")
    operations: dict[str, str] = {}
    bodies = {}
    for number in range(1 if dice.random() < 0.8 else 2):
        name = f"O{number}"
        operations[name] = kind = dice.choice(kinds)
        root: Any = roots[kind]
        is_source = kind == "subscription"
        bodies[name] = writer.root_of_subscription(root) if is_source else writer.selections(root, DEEPEST)
    parts = []
    for name, kind in operations.items():
        used = _switches(bodies[name], writer.fragments, set())
        signature = "(" + ", ".join(f"${one}: {DECLARED[one]}" for one in sorted(used)) + ")" if used else ""
        parts.append(f"{kind} {name}{signature} {bodies[name]}")
    parts += [f"fragment {name} on {on} {body}" for name, (on, body) in writer.fragments.items()]
    sent = [_variables(dice) for _ in range(dice.randint(1, 3))] if "$" in "".join(parts) else [{}]
    return Asked("\n".join(parts), operations, tuple(sent))


def _variables(dice: Random) -> dict[str, bool]:
    """Those that have defaults may be left out."""
    return {name: dice.random() < 0.5 for name in SWITCHES if name == "v2" or dice.random() < 0.7}


def _switches(body: str, fragments: Mapping[str, tuple[str, str]], seen: set[str]) -> set[str]:
    found = set(re.findall(r"\$(v\d)", body))
    for name in re.findall(r"\.\.\.(F\w+)", body):
        if name not in seen:
            seen.add(name)
            found |= _switches(fragments[name][1], fragments, seen)
    return found
