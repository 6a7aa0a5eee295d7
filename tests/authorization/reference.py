"""What a caller should get of an operation, worked out by brute force: nothing of the library is used here.

It walks the data as an executor would, and at each field asks anew what guards it and whether it would be null for
what lies below it. It expands fragments wherever they stand, remembers nothing, and is slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
    is_composite_type,
)

Groups: TypeAlias = tuple[frozenset[str], ...]
"""A rule: sets of scopes of which one must be held whole, by a caller who is known."""

Scopes: TypeAlias = frozenset[str] | None
"""What a caller holds; None of one who is anonymous."""

Path: TypeAlias = tuple[str | int, ...]
Nodes: TypeAlias = list[FieldNode]
Selected: TypeAlias = dict[str, Nodes]
Run: TypeAlias = tuple[str, Path]


@dataclass(frozen=True)
class Declared:
    """The rules of a schema by coordinate, the fields that are public, and whether roots need a known caller."""

    rules: Mapping[str, Sequence[Groups]]
    public: frozenset[str] = frozenset()
    default: str = "authenticated"

    def guards(self, schema: GraphQLSchema, parent: GraphQLObjectType, name: str) -> list[Groups]:
        """All rules that must hold for a field of an object."""
        coordinates = [f"{parent.name}.{name}", *_with_interfaces(parent)]
        coordinates += [f"{one.name}.{name}" for one in parent.interfaces if name in one.fields]
        coordinates += _with_interfaces(get_named_type(parent.fields[name].type))
        found = [rule for one in coordinates for rule in self.rules.get(one, ())]
        if self.default == "authenticated" and parent in _roots(schema):
            own = (parent.name, f"{parent.name}.{name}")
            if own[1] not in self.public and not any(self.rules.get(one) for one in own):
                found.append((frozenset(),))
        return found

    def of_type(self, named: GraphQLObjectType) -> list[Groups]:
        """All rules that must hold for an object as such."""
        return [rule for one in _with_interfaces(named) for rule in self.rules.get(one, ())]


def _with_interfaces(named: Any) -> list[str]:
    """What guards whatever leads to a type; unions guard nothing."""
    if isinstance(named, GraphQLUnionType):
        return []
    return [named.name, *(one.name for one in getattr(named, "interfaces", ()))]


def _roots(schema: GraphQLSchema) -> list[GraphQLObjectType | None]:
    return [schema.query_type, schema.mutation_type, schema.subscription_type]


def allows(rules: Iterable[Groups], scopes: Scopes) -> bool:
    """Whether somebody satisfies each of these."""
    return all(scopes is not None and any(group <= scopes for group in rule) for rule in rules)


@dataclass
class Expected:
    """What should come of one execution.

    Args:
        data: Exactly.
        errors: Where errors may be, in the order of the data; which of them must be depends on what follows.
        rows: Those of them that each row reports for itself; of the others there is one for each path without indices.
        runs: The resolvers that may run, and at which paths.
        nulled: Paths that are null for what lies below them: what is inside may be run or reported, or not.
        is_whole: Whether nothing is run at all.
    """

    data: dict[str, Any] | None = None
    errors: list[Path] = field(default_factory=list)
    rows: set[Path] = field(default_factory=set)
    runs: list[Run] = field(default_factory=list)
    nulled: list[Path] = field(default_factory=list)
    is_whole: bool = False

    def is_certain(self, path: Path) -> bool:
        """Whether a path lies inside nothing that was nulled."""
        return not any(len(one) < len(path) and path[: len(one)] == one for one in self.nulled)


class Gone(Exception):  # noqa: N818 - it bubbles, and is no error of ours
    """A position that can not be null has nothing; the path is where that began."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


class Reference:
    """One operation of one caller.

    Args:
        schema: Not protected.
        declared: Its rules.
        scopes: Of the caller.
        document: Valid.
        name: Of the operation, if there are several.
        variables: As they were sent.
        is_strict: Whether queries are refused as mutations are.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        declared: Declared,
        scopes: Scopes,
        document: DocumentNode,
        *,
        name: str | None = None,
        variables: Mapping[str, Any] | None = None,
        is_strict: bool = False,
    ) -> None:
        self._schema = schema
        self._declared = declared
        self._scopes = scopes
        self._fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
        (self._operation,) = (one for one in operations if name is None or (one.name and one.name.value == name))
        self._variables = {
            one.variable.name.value: getattr(one.default_value, "value", None)
            for one in self._operation.variable_definitions or ()
        } | dict(variables or {})
        kind = self._operation.operation.value
        root = {"query": schema.query_type, "mutation": schema.mutation_type, "subscription": schema.subscription_type}
        found = root[kind]
        assert found is not None
        self._root: GraphQLObjectType = found
        self._is_strict = is_strict or kind == "mutation"
        self._expected = Expected()

    def expect(self, root_value: Mapping[str, Any]) -> Expected:
        """What should come of it, with the resolvers of the root reading from this."""
        self._expected = expected = Expected()
        selected = self._select(self._root, [self._operation.selection_set])
        if self.is_refused_whole():
            expected.is_whole = True
            expected.errors = [(key,) for key, nodes in selected.items() if self._is_certain(self._root, nodes)]
            expected.data = {key: self._root.name if _is_meta(nodes) else None for key, nodes in selected.items()}
            if any(self._is_required(self._root, nodes) for nodes in selected.values()):
                expected.data = None
            return expected
        try:
            expected.data = self._execute(self._root, selected, root_value, ())
        except Gone:
            expected.nulled.append(())
        return expected

    def is_refused_whole(self) -> bool:
        """Whether no resolver at all may run, nor the source of events."""
        selected = self._select(self._root, [self._operation.selection_set]).values()
        refused = [nodes for nodes in selected if self._is_refused(self._root, nodes)]
        is_certain = any(self._is_certain(self._root, nodes) for nodes in selected)
        is_null = any(self._is_required(self._root, nodes) for nodes in refused)
        is_closed = bool(refused) and (self._scopes is None or self._operation.operation.value == "subscription")
        return is_null or is_closed or (self._is_strict and is_certain)

    # ---------------------------------------------------------------------------------- what is refused

    def _is_refused(self, parent: GraphQLObjectType, nodes: Nodes) -> bool:
        """Whether a field is null without being resolved: denied, or null for what lies below it."""
        if _is_meta(nodes):
            return False
        if self._is_denied(parent, nodes):
            return True
        named = get_named_type(parent.fields[nodes[0].name.value].type)
        possible = self._possible(named)
        return bool(possible) and all(self._vanishes(one, named, nodes) for one in possible)

    def _vanishes(self, found: GraphQLObjectType, named: Any, nodes: Nodes) -> bool:
        """Whether an object of this type is null wherever this is selected of it."""
        if is_abstract_type(named) and not allows(self._declared.of_type(found), self._scopes):
            return True
        return any(
            self._is_required(found, inner) and self._is_refused(found, inner) for inner in self._below(found, nodes)
        )

    def _is_certain(self, parent: GraphQLObjectType, nodes: Nodes) -> bool:
        """Whether something of a field is refused whatever types its rows have."""
        if _is_meta(nodes):
            return False
        if self._is_denied(parent, nodes):
            return True
        named = get_named_type(parent.fields[nodes[0].name.value].type)
        possible = self._possible(named)
        return bool(possible) and all(
            (is_abstract_type(named) and not allows(self._declared.of_type(one), self._scopes))
            or any(self._is_certain(one, inner) for inner in self._below(one, nodes))
            for one in possible
        )

    def _is_denied(self, parent: GraphQLObjectType, nodes: Nodes) -> bool:
        return not allows(self._declared.guards(self._schema, parent, nodes[0].name.value), self._scopes)

    def _possible(self, named: Any) -> list[GraphQLObjectType]:
        if isinstance(named, GraphQLObjectType):
            return [named]
        if isinstance(named, GraphQLInterfaceType | GraphQLUnionType):
            return list(self._schema.get_possible_types(named))
        return []

    def _is_required(self, parent: GraphQLObjectType, nodes: Nodes) -> bool:
        return not _is_meta(nodes) and isinstance(parent.fields[nodes[0].name.value].type, GraphQLNonNull)

    # ---------------------------------------------------------------------------------- what is selected

    def _below(self, parent: GraphQLObjectType, nodes: Nodes) -> Iterable[Nodes]:
        return self._select(parent, [one.selection_set for one in nodes if one.selection_set is not None]).values()

    def _select(self, parent: GraphQLObjectType, sets: Iterable[SelectionSetNode]) -> Selected:
        found: Selected = {}
        for selection in (one for selection_set in sets for one in selection_set.selections):
            if not self._is_included(selection):
                continue
            if isinstance(selection, FieldNode):
                found.setdefault((selection.alias or selection.name).value, []).append(selection)
                continue
            inner: Any = (
                self._fragments[selection.name.value] if isinstance(selection, FragmentSpreadNode) else selection
            )
            if inner.type_condition is None or self._is_a(parent, inner.type_condition.name.value):
                for key, nodes in self._select(parent, [inner.selection_set]).items():
                    found.setdefault(key, []).extend(nodes)
        return found

    def _is_a(self, parent: GraphQLObjectType, name: str) -> bool:
        condition = self._schema.type_map[name]
        if isinstance(condition, GraphQLUnionType):
            return parent in condition.types
        return condition is parent or condition in parent.interfaces

    def _is_included(self, selection: Any) -> bool:
        for directive in selection.directives or ():
            node: Any = directive.arguments[0].value
            value = self._variables[node.name.value] if node.kind == "variable" else node.value
            if value is (directive.name.value == "skip"):
                return False
        return True

    # ------------------------------------------------------------------------------------- what comes of it

    def _execute(self, parent: GraphQLObjectType, selected: Selected, source: Any, path: Path) -> dict[str, Any]:
        answers = [
            lambda key=key, nodes=nodes: self._field(parent, nodes, source, (*path, key))
            for key, nodes in selected.items()
        ]
        return dict(zip(selected, _all_of(answers), strict=True))

    def _field(self, parent: GraphQLObjectType, nodes: Nodes, source: Any, path: Path) -> Any:
        name = nodes[0].name.value
        if _is_meta(nodes):
            return parent.name
        kind = parent.fields[name].type
        if self._is_refused(parent, nodes):
            self._expected.errors.append(path)
            return self._nullable(kind, path, _gone(path))
        self._expected.runs.append((f"{parent.name}.{name}", path))
        return self._nullable(kind, path, lambda: self._complete(kind, source[name], nodes, path))

    def _nullable(self, kind: Any, path: Path, compute: Callable[[], Any]) -> Any:
        try:
            return compute()
        except Gone as gone:
            if isinstance(kind, GraphQLNonNull):
                raise
            if gone.path != path:
                self._expected.nulled.append(path)
            return None

    def _complete(self, kind: Any, value: Any, nodes: Nodes, path: Path) -> Any:
        if isinstance(kind, GraphQLNonNull):
            return self._complete(kind.of_type, value, nodes, path)
        if value is None or not is_composite_type(get_named_type(kind)):
            return value
        if not isinstance(kind, GraphQLList):
            return self._object(kind, value, nodes, path)
        item: Any = kind.of_type

        def one_of(index: int) -> Callable[[], Any]:
            here = (*path, index)
            return lambda: self._nullable(item, here, lambda: self._complete(item, value[index], nodes, here))

        return _all_of([one_of(index) for index in range(len(value))])

    def _object(self, kind: Any, value: Any, nodes: Nodes, path: Path) -> dict[str, Any]:
        found: Any = self._schema.type_map[value["__typename"]]
        if self._vanishes(found, kind, nodes):
            self._expected.errors.append(path)
            self._expected.rows.add(path)
            raise Gone(path)
        selected = self._select(found, [one.selection_set for one in nodes if one.selection_set is not None])
        return self._execute(found, selected, value, path)


def _is_meta(nodes: Nodes) -> bool:
    return nodes[0].name.value == "__typename"


def _gone(path: Path) -> Callable[[], Any]:
    def compute() -> Any:
        raise Gone(path)

    return compute


def _all_of(answers: Iterable[Callable[[], Any]]) -> list[Any]:
    """Each of them is asked, though one of them may bubble."""
    found, first = [], None
    for answer in answers:
        try:
            found.append(answer())
        except Gone as gone:
            first = first or gone
    if first is not None:
        raise first
    return found
