"""`__schema` and `__type`: who may ask for them, under whatever executes the schema.

They belong to no schema, since graphql-core has one definition of each for all; an operation that asks for nothing
else meets no wrapped field. Their resolvers are the one place where both versions of it ask. They are replaced once, by
ones that look whether the schema is protected; others go on as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphql.type.introspection import SchemaMetaFieldDef, TypeMetaFieldDef

from .decisions import ANY, KEY, Info
from .protection import Asked, Protection, protection_of

__all__ = ["watch"]

_watched: set[str] = set()


def watch() -> None:
    """From now on, ask protected schemas before they are shown."""
    for name, definition in (("__schema", SchemaMetaFieldDef), ("__type", TypeMetaFieldDef)):
        if name not in _watched and definition.resolve is not None:
            _watched.add(name)
            definition.resolve = _watching(definition.resolve, is_required=name == "__schema")


def _watching(inner: Callable[..., Any], *, is_required: bool) -> Callable[..., Any]:
    def resolve(source: Any, info: Info, /, **arguments: Any) -> Any:
        protection = protection_of(info.schema)
        if protection is None or protection.index.introspection.rule.is_public:
            return inner(source, info, **arguments)
        field = Asked(inner, source, info, arguments, is_required, ANY, info.path.prev is None)
        return _resolve(protection, field)

    return resolve


def _resolve(protection: Protection, field: Asked) -> Any:
    if protection.allows_introspection(field.info):
        return field.resolve()
    return protection.resolve(field.info.fragments.get(KEY), field._replace(inner=protection.refuse_introspection))
