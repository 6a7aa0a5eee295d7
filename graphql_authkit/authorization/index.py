"""The rules of a schema, worked out once: what guards each field of each object type, through whatever leads to it.

What holds for `T.f`: the rules of `T`, of `T.f`, of each interface of `T` and of its field `f`, and of what the
field returns, be it an object, an interface, an enum or a scalar. Unions, and interfaces whose objects differ,
are judged by the object found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple, TypeAlias

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_introspection_type,
    is_non_null_type,
)

from ..errors import ConfigurationError
from .declared import declared_rules
from .rules import AUTHENTICATED, NOBODY, PUBLIC, Need, Rule

__all__ = ["AuthIndex", "Default", "Guard", "Introspection", "Part", "Verdict"]

Default: TypeAlias = Literal["authenticated", "public", "deny"]
Introspection: TypeAlias = Literal["all", "authenticated", "none", "visible"]
_INTROSPECTION: Mapping[str, Rule] = {"all": PUBLIC, "authenticated": AUTHENTICATED, "none": NOBODY, "visible": PUBLIC}
Verdict: TypeAlias = Literal["allow", "deny", "row"]


class Part(NamedTuple):
    """One of the rules that guard a thing: of which coordinate it is, and who said so."""

    coordinate: str
    rule: Rule
    source: str


class Guard(NamedTuple):
    """All rules that guard a thing, and what they come to."""

    rule: Rule
    parts: tuple[Part, ...]

    def judge(self, held: AbstractSet[Need]) -> Verdict:
        """Whether who holds this may see it; "row" where each object decides."""
        if self.rule.holds(held):
            return "allow"
        may = any(all(need in held or need.startswith("row:") for need in one) for one in self.rule.alternatives)
        return "row" if may else "deny"

    def failing(self, held: AbstractSet[Need]) -> list[Part]:
        """The rules that say no."""
        return [part for part in self.parts if Guard(part.rule, ()).judge(held) == "deny"]

    @property
    def is_silent(self) -> bool:
        return any(part.rule.is_silent for part in self.parts)


UNGUARDED = Guard(PUBLIC, ())


class AuthIndex:
    """What guards what, in one schema.

    Args:
        schema: Unprotected, or protected: names are all that counts.
        rules: By coordinate, `Type` or `Type.field`, besides what the schema says itself.
        directives: Names of its directives that stand for ours; see `declared_rules`.
        default: For fields of the root types without a rule: "authenticated", "public", or "deny": such a
            field is an error.
        introspection: Who may ask for the schema: "all", "authenticated", "none", or each for what they may see.

    Attributes:
        fields: The guard of each guarded field, by object type and field name.
        types: The guard of each guarded object type.
        numbers: One for each guarded field, by object type and name, and for each guarded type, by type and "".
        touched: Object types from which something guarded can be reached, or that are guarded.

    Raises:
        ConfigurationError: Rules that contradict each other, or that could not be kept.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        *,
        rules: Mapping[str, Rule] | None = None,
        directives: Mapping[str, str | None] | None = None,
        default: Default = "authenticated",
        introspection: Introspection = "all",
    ) -> None:
        if introspection not in _INTROSPECTION:
            raise ConfigurationError(f"introspection is one of {sorted(_INTROSPECTION)}")
        self.introspection = Guard(
            _INTROSPECTION[introspection], (Part("__schema", _INTROSPECTION[introspection], "introspection="),)
        )
        if default not in ("authenticated", "public", "deny"):
            raise ConfigurationError('default is "authenticated", "public" or "deny"')
        self.schema = schema
        self._declared = declared_rules(schema, rules or {}, directives or {})
        self._default = default
        self.root_names = {
            root.name for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root
        }
        self._objects = {
            name: named
            for name, named in schema.type_map.items()
            if isinstance(named, GraphQLObjectType) and not is_introspection_type(named)
        }
        self.types = {name: guard for name, named in self._objects.items() if (guard := self._of_type(named)).parts}
        self.fields: dict[tuple[str, str], Guard] = {}
        self._undecided: list[str] = []
        for name, named in self._objects.items():
            for field_name, field in named.fields.items():
                guard = self._of_field(named, field_name, field)
                if guard.parts:
                    self.fields[name, field_name] = guard
        if self._undecided:
            raise ConfigurationError(f'default="deny", and these have no rule: {", ".join(self._undecided)}')
        self._check_silence()
        self.touched = self._touched()
        guarded = [*self.fields, *((name, "") for name in self.types)]
        self.numbers = {coordinate: number for number, coordinate in enumerate(guarded)}

    @property
    def needs(self) -> frozenset[Need]:
        """Everything that any rule mentions."""
        return frozenset().union(*(guard.rule.needs for guard in (*self.fields.values(), *self.types.values())))

    def possible(self, named: GraphQLNamedType) -> tuple[str, ...]:
        """The object types that a composite type may turn out to be."""
        if isinstance(named, GraphQLObjectType):
            return (named.name,)
        if isinstance(named, GraphQLInterfaceType | GraphQLUnionType):
            return tuple(one.name for one in self.schema.get_possible_types(named))
        return ()

    def reaches(self, named: GraphQLNamedType) -> bool:
        """Whether anything guarded can lie below."""
        return any(name in self.touched for name in self.possible(named))

    def can_vanish(self, named: GraphQLNamedType) -> bool:
        """Whether an object of this type may be null for its own type, or for what lies below it."""
        return not self._vanishing.isdisjoint(self.possible(named))

    def object_fields(self) -> dict[str, tuple[str, ...]]:
        """The fields of each object type."""
        return {name: tuple(named.fields) for name, named in self._objects.items()}

    def is_declared(self, coordinate: str) -> bool:
        """Whether anybody gave this very coordinate a rule."""
        return coordinate in self._declared

    # -------------------------------------------------------------------------------------- building

    def _parts(self, coordinate: str) -> Iterable[Part]:
        return (Part(coordinate, one.rule, one.source) for one in self._declared.get(coordinate, ()))

    def _of_type(self, named: GraphQLObjectType) -> Guard:
        return _together(part for one in (named, *named.interfaces) for part in self._parts(one.name))

    def _of_field(self, parent: GraphQLObjectType, name: str, field: GraphQLField) -> Guard:
        coordinate = f"{parent.name}.{name}"
        declared = self._declared.get(coordinate, [])
        parts = list(self._of_type(parent).parts)
        for interface in parent.interfaces:
            if name in interface.fields:
                parts += self._parts(f"{interface.name}.{name}")
        named = get_named_type(field.type)
        if isinstance(named, GraphQLObjectType):
            parts += self._of_type(named).parts
        else:
            above = named.interfaces if isinstance(named, GraphQLInterfaceType) else ()
            parts += [part for one in (named, *above) for part in self._parts(one.name)]
        if any(one.rule.is_public for one in declared):
            self._check_public(coordinate, parts)
            return UNGUARDED
        parts += self._parts(coordinate)
        if parent.name in self.root_names and not any(part.coordinate in (coordinate, parent.name) for part in parts):
            if self._default == "deny":
                self._undecided.append(coordinate)
            elif self._default == "authenticated":
                parts.append(Part(coordinate, AUTHENTICATED, "default"))
        return _together([part for part in parts if not part.rule.is_public])

    def _check_public(self, coordinate: str, parts: list[Part]) -> None:
        guarding = [part for part in parts if not part.rule.is_public]
        if guarding:
            also = ", ".join(f"{part.coordinate} ({part.rule})" for part in guarding)
            raise ConfigurationError(f"{coordinate} is public, and yet guarded by {also}")

    def _check_silence(self) -> None:
        for (type_name, name), guard in self.fields.items():
            if guard.is_silent and is_non_null_type(self._objects[type_name].fields[name].type):
                raise ConfigurationError(f"{type_name}.{name}: a silent rule needs a field that can be null")
        for type_name, guard in self.types.items():
            if guard.is_silent:
                through = [one.name for one in self._abstract_over(type_name)]
                if through:
                    raise ConfigurationError(
                        f"{type_name}: a silent rule cannot hold on objects reached through {', '.join(through)}: "
                        "whether a row is null would be told by its error"
                    )

    def _abstract_over(self, type_name: str) -> list[GraphQLNamedType]:
        return [
            named
            for named in self.schema.type_map.values()
            if isinstance(named, GraphQLInterfaceType | GraphQLUnionType)
            and type_name in self.possible(named)
            and any(get_named_type(f.type) is named for one in self._objects.values() for f in one.fields.values())
        ]

    def _touched(self) -> frozenset[str]:
        """By going back from what is guarded until nothing new is found."""
        found = {type_name for type_name, _ in self.fields} | self.types.keys()
        vanishing = {
            type_name
            for type_name, name in self.fields
            if isinstance(self._objects[type_name].fields[name].type, GraphQLNonNull)
        } | self.types.keys()
        below = {
            name: [
                (isinstance(f.type, GraphQLNonNull), self.possible(get_named_type(f.type))) for f in t.fields.values()
            ]
            for name, t in self._objects.items()
        }
        is_growing = True
        while is_growing:
            more = {name for name, fields in below.items() if any(not found.isdisjoint(to) for _, to in fields)}
            fall = {
                name
                for name, fields in below.items()
                if any(is_required and not vanishing.isdisjoint(to) for is_required, to in fields)
            }
            is_growing = not (more <= found and fall <= vanishing)
            found |= more
            vanishing |= fall
        self._vanishing = frozenset(vanishing)
        return frozenset(found)


def _together(parts: Iterable[Part]) -> Guard:
    kept = tuple(dict.fromkeys(parts))
    rule = PUBLIC
    for part in kept:
        rule = rule & part.rule
    return Guard(rule, kept)
