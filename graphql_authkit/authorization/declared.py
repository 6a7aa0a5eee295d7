"""Where rules come from: SDL directives, `extensions`, and a mapping of coordinates. Whatever is doubtful is refused.

A rule that is not understood, or that stands where it cannot hold, would leave open what its author believes
to be closed: it is an error while building.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    is_introspection_type,
    is_specified_scalar_type,
)
from graphql.utilities import value_from_ast_untyped

from ..errors import ConfigurationError
from .rules import Rule, authenticated, policy, public, requires, row_policy

__all__ = ["EXTENSION", "Declaration", "declared_rules"]

EXTENSION = "graphql_authkit"
"""The key of `extensions` under which a field or type may hold a Rule."""

_OURS: Mapping[str, tuple[Callable[..., Rule], str | None]] = {
    "public": (public, None),
    "authenticated": (authenticated, None),
    "requiresScopes": (requires, "scopes"),
    "policy": (policy, "policies"),
    "rowPolicy": (row_policy, "policies"),
}
_SAME = {name: name for name in _OURS}
_ALIKE = (
    *(name.lower() for name in _OURS),
    *("policies", "hasscope", "hasrole", "isauthenticated", "requiresauth", "authorized", "authorize"),
)
_SUSPECT = frozenset({"auth", "roles", "role", "scope", "scopes", "guard", "guarded", "protected", "restricted"})
_OF_FEDERATION = frozenset({"link", "composeDirective"})  # which subgraphs use without defining them
_SPECIFIED = frozenset({"deprecated", "specifiedBy", "oneOf"})


class Applied(NamedTuple):
    """A directive where it stands; not of SDL if a framework keeps it in its own way."""

    name: str
    arguments: Mapping[str, Any]
    is_sdl: bool


class Declaration(NamedTuple):
    """A rule as somebody wrote it, and where."""

    rule: Rule
    source: str


def declared_rules(
    schema: GraphQLSchema, rules: Mapping[str, Rule], directives: Mapping[str, str | None]
) -> dict[str, list[Declaration]]:
    """Every rule of a schema, by coordinate: `Type`, or `Type.field`.

    Args:
        schema: Whose.
        rules: By coordinate, besides what the schema says.
        directives: Names of directives in this schema, and ours for which each stands; None for one that is no rule.

    Raises:
        ConfigurationError: See the messages.
    """
    unknown = sorted({name for name in directives.values() if name is not None} - _OURS.keys())
    if unknown:
        raise ConfigurationError(f"directives= maps to {unknown}: there are {sorted(_OURS)}")
    renamed = {name: ours for name, ours in directives.items() if ours is not None}
    others = {name for name, ours in directives.items() if ours is None}
    reader = _Reader(schema, {name: ours for name, ours in {**_SAME, **renamed}.items() if name not in others}, others)
    found = reader.read()
    for coordinate, rule in rules.items():
        if not isinstance(rule, Rule):
            raise ConfigurationError(f"{coordinate}: a {type(rule).__name__} is no Rule")
        if coordinate not in reader.coordinates:
            raise ConfigurationError(f"{coordinate}: the schema has no such field, object, interface, enum or scalar")
        found.setdefault(coordinate, []).append(Declaration(rule, "rules="))
    for coordinate, declared in found.items():
        if "." not in coordinate and any(need.startswith("row:") for one in declared for need in one.rule.needs):
            raise ConfigurationError(f"{coordinate}: a row policy holds on fields; a type has no parent")
        if any(one.rule.is_public for one in declared):
            _check_public(coordinate, declared)
    return found


def _check_public(coordinate: str, declared: list[Declaration]) -> None:
    if "." not in coordinate:
        raise ConfigurationError(f"{coordinate}: only a field can be public, each one for itself")
    if not all(one.rule.is_public for one in declared):
        raise ConfigurationError(f"{coordinate}: public, and guarded too: which?")


class _Reader:
    """Reads one schema."""

    def __init__(self, schema: GraphQLSchema, names: Mapping[str, str], others: Collection[str]) -> None:
        self._schema = schema
        self._names = names
        self._others = others
        self.coordinates: set[str] = set()
        self._found: dict[str, list[Declaration]] = {}

    def read(self) -> dict[str, list[Declaration]]:
        self._refuse_on("the schema", self._schema)
        self._check_imports()
        for named in self._schema.type_map.values():
            if not is_introspection_type(named):
                self._read_type(named)
        return self._found

    def _read_type(self, named: GraphQLNamedType) -> None:
        if isinstance(named, GraphQLUnionType):
            self._refuse_on(f"the union {named.name}", named)
            return
        if isinstance(named, GraphQLInputObjectType):
            self._refuse_on(f"the input {named.name}", named)
            for name, field in named.fields.items():
                self._refuse_on(f"the input field {named.name}.{name}", field)
            return
        if isinstance(named, GraphQLScalarType) and is_specified_scalar_type(named):
            return
        self._read_element(named.name, named)
        if isinstance(named, GraphQLObjectType | GraphQLInterfaceType):
            for name, field in named.fields.items():
                self._read_element(f"{named.name}.{name}", field)
                self._check_arguments(f"{named.name}.{name}", field)
        for name, value in getattr(named, "values", {}).items():
            self._refuse_on(f"the enum value {named.name}.{name}", value)

    def _read_element(self, coordinate: str, element: Any) -> None:
        self.coordinates.add(coordinate)
        declared = [Declaration(self._rule(coordinate, one), f"@{one.name}") for one in self._ours_on(element)]
        given = (getattr(element, "extensions", None) or {}).get(EXTENSION, ())
        for rule in given if isinstance(given, list | tuple) else (given,):
            if not isinstance(rule, Rule):
                raise ConfigurationError(f"{coordinate}: extensions[{EXTENSION!r}] holds a {type(rule).__name__}")
            declared.append(Declaration(rule, "extensions"))
        if declared:
            self._found[coordinate] = declared

    def _rule(self, coordinate: str, applied: Applied) -> Rule:
        make, argument = _OURS[self._names[applied.name]]
        given = dict(applied.arguments)
        is_silent = given.pop("silent", False)
        groups = () if argument is None else given.pop(argument, None)
        if given or is_silent not in (True, False) or not isinstance(groups, list | tuple):
            wants = f"{argument}: [[…]]" if argument else "no argument"
            raise ConfigurationError(f"{coordinate}: @{applied.name} takes {wants}, and `silent`")
        if argument is not None and not all(isinstance(group, list) and group for group in groups):
            raise ConfigurationError(f"{coordinate}: @{applied.name} takes groups that are not empty, [[…], […]]")
        try:
            rule = make(*groups)
        except ConfigurationError as error:
            raise ConfigurationError(f"{coordinate}: {error}") from None
        return rule.silent() if is_silent else rule

    def _check_arguments(self, coordinate: str, field: GraphQLField) -> None:
        for name, argument in field.args.items():
            self._refuse_on(f"the argument {coordinate}({name}:)", argument)

    def _refuse_on(self, where: str, element: Any) -> None:
        for applied in self._ours_on(element):
            raise ConfigurationError(f"@{applied.name} cannot hold on {where}")
        if EXTENSION in (getattr(element, "extensions", None) or {}):
            raise ConfigurationError(f"a rule cannot hold on {where}")

    def _ours_on(self, element: Any) -> Iterator[Applied]:
        """Those of our directives that stand here; one that looks like ours and is not is an error."""
        for applied in _directives_on(element):
            name = applied.name
            if name in self._names:
                yield applied
            elif name in self._others:
                continue
            elif _looks_like_a_rule(name):
                raise ConfigurationError(
                    f"@{name} looks like a rule, and is none of {sorted(self._names)}: say which it is, "
                    f"directives={{{name!r}: 'authenticated'}}, or None for none"
                )
            elif (
                applied.is_sdl
                and self._schema.get_directive(name) is None
                and name not in _OF_FEDERATION
                and "__" not in name
            ):
                raise ConfigurationError(f"@{name} is used, and defined nowhere: is it a renamed rule? Say directives=")

    def _check_imports(self) -> None:
        """A federated schema may import our directives under other names, which then mean nothing here."""
        for applied in _directives_on(self._schema):
            for entry in _imports_of(applied):
                name = str(entry.get("name", "")).lstrip("@")
                alias = str(entry.get("as", name)).lstrip("@")
                if name in _OURS and self._names.get(alias) != name:
                    raise ConfigurationError(f"@{name} is imported as @{alias}: say directives={{{alias!r}: {name!r}}}")


def _looks_like_a_rule(name: str) -> bool:
    """Whether its author may believe that it guards something."""
    plain = name.rpartition("__")[2].replace("_", "").lower()
    return plain in _SUSPECT or bool(difflib.get_close_matches(plain, _ALIKE, 1, 0.8))


def _imports_of(applied: Applied) -> list[dict[str, Any]]:
    if applied.name != "link":
        return []
    return [entry for entry in applied.arguments.get("import") or () if isinstance(entry, dict)]


def _directives_on(element: Any) -> Iterator[Applied]:
    nodes = [getattr(element, "ast_node", None), *(getattr(element, "extension_ast_nodes", None) or ())]
    for node in nodes:
        for directive in () if node is None else node.directives or ():
            if directive.name.value not in _SPECIFIED:
                given = {one.name.value: value_from_ast_untyped(one.value) for one in directive.arguments or ()}
                yield Applied(directive.name.value, given, True)
    # Strawberry's schemas come from no SDL; it keeps directives as objects of classes that say their names.
    definition = (getattr(element, "extensions", None) or {}).get("strawberry-definition")
    for one in getattr(definition, "directives", None) or ():
        described = getattr(type(one), "__strawberry_directive__", None)
        if described is not None:
            name = described.graphql_name or _camel(described.python_name)
            given = {_camel(field.python_name): getattr(one, field.python_name) for field in described.fields}
            yield Applied(name, {key: value for key, value in given.items() if _is_given(value)}, False)


def _is_given(value: object) -> bool:
    return value is not None and type(value).__name__ != "UnsetType"


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first[:1].lower() + first[1:] + "".join(other.capitalize() for other in others)
