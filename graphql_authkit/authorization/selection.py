"""What an operation selects, as execution will collect it: merged by response key, for one object type at a time.

It reads documents of graphql-core 3.2 and 3.3 alike: skip and include by the operation's variables, and by
3.3's fragment variables; fragments once for each selection set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from graphql import GraphQLSchema, is_abstract_type
from graphql.language import (
    BooleanValueNode,
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)

__all__ = ["Chosen", "Selections", "TooComplex"]

Scope = tuple[tuple[str, object], ...]  # the variables of a fragment that is being read, with their values


class TooComplex(Exception):  # noqa: N818 - as its siblings in `errors`
    """A document whose authorisation would take more work than any honest one needs."""


class Chosen(NamedTuple):
    """A field node, and the fragment variables that hold where it stands."""

    node: FieldNode
    scope: Scope


class Selections:
    """Collects the fields of one operation, and counts what it does.

    Args:
        schema: What it is executed against.
        fragments: Of its document.
        variables: Coerced.
        most: Selections looked at before it gives up.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
        most: int,
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._variables = variables
        self._left = most
        self.switches: set[str] = set()
        """The variables on which skip and include hang."""
        self.used: dict[str, FragmentDefinitionNode | None] = {}
        """The fragments that were read, and those that were missing."""

    def of(self, type_name: str, sets: Iterable[tuple[SelectionSetNode, Scope]]) -> dict[str, list[Chosen]]:
        """The fields that an object of this type gets, by response key.

        Raises:
            TooComplex: The document has had its share of work.
        """
        found: dict[str, list[Chosen]] = {}
        visited: set[tuple[str, Scope]] = set()
        for selection_set, scope in sets:
            self._collect(type_name, selection_set, scope, found, visited)
        return found

    def _collect(
        self,
        type_name: str,
        selection_set: SelectionSetNode,
        scope: Scope,
        found: dict[str, list[Chosen]],
        visited: set[tuple[str, Scope]],
    ) -> None:
        for selection in selection_set.selections:
            self._left -= 1
            if self._left < 0:
                raise TooComplex
            if not self._includes(selection.directives, scope):
                continue
            if isinstance(selection, FieldNode):
                key = selection.alias or selection.name
                found.setdefault(key.value, []).append(Chosen(selection, scope))
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                if condition is None or self._fits(type_name, condition.name.value):
                    self._collect(type_name, selection.selection_set, scope, found, visited)
            elif isinstance(selection, FragmentSpreadNode):
                self._spread(type_name, selection, scope, found, visited)

    def _spread(
        self,
        type_name: str,
        spread: FragmentSpreadNode,
        scope: Scope,
        found: dict[str, list[Chosen]],
        visited: set[tuple[str, Scope]],
    ) -> None:
        name = spread.name.value
        self.used[name] = fragment = self._fragments.get(name)
        if fragment is None:
            return
        inner = self._inner_scope(spread, fragment, scope)
        if (name, inner) in visited or not self._fits(type_name, fragment.type_condition.name.value):
            return
        visited.add((name, inner))
        self._collect(type_name, fragment.selection_set, inner, found, visited)

    def _inner_scope(self, spread: FragmentSpreadNode, fragment: FragmentDefinitionNode, scope: Scope) -> Scope:
        declared = getattr(fragment, "variable_definitions", None) or ()
        if not declared:
            return ()
        given = {one.name.value: one.value for one in getattr(spread, "arguments", None) or ()}
        values = []
        for one in declared:
            name = one.variable.name.value
            value = self._value(given[name], scope) if name in given else None
            if name not in given and one.default_value is not None:
                value = self._value(one.default_value, ())
            values.append((name, value))
        return tuple(values)

    def _fits(self, type_name: str, condition: str) -> bool:
        if condition == type_name:
            return True
        named = self._schema.get_type(condition)
        if named is None or not is_abstract_type(named):
            return False
        concrete = self._schema.get_type(type_name)
        return concrete is not None and self._schema.is_sub_type(named, concrete)

    def _includes(self, directives: Iterable[DirectiveNode] | None, scope: Scope) -> bool:
        if not directives:
            return True
        return self._condition("skip", directives, scope) is not True and (
            self._condition("include", directives, scope) is not False
        )

    def _condition(self, name: str, directives: Iterable[DirectiveNode], scope: Scope) -> object:
        """As execution reads it where validation did not look: the first directive, its last argument."""
        for directive in directives:
            if directive.name.value == name:
                given = [one.value for one in directive.arguments or () if one.name.value == "if"]
                return self._value(given[-1], scope) if given else None
        return None

    def _value(self, node: ValueNode, scope: Scope) -> object:
        """Of a Boolean; None of anything else, and then a field counts as selected."""
        if isinstance(node, BooleanValueNode):
            return node.value
        if isinstance(node, VariableNode):
            name = node.name.value
            for known, value in scope:
                if known == name:
                    return value
            self.switches.add(name)
            value = self._variables.get(name)
            return value if isinstance(value, bool) else None
        return None
