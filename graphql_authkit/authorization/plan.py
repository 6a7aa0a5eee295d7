"""The decision on one operation, before anything of it runs: what is refused, what is null for what lies below it.

The document is not rewritten; execution asks the plan. A field that would be null anyway, since something
below it that cannot be null is refused, is refused itself, up to the first that may be null; a list all of
whose items would be null counts as one that would. What hangs on the type of a row is left to the row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from graphql import GraphQLObjectType, get_named_type, is_abstract_type, is_composite_type, is_non_null_type
from graphql.language import OperationDefinitionNode, SelectionSetNode

from .index import AuthIndex, Guard
from .rules import Need
from .selection import Chosen, Scope, Selections, TooComplex

__all__ = ["Denial", "Place", "Plan", "TooComplex", "make_plan", "place_of"]

Place: TypeAlias = tuple[tuple[int, ...], str]
"""A field where it stands: its nodes, merged, by identity, and the object type that it is a field of."""

DEEPEST = 200
MOST_DENIALS = 100
INTROSPECTION = frozenset({"__schema", "__type"})


class Denial(NamedTuple):
    """Why a field is refused: by the guard of which field or type."""

    coordinate: str
    guard: Guard


@dataclass(slots=True)
class Plan:
    """What an operation of somebody may not have.

    Args:
        denied: Fields that are refused wherever they stand, by object type and name.
        stops: Fields that are null for what lies below them.
        row_stops: Types of which a field's rows are null.
        rows: Fields that each object decides on, by object type and name.
        gone: Object types whose rows are null for the type's own guard.
        met: What was judged, as numbers of `AuthIndex`: what was not is refused where it is come upon.
        roots: Denials that reach a root field, by response key.
        is_null: Whether `data` as a whole is null.
        certain: Denials that hang on no row's type, one for each root field, by response key.
        all: Denials, up to a hundred.
        counts: How many response keys there are of each field of a root type, by type and name.
        needs: What the guards that were met mention.
    """

    denied: dict[tuple[str, str], Denial] = field(default_factory=dict)
    stops: dict[Place, Denial] = field(default_factory=dict)
    row_stops: dict[Place, dict[str, Denial]] = field(default_factory=dict)
    rows: set[tuple[str, str]] = field(default_factory=set)
    roots: dict[str, Denial] = field(default_factory=dict)
    is_null: bool = False
    certain: dict[str, Denial] = field(default_factory=dict)
    all: list[Denial] = field(default_factory=list)
    gone: dict[str, Denial] = field(default_factory=dict)
    met: set[int] = field(default_factory=set)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    needs: set[Need] = field(default_factory=set)

    _allowed: frozenset[int] | None = None

    @property
    def allowed(self) -> frozenset[int]:
        """The numbers of all that was met, and -1 for what has none, if nothing is refused or left to rows."""
        if self._allowed is None:
            self._allowed = frozenset({*self.met, -1}) if self.is_clear else frozenset()
        return self._allowed

    @property
    def is_clear(self) -> bool:
        """Whether nothing is refused, and nothing left to rows."""
        return not (self.all or self.rows)


def make_plan(
    index: AuthIndex, operation: OperationDefinitionNode, selections: Selections, held: Callable[[Need], bool]
) -> Plan:
    """Decide on an operation.

    Args:
        index: Of its schema.
        operation: The one that is executed.
        selections: Of its document.
        held: Whether the caller holds a need.

    Raises:
        TooComplex: More work than any honest document needs.
    """
    walk = _Walk(index, selections, held)
    root = index.schema.get_root_type(operation.operation)
    if root is not None:
        try:
            walk.root(root, operation)
        except RecursionError:
            raise TooComplex from None
    return walk.plan


class _Below(NamedTuple):
    """What the selections of a field come to: which types vanish, whether all do, and what is certain, and counted."""

    gone: dict[str, Denial]
    is_null: bool
    certain: Denial | None
    counts: Counter[tuple[str, str]]


class _Walk:
    """One walk through an operation."""

    def __init__(self, index: AuthIndex, selections: Selections, held: Callable[[Need], bool]) -> None:
        self._index = index
        self._selections = selections
        self._holds = held
        self._types = index.schema.type_map
        self._certain: list[Denial] = []
        self._known: dict[tuple[object, ...], _Below] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._depth = 0
        self.plan = Plan()

    def root(self, root: GraphQLObjectType, operation: OperationDefinitionNode) -> None:
        plan = self.plan
        for key, nodes in self._selections.of(root.name, [(operation.selection_set, ())]).items():
            self._certain = []
            denial = self._field(root, nodes)
            if self._certain:
                plan.certain[key] = self._certain[0]
            if denial is not None:
                plan.roots[key] = denial
                plan.is_null = plan.is_null or is_required(root, nodes[0].node.name.value)
        plan.counts = self._counts

    def _introspection(self, name: str) -> Denial | None:
        guard = self._index.introspection
        if guard.judge(self._held(guard)) == "allow":
            return None
        return self._note(Denial(name, guard))

    def _field(self, parent: GraphQLObjectType, nodes: list[Chosen]) -> Denial | None:
        """Why the field is null for certain, or None."""
        name = nodes[0].node.name.value
        if name in INTROSPECTION and parent is self._index.schema.query_type:
            return self._introspection(name)
        definition = parent.fields.get(name)
        if definition is None:  # `__typename`, or what validation refuses
            return None
        if parent.name in self._index.root_names:
            self._counts[parent.name, name] += 1
        guard = self._index.fields.get((parent.name, name))
        denial = None if guard is None else self._judge(parent.name, name, guard)
        if denial is not None:
            return denial
        named = get_named_type(definition.type)
        if not is_composite_type(named) or not self._index.reaches(named):
            return None
        return self._below(named, nodes, (tuple(id(one.node) for one in nodes), parent.name))

    def _judge(self, type_name: str, name: str, guard: Guard) -> Denial | None:
        self.plan.met.add(self._index.numbers[type_name, name])
        verdict = guard.judge(self._held(guard))
        if verdict == "row":
            self.plan.rows.add((type_name, name))
        if verdict != "deny":
            return None
        denial = self._note(Denial(f"{type_name}.{name}", guard))
        self.plan.denied.setdefault((type_name, name), denial)
        return denial

    def _held(self, guard: Guard) -> frozenset[Need]:
        needs = guard.rule.needs
        self.plan.needs |= needs
        return frozenset(need for need in needs if self._holds(need))

    def _note(self, denial: Denial) -> Denial:
        self._certain.append(denial)
        if len(self.plan.all) < MOST_DENIALS:
            self.plan.all.append(denial)
        return denial

    def _below(self, named: Any, nodes: list[Chosen], place: Place) -> Denial | None:
        """Judge what an object of each possible type would get; it may vanish for that.

        What the same nodes come to is worked out once, wherever they are spread: no document makes it long.
        """
        key = named.name, place[0], tuple(one.scope for one in nodes)
        below = self._known.get(key)
        if below is None:
            outside, self._certain = self._certain, []
            counts, self._counts = self._counts, Counter()
            self._depth += 1
            if self._depth > DEEPEST:
                raise TooComplex
            below = self._known[key] = self._rows(named, nodes)
            self._depth -= 1
            self._certain, self._counts = outside, counts
        self._counts.update(below.counts)
        if below.certain is not None:
            self._certain.append(below.certain)
        if below.is_null:
            denial = next(iter(below.gone.values()))
            self.plan.stops[place] = denial
            return denial
        if below.gone:
            self.plan.row_stops.setdefault(place, {}).update(below.gone)
        return None

    def _rows(self, named: Any, nodes: list[Chosen]) -> _Below:
        sets = [(one.node.selection_set, one.scope) for one in nodes if one.node.selection_set is not None]
        possible = self._index.possible(named)
        gone: dict[str, Denial] = {}
        refused: list[Denial] = []
        for type_name in possible:
            if type_name in self._index.touched:
                self._certain = []
                denial = self._object(type_name, sets, is_row=is_abstract_type(named))
                if denial is not None:
                    gone[type_name] = denial
                refused += self._certain[:1]
        certain = refused[0] if refused and len(refused) == len(possible) else None  # whatever comes, it has one
        return _Below(gone, bool(gone) and len(gone) == len(possible), certain, self._counts)

    def _object(self, type_name: str, sets: Iterable[tuple[SelectionSetNode, Scope]], *, is_row: bool) -> Denial | None:
        """Why an object of this type is null for certain, or None."""
        guard = self._index.types.get(type_name) if is_row else None  # else its field was judged by that too
        if guard is not None:
            self.plan.met.add(self._index.numbers[type_name, ""])
            if guard.judge(self._held(guard)) == "deny":
                return self.plan.gone.setdefault(type_name, self._note(Denial(type_name, guard)))
        named: Any = self._types[type_name]
        gone = None
        for nodes in self._selections.of(type_name, sets).values():
            denial = self._field(named, nodes)
            if denial is not None and gone is None and is_required(named, nodes[0].node.name.value):
                gone = denial
        return gone


def place_of(nodes: Iterable[object], type_name: str) -> Place:
    """Where a field stands that is being executed."""
    return tuple(id(node) for node in nodes), type_name


def is_required(parent: GraphQLObjectType, name: str) -> bool:
    """Whether a field of this object can not be null."""
    if name == "__schema":
        return True
    definition = parent.fields.get(name)
    return definition is not None and is_non_null_type(definition.type)
