"""The decision on the operation that is running: made by its first root field, found by all others.

It lives in `info.fragments`, under a name that no client can spell: the one dict that is fresh for each
execution, the same for all its fields, and reachable in graphql-core 3.2 and 3.3. The context is frozen, the
document shared by whoever caches it, and a context variable is not the same for all fields.
"""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from graphql import GraphQLError, GraphQLResolveInfo, OperationType
from graphql.language import FragmentDefinitionNode, OperationDefinitionNode

from ..authenticator import count_in_request
from ..authorization.index import AuthIndex
from ..authorization.plan import Denial, Place, Plan, TooComplex, make_plan
from ..authorization.rules import KNOWN, Need
from ..authorization.selection import Selections
from ..errors import ConfigurationError, Forbidden, InsufficientScope, MissingCredential, Unavailable
from ..events import Listener, OperationRestricted, emit
from ..model import AuthContext
from .context import find_auth

__all__ = ["KEY", "Decider", "Decision", "Info", "Mode", "Policies", "error_of", "place_of"]

Mode: TypeAlias = Literal["filter", "reject", "dry_run"]
Policies: TypeAlias = Callable[[AuthContext, frozenset[str]], Iterable[str] | Awaitable[Iterable[str]]]

if TYPE_CHECKING:
    Info: TypeAlias = GraphQLResolveInfo[Any]
else:
    Info = GraphQLResolveInfo

_NOTHING: frozenset[Need] = frozenset()
KEY = "graphql authkit"
MOST_SELECTIONS = 50_000
MOST_VARIANTS = 256  # of one document that are remembered


class Decision:
    """What this operation of this caller may not have; for one execution."""

    __slots__ = ("auth", "held", "is_clear", "plan", "refusal", "refused", "reported", "rows")

    def __init__(self, auth: AuthContext, plan: Plan, held: frozenset[Need]) -> None:
        self.auth = auth
        self.plan = plan
        self.held = held
        self.refusal: GraphQLError | None = None
        """Why nothing of the operation is run, if that is no matter of a field."""
        self.refused: dict[str, Denial] | None = None
        """Why nothing of it is run: the denials, by root field."""
        self.is_clear = plan.is_clear
        self.reported: set[object] = set()
        self.rows: dict[object, tuple[object, Any]] = {}


class _Outline:
    """What is known of one document with given switches."""

    __slots__ = ("asked", "plans", "scopes", "wants_known")

    def __init__(self, plan: Plan) -> None:
        self.wants_known = KNOWN in plan.needs
        self.scopes = tuple((need, need[6:]) for need in plan.needs if need.startswith("scope:"))
        self.asked = frozenset(need[7:] for need in plan.needs if need.startswith("policy:"))
        self.plans: dict[frozenset[Need], Plan] = {frozenset(n for n in plan.needs if not n.startswith("row:")): plan}

    def held_by(self, auth: AuthContext) -> frozenset[Need]:
        """What the caller holds of what is mentioned, policies aside."""
        if not auth.is_authenticated:
            return _NOTHING
        scopes = auth.scopes
        held = [need for need, name in self.scopes if name in scopes]
        if self.wants_known:
            held.append(KNOWN)
        return frozenset(held)


class _Document:
    """What is known of one document, as long as it lives."""

    __slots__ = ("fragments", "operation", "outlines", "switches")

    def __init__(self, operation: weakref.ref[OperationDefinitionNode]) -> None:
        self.operation = operation
        self.fragments: dict[str, FragmentDefinitionNode] = {}
        self.switches: tuple[str, ...] = ()
        self.outlines: dict[tuple[Any, ...], _Outline] = {}


class Decider:
    """Makes decisions, and remembers the plans they rest on.

    Args:
        index: Of the schema.
        mode: See `protect`.
        policies: See `protect`.
        limits: How often root fields may be asked for, by type and field.
        on_event: Told of operations that are restricted.
    """

    def __init__(
        self,
        index: AuthIndex,
        *,
        mode: Mode,
        policies: Policies | None,
        limits: Mapping[tuple[str, str], int],
        on_event: Listener,
    ) -> None:
        self._index = index
        self._mode = mode
        self._policies = policies
        self._limits = limits
        self._on_event = on_event
        self._documents: dict[int, _Document] = {}

    def decide(self, info: Info) -> Decision | asyncio.Future[Decision]:
        """Decide on the operation of this field, or say when it is decided; from now on it is found there."""
        decided = self._decide(info)
        info.fragments[KEY] = decided  # type: ignore[assignment]
        return decided

    def _decide(self, info: Info) -> Decision | asyncio.Future[Decision]:
        auth = find_auth(info.context)
        try:
            outline = self._outline(info)
        except TooComplex:
            return self._refused(auth, "The operation is too complex.", "TOO_COMPLEX")
        held = outline.held_by(auth)
        if not outline.asked or self._policies is None or not auth.is_authenticated:
            return self._finish(info, auth, outline, held)
        try:
            granted = self._policies(auth, outline.asked)
        except Exception as error:
            return self._policies_failed(auth, error)
        if inspect.isawaitable(granted):
            return self._later(info, auth, outline, held, granted)
        return self._finish(info, auth, outline, held | _granted(granted, outline.asked))

    def _later(
        self, info: Info, auth: AuthContext, outline: _Outline, held: frozenset[Need], granted: Awaitable[Any]
    ) -> asyncio.Future[Decision]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if inspect.iscoroutine(granted):
                granted.close()
            raise ConfigurationError(
                "policies= is asynchronous, and the operation is executed without a loop"
            ) from None

        async def whole() -> Decision:
            try:
                found = _granted(await granted, outline.asked)
            except Exception as error:
                decision = self._policies_failed(auth, error)
            else:
                decision = self._finish(info, auth, outline, held | found)
            info.fragments[KEY] = decision  # type: ignore[assignment]
            return decision

        return asyncio.ensure_future(whole())

    def _finish(self, info: Info, auth: AuthContext, outline: _Outline, held: frozenset[Need]) -> Decision:
        plan = outline.plans.get(held)
        if plan is None:
            plan = make_plan(self._index, info.operation, self._selections(info), held.__contains__)
            if len(outline.plans) >= MOST_VARIANTS:
                outline.plans.clear()
            outline.plans[held] = plan
        decision = Decision(auth, plan, held)
        if plan.all:
            event = OperationRestricted(
                auth.subject, auth.issuer, tuple(dict.fromkeys(one.coordinate for one in plan.all)), self._mode
            )
            emit(self._on_event, event)
        if self._limits and not self._is_within(info, plan):
            return self._refused(auth, "The operation asks too often for a field.", "TOO_MANY")
        if self._mode == "dry_run":
            decision.is_clear = True
        elif plan.all and self._is_refused_whole(info, auth, plan):
            decision.refused = {**{one.place[0][0]: one for one in reversed(plan.certain)}, **plan.roots}
        return decision

    def _is_refused_whole(self, info: Info, auth: AuthContext, plan: Plan) -> bool:
        """A mutation never half-runs; an anonymous caller runs what is public alone."""
        if plan.is_null or (plan.roots and not auth.is_authenticated):
            return True
        is_strict = self._mode == "reject" or info.operation.operation is OperationType.MUTATION
        return bool(is_strict and plan.certain)

    def _is_within(self, info: Info, plan: Plan) -> bool:
        """Limits are for a whole request, however many operations it brings."""
        root = info.schema.get_root_type(info.operation.operation)
        is_within = True
        for name, count in plan.counts.items():
            limit = self._limits.get((root.name, name)) if root is not None else None
            if limit is not None:
                total = count_in_request(f"{root.name}.{name}", count)  # type: ignore[union-attr]
                is_within = is_within and total <= limit
        return is_within

    def _refused(self, auth: AuthContext, message: str, reason: str) -> Decision:
        decision = Decision(auth, Plan(), frozenset())
        decision.refusal = GraphQLError(message, extensions={"code": "BAD_REQUEST", "reason": reason})
        decision.is_clear = False
        return decision

    def _policies_failed(self, auth: AuthContext, error: Exception) -> Decision:
        failure = Unavailable(f"policies= raised {type(error).__name__}")
        decision = Decision(auth, Plan(), frozenset())
        decision.refusal = GraphQLError(str(failure), original_error=failure, extensions=dict(failure.extensions))
        decision.is_clear = False
        return decision

    # ------------------------------------------------------------------------------------ outlines

    def _outline(self, info: Info) -> _Outline:
        document = self._document(info)
        variables = _variables(info)
        outline = document.outlines.get(_switched(variables, document.switches))
        if outline is None:
            selections = self._selections(info)
            plan = make_plan(self._index, info.operation, selections, lambda need: not need.startswith("row:"))
            outline = _Outline(plan)
            document.fragments |= selections.used
            if not selections.switches <= set(document.switches) or len(document.outlines) >= MOST_VARIANTS:
                document.switches = tuple(sorted(selections.switches.union(document.switches)))
                document.outlines = {}
            document.outlines[_switched(variables, document.switches)] = outline
        return outline

    def _document(self, info: Info) -> _Document:
        number = id(info.operation)
        known = self._documents.get(number)
        if known is not None and known.operation() is info.operation:
            fragments = info.fragments
            if not known.fragments or all(fragments.get(name) is node for name, node in known.fragments.items()):
                return known
        documents = self._documents
        known = _Document(weakref.ref(info.operation, lambda _gone: documents.pop(number, None)))
        documents[number] = known
        return known

    def _selections(self, info: Info) -> Selections:
        return Selections(self._index.schema, info.fragments, _variables(info), MOST_SELECTIONS)


def _granted(given: Iterable[str], asked: frozenset[str]) -> frozenset[Need]:
    names = (name for name, yes in given.items() if yes is True) if isinstance(given, Mapping) else given
    return frozenset(f"policy:{name}" for name in asked.intersection(names))


def _variables(info: Info) -> Mapping[str, Any]:
    values: Any = info.variable_values
    return getattr(values, "coerced", values)  # type: ignore[no-any-return]


def _switched(variables: Mapping[str, Any], names: tuple[str, ...]) -> tuple[bool | None, ...]:
    if not names:
        return ()
    values = (variables.get(name) for name in names)
    return tuple(value if isinstance(value, bool) else None for value in values)


def place_of(info: Info) -> Place:
    """Where in the operation a field stands."""
    place = []
    path: Any = info.path
    while path is not None:
        if isinstance(path.key, str):
            place.append((path.key, path.typename))
        path = path.prev
    return tuple(reversed(place))


def error_of(decision: Decision, denial: Denial, *, shows_requirements: bool) -> GraphQLError:
    """What a client is told of a denial."""
    failing = denial.guard.failing(decision.held)
    scopes = [part for part in failing if any(need.startswith("scope:") for need in part.rule.needs)]
    kind = MissingCredential if not decision.auth.is_authenticated else InsufficientScope if scopes else Forbidden
    extensions: dict[str, Any] = {"code": kind.code, "reason": kind.reason, "coordinate": denial.coordinate}
    if shows_requirements:
        extensions["requires"] = str(denial.guard.rule)
    return GraphQLError(f"Not allowed to see {denial.coordinate}.", extensions=extensions)
