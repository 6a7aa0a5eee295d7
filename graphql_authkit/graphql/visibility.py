"""`introspection="visible"`: a schema in which each caller finds what they may see, and nothing else exists.

What is hidden is neither listed, nor suggested, nor told from what never was: validation, suggestions and
introspection work on a schema without it. There is one for each set of needs that callers hold, made when the
first of them comes. Policies and row policies are not known before an operation, and hide nothing.
"""

from __future__ import annotations

from typing import Any

from graphql import (
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    assert_valid_schema,
    get_named_type,
    is_introspection_type,
)
from graphql.type.schema import InterfaceImplementations

from .._cache import GenerationalCache
from ..authenticator import current_auth
from ..authorization.index import AuthIndex, Guard
from ..authorization.rules import KNOWN, Need
from ..errors import ConfigurationError
from ..model import AuthContext
from .cloning import clone_schema

__all__ = ["Visibility", "visible_to"]

SCHEMAS = 64  # at least so many of those used of late are kept
_FOR_EACH = ("query_type", "mutation_type", "subscription_type", "type_map", "_implementations_map", "_sub_type_map")


class Visibility:
    """What each caller sees of a protected schema.

    Args:
        index: Of its rules.
        schema: Protected.
    """

    def __init__(self, index: AuthIndex, schema: GraphQLSchema) -> None:
        try:
            assert_valid_schema(schema)  # remembered, by its copies too, of which an empty one need not be
        except TypeError as error:
            raise ConfigurationError(f"the schema is not valid: {error}") from error
        self._index = index
        self._schema = schema
        self._scopes = frozenset(need[6:] for need in index.needs if need.startswith("scope:"))
        self._made: GenerationalCache[tuple[bool, frozenset[str]], GraphQLSchema] = GenerationalCache(SCHEMAS)

    def to(self, auth: AuthContext) -> GraphQLSchema:
        """The schema that this caller finds."""
        key = auth.is_authenticated, (self._scopes & auth.scopes if auth.is_authenticated else frozenset())
        made = self._made.get(key)
        if made is None:
            made = self._make({f"scope:{name}" for name in key[1]} | ({KNOWN} if key[0] else set()))
            self._made.put(key, made)
        return made

    def for_each(self) -> GraphQLSchema:
        """A schema that is to each request what its caller finds: `current_auth()`, whatever executes it."""
        kind: Any = type("VisibleSchema", (type(self._schema),), {name: _of_caller(name) for name in _FOR_EACH})
        schema = object.__new__(kind)
        schema.__dict__.update(self._schema.__dict__, _graphql_authkit_visibility=self)
        made: GraphQLSchema = schema
        return made

    def _make(self, held: set[Need]) -> GraphQLSchema:
        schema = clone_schema(self._schema, lambda *_: None, lambda *_: None)
        pruning = _Pruning(self._index, schema, held)
        pruning.prune()
        return schema


def _of_caller(name: str) -> property:
    def of_caller(self: Any) -> Any:
        return getattr(self._graphql_authkit_visibility.to(current_auth()), name)

    return property(of_caller)


def visible_to(schema: GraphQLSchema, auth: AuthContext) -> GraphQLSchema:
    """What a caller finds of a schema that was protected with `introspection="visible"`; any other, as it is.

    For servers of one's own: validate, and execute, against this. Behind the middleware the protected schema
    is so by itself, for `current_auth()`.
    """
    visibility = getattr(schema, "_graphql_authkit_visibility", None)
    return visibility.to(auth) if isinstance(visibility, Visibility) else schema


class _Pruning:
    """Takes what is hidden out of a copy of a schema."""

    def __init__(self, index: AuthIndex, schema: GraphQLSchema, held: set[Need]) -> None:
        self._index = index
        self._schema = schema
        self._held = held
        self._roots = {one.name for one in (schema.query_type,) if one is not None}

    def prune(self) -> None:
        gone = self._hidden_types()
        for name, named in self._composites():
            if isinstance(named, GraphQLObjectType):
                named.fields = {key: one for key, one in named.fields.items() if not self._is_hidden(name, key)}
        self._hide_fields_of_interfaces()
        is_shrinking = True
        while is_shrinking:
            more = {name for name, named in self._composites() if self._is_empty(name, named, gone)}
            for _, named in self._composites():
                if not isinstance(named, GraphQLUnionType):
                    named.fields = {
                        key: one
                        for key, one in named.fields.items()
                        if get_named_type(one.type).name not in gone | more
                    }
            is_shrinking = not more <= gone
            gone |= more
        self._drop(gone)

    def _composites(self) -> list[tuple[str, Any]]:
        kinds = GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType
        return [
            (name, named)
            for name, named in self._schema.type_map.items()
            if isinstance(named, kinds) and not is_introspection_type(named)
        ]

    def _denies(self, guard: Guard | None) -> bool:
        if guard is None:
            return False
        undecided = {need for need in guard.rule.needs if need.startswith(("policy:", "row:"))}
        return (KNOWN not in self._held and not guard.rule.is_public) or not guard.rule.holds(self._held | undecided)

    def _is_hidden(self, type_name: str, name: str) -> bool:
        return self._denies(self._index.fields.get((type_name, name)))

    def _hidden_types(self) -> set[str]:
        return {name for name, guard in self._index.types.items() if self._denies(guard)} - self._roots

    def _hide_fields_of_interfaces(self) -> None:
        """A field that no type behind the interface shows is not shown on it."""
        for _, named in self._composites():
            if isinstance(named, GraphQLInterfaceType):
                behind = self._schema.get_possible_types(named)
                named.fields = {
                    key: one for key, one in named.fields.items() if any(key in each.fields for each in behind)
                }

    def _is_empty(self, name: str, named: Any, gone: set[str]) -> bool:
        if name in self._roots:
            return False
        if isinstance(named, GraphQLObjectType):
            return not named.fields
        return all(one.name in gone for one in self._schema.get_possible_types(named)) or (
            isinstance(named, GraphQLInterfaceType) and not named.fields
        )

    def _drop(self, gone: set[str]) -> None:
        schema = self._schema
        for _, named in self._composites():
            if isinstance(named, GraphQLUnionType):
                named.types = tuple(one for one in named.types if one.name not in gone)
            else:
                named.interfaces = tuple(one for one in named.interfaces if one.name not in gone)
        schema._implementations_map = {
            name: InterfaceImplementations(
                objects=[one for one in found.objects if one.name not in gone],
                interfaces=[one for one in found.interfaces if one.name not in gone],
            )
            for name, found in schema._implementations_map.items()
            if name not in gone
        }
        for root in ("mutation_type", "subscription_type"):
            named = getattr(schema, root)
            if named is not None and named.name in gone:
                setattr(schema, root, None)
        kept = self._reachable()
        schema.type_map = {name: named for name, named in schema.type_map.items() if name in kept}
        schema._sub_type_map = {}

    def _reachable(self) -> set[str]:
        """What can still be come upon: the rest would tell of what is hidden."""
        schema = self._schema
        found: set[str] = set()
        waiting: list[GraphQLNamedType | None] = [schema.query_type, schema.mutation_type, schema.subscription_type]
        waiting += [get_named_type(one.type) for directive in schema.directives for one in directive.args.values()]
        waiting += [named for named in schema.type_map.values() if is_introspection_type(named)]
        while waiting:
            named: Any = waiting.pop()
            if named is None or named.name in found:
                continue
            found.add(named.name)
            for field in getattr(named, "fields", {}).values():
                waiting.append(get_named_type(field.type))
                waiting += [get_named_type(one.type) for one in getattr(field, "args", {}).values()]
            waiting += getattr(named, "interfaces", ())
            if isinstance(named, GraphQLInterfaceType | GraphQLUnionType):
                waiting += schema.get_possible_types(named)
        return found
