"""A copy of a schema whose fields and abstract types can be given other resolvers; the given one stays as it is.

Objects, interfaces and unions are copied; scalars, enums, inputs and directives are shared. graphql-core's own
ways do not do it: `GraphQLSchema(**schema.to_kwargs())` shares the types, and `copy.deepcopy` fails on Strawberry's
and Graphene's (see the design notes).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    is_introspection_type,
)
from graphql.type.schema import InterfaceImplementations

__all__ = ["clone_schema"]

ChangeField: TypeAlias = Callable[[str, str, GraphQLField], None]
ChangeAbstract: TypeAlias = Callable[[Any, Any], None]


def clone_schema(schema: GraphQLSchema, change_field: ChangeField, change_abstract: ChangeAbstract) -> GraphQLSchema:
    """Copy a schema.

    Args:
        schema: Not changed.
        change_field: Told of each field of each object type in the copy, which it may change: type, name, field.
        change_abstract: Told of each interface and union, the original and the copy, which it may change.
    """
    composite = GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType
    copies: dict[str, Any] = {
        name: _shell(named)
        for name, named in schema.type_map.items()
        if isinstance(named, composite) and not is_introspection_type(named)
    }

    def mapped(given: Any) -> Any:
        if isinstance(given, GraphQLNonNull):
            return GraphQLNonNull(mapped(given.of_type))
        if isinstance(given, GraphQLList):
            return GraphQLList(mapped(given.of_type))
        return copies.get(given.name, given)

    for name, shell in copies.items():
        original = schema.type_map[name]
        if isinstance(original, GraphQLUnionType):
            shell.types = tuple(mapped(one) for one in original.types)
            change_abstract(original, shell)
            continue
        fields = {}
        for field_name, field in original.fields.items():  # type: ignore[attr-defined]
            fields[field_name] = made = copy.copy(field)
            made.type = mapped(field.type)
            if isinstance(original, GraphQLObjectType):
                change_field(name, field_name, made)
        shell.fields = fields
        shell.interfaces = tuple(mapped(one) for one in original.interfaces)  # type: ignore[attr-defined]
        if isinstance(original, GraphQLInterfaceType):
            change_abstract(original, shell)
    return _schema_of(schema, copies)


def _shell(original: Any) -> Any:
    shell = object.__new__(type(original))
    shell.__dict__.update(original.__dict__)
    return shell


def _schema_of(schema: GraphQLSchema, copies: dict[str, Any]) -> GraphQLSchema:
    def mapped(named: GraphQLNamedType | None) -> Any:
        return None if named is None else copies.get(named.name, named)

    clone = _shell(schema)
    clone.query_type = mapped(schema.query_type)
    clone.mutation_type = mapped(schema.mutation_type)
    clone.subscription_type = mapped(schema.subscription_type)
    clone.type_map = {name: copies.get(name, named) for name, named in schema.type_map.items()}
    clone._implementations_map = {
        name: InterfaceImplementations(
            objects=[mapped(one) for one in found.objects], interfaces=[mapped(one) for one in found.interfaces]
        )
        for name, found in schema._implementations_map.items()
    }
    clone._sub_type_map = {}
    clone.extensions = dict(schema.extensions or {})
    return clone  # type: ignore[no-any-return]
