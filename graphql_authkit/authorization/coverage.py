"""What guards each coordinate of a schema, and why: for people to read, and for CI to compare."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from ..errors import ConfigurationError
from .index import AuthIndex, Guard
from .rules import KNOWN, PUBLIC, Need

__all__ = ["Coverage", "coverage", "explain", "manifest"]


class Coverage(NamedTuple):
    """One object type, or one field of one.

    Args:
        coordinate: `Type` or `Type.field`.
        rule: What a caller must hold; "public" of root fields that are, "unguarded" of others without a rule.
        why: Which rules that comes of, and where each was said.
    """

    coordinate: str
    rule: str
    why: str


def coverage(index: AuthIndex) -> Iterator[Coverage]:
    """Every object type that is guarded, and every field of every object type, in order."""
    for coordinate, guard in sorted(_guards(index).items()):
        why = ", ".join(f"{part.coordinate}: {part.rule} ({part.source})" for part in guard.parts)
        yield Coverage(coordinate, _shown(index, coordinate, guard), why or _unguarded(index, coordinate))


def manifest(index: AuthIndex, settings: Mapping[str, str]) -> str:
    """The same as text, a line each, after the options of `protect`: to be kept, and to be compared by CI."""
    options = "".join(f"{name}=\t{value}\n" for name, value in settings.items())
    return options + "".join(f"{one.coordinate}\t{one.rule}\t{one.why}\n" for one in coverage(index))


def explain(index: AuthIndex, coordinate: str, scopes: Collection[str] | None) -> str:
    """Why somebody may see a coordinate, or not.

    Args:
        index: Of the schema.
        coordinate: `Type` or `Type.field`.
        scopes: What the caller holds; None for an anonymous one.

    Raises:
        ConfigurationError: No such object type or field.
    """
    guard = _guards(index).get(coordinate)
    if guard is None:
        raise ConfigurationError(f"the schema has no object type or field {coordinate}")
    held: set[Need] = set() if scopes is None else {KNOWN, *(f"scope:{name}" for name in scopes)}
    lines = [f"{coordinate}: {_shown(index, coordinate, guard)}"]
    for part in guard.parts:
        verdict = Guard(part.rule, ()).judge(held)
        said = {"allow": "holds", "deny": "does not hold", "row": "is decided for each object"}[verdict]
        policies = {need for need in part.rule.needs if need.startswith("policy:")}
        if verdict == "deny" and Guard(part.rule, ()).judge(held | policies) != "deny":
            said = "holds if policies= says so"
        lines.append(f"  {part.coordinate} asks for {part.rule} ({part.source}): {said}")
    if not guard.parts:
        lines.append(f"  {_unguarded(index, coordinate)}")
    return "\n".join(lines)


def _guards(index: AuthIndex) -> dict[str, Guard]:
    fields = {
        f"{name}.{field}": index.fields.get((name, field), Guard(PUBLIC, ()))
        for name, fields in index.object_fields().items()
        for field in fields
    }
    return {**index.types, **fields}


def _shown(index: AuthIndex, coordinate: str, guard: Guard) -> str:
    is_root = coordinate.partition(".")[0] in index.root_names
    return str(guard.rule) if guard.parts or is_root else "unguarded"


def _unguarded(index: AuthIndex, coordinate: str) -> str:
    type_name = coordinate.partition(".")[0]
    if type_name not in index.root_names:
        return "whoever gets the object sees it"
    return "said to be public" if index.is_declared(coordinate) else 'default="public"'
