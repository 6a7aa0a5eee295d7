"""The decision on the operation that is running: made by its first root field, found by all others.

It lives in `info.fragments`, under a name that no client can spell: the one dict that is fresh for each
execution, the same for all its fields, and reachable in graphql-core 3.2 and 3.3. The context is frozen, the
document shared by whoever caches it, and a context variable is not the same for all fields.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from graphql import GraphQLError, GraphQLResolveInfo, OperationType
from graphql.language import FragmentDefinitionNode, OperationDefinitionNode

from ..authenticator import take_in_request
from ..authorization.index import AuthIndex
from ..authorization.plan import Denial, Plan, TooComplex, make_plan
from ..authorization.rules import KNOWN, Need
from ..authorization.selection import Selections
from ..errors import AuthError, ConfigurationError, Unavailable
from ..events import Listener, OperationRestricted, emit
from ..model import AuthContext
from .context import find_auth

__all__ = ["ANY", "KEY", "Decider", "Decision", "Info", "Mode", "Pending", "Policies", "Undecided"]

Mode: TypeAlias = Literal["filter", "reject", "dry_run"]
Policies: TypeAlias = Callable[[AuthContext, frozenset[str]], Collection[str] | Awaitable[Collection[str]]]

if TYPE_CHECKING:
    Info: TypeAlias = GraphQLResolveInfo[Any]
else:
    Info = GraphQLResolveInfo

_log = logging.getLogger("graphql_authkit")
_Fragments: TypeAlias = Mapping[str, FragmentDefinitionNode | None]
ANY = -1  # the number of what has no guard
NONE_ALLOWED: frozenset[int] = frozenset()
_NOTHING: frozenset[Need] = frozenset()
_BAD, _COMPLEX, _MANY = {"code": "BAD_REQUEST"}, {"reason": "TOO_COMPLEX"}, {"reason": "TOO_MANY"}
KEY = "graphql authkit"
MOST_SELECTIONS = 50_000
MOST_VARIANTS = 16  # of one document that are remembered, by switches, and of each by what callers hold


class Decision:
    """What this operation of this caller may not have; for one execution."""

    __slots__ = (
        "allowed",
        "auth",
        "errors",
        "held",
        "is_clear",
        "met",
        "plan",
        "refusal",
        "refused",
        "reported",
        "rows",
    )

    def __init__(self, auth: AuthContext, plan: Plan, held: frozenset[Need]) -> None:
        self.auth = auth
        self.plan = plan
        self.held = held
        self.refusal: GraphQLError | None = None
        """Why nothing of the operation is run, if that is no matter of a field."""
        self.refused: dict[str, Denial] | None = None
        """Why nothing of it is run: the denials, by root field."""
        self.is_clear = plan.is_clear
        self.met: Collection[int] = plan.met
        self.allowed: Collection[int] = plan.allowed
        """The numbers of what may be resolved without another question, where that is so of the whole operation."""
        self.reported: set[object] = set()
        self.errors = 0
        self.rows: dict[object, tuple[object, Any]] = {}


class Undecided:
    """Where there is no decision yet: nothing is allowed by it."""

    allowed: Collection[int] = NONE_ALLOWED


class Pending:
    """A decision that waits for policies. Who waits for it may go; the last one to go takes the question along."""

    __slots__ = ("_task", "_waiting")

    allowed: Collection[int] = NONE_ALLOWED  # as a Decision, until there is one

    def __init__(self, task: asyncio.Task[Decision]) -> None:
        self._task = task
        self._waiting = 0

    async def wait(self) -> Decision:
        """For the decision."""
        self._waiting += 1
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._waiting == 1:
                self._task.cancel()
            raise
        finally:
            self._waiting -= 1


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

    __slots__ = ("known", "operation")

    def __init__(self, operation: weakref.ref[OperationDefinitionNode]) -> None:
        self.operation = operation
        # Switches, the fragments that were read, and outlines by the values of just these switches. Threads
        # replace the three together; what one of them is written to belongs to the others.
        self.known: tuple[tuple[str, ...], _Fragments, dict[tuple[bool | None, ...], _Outline]] = ((), {}, {})


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
        self.is_dry = mode == "dry_run"
        self._documents: dict[int, _Document] = {}

    def decide(self, info: Info, *, counts: bool = True) -> Decision | Pending:
        """Decide on the operation of this field, or say when it is decided; from now on it is found there.

        Args:
            info: Of the field.
            counts: Whether this is a new request for its root fields, and not an event of one.
        """
        auth = find_auth(info.context)
        try:
            decided = self._decide(info, auth, counts)
        except TooComplex:
            decided = self._refused(auth, GraphQLError("The operation is too complex.", extensions=_BAD | _COMPLEX))
        except ConfigurationError as error:
            decided = self._refused(auth, GraphQLError(str(error), original_error=error))
        except Exception as error:  # else each field would try again, and some might pass
            decided = self._failed(auth, error)
        info.fragments[KEY] = decided  # type: ignore[assignment]
        return decided

    def _decide(self, info: Info, auth: AuthContext, counts: bool) -> Decision | Pending:
        outline = self._outline(info)
        held = outline.held_by(auth)
        if not outline.asked or self._policies is None or not auth.is_authenticated:
            return self._finish(info, auth, outline, held, counts)
        granted = self._policies(auth, outline.asked)
        if inspect.isawaitable(granted):
            return self._later(info, auth, outline, held, counts, granted)
        return self._finish(info, auth, outline, held | _granted(granted, outline.asked), counts)

    def _later(
        self,
        info: Info,
        auth: AuthContext,
        outline: _Outline,
        held: frozenset[Need],
        counts: bool,
        granted: Awaitable[Any],
    ) -> Pending:
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
                decision = self._finish(info, auth, outline, held | found, counts)
            except Exception as error:
                decision = self._failed(auth, error)
            info.fragments[KEY] = decision  # type: ignore[assignment]
            return decision

        return Pending(asyncio.ensure_future(whole()))

    def _finish(
        self, info: Info, auth: AuthContext, outline: _Outline, held: frozenset[Need], counts: bool
    ) -> Decision:
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
        if counts and self._limits and not self._is_within(plan):
            error = GraphQLError("The operation asks too often for a field.", extensions=_BAD | _MANY)
            return self._refused(auth, error)
        if self._mode == "dry_run":
            self._allow_all(decision)
        elif plan.all and self._is_refused_whole(info, auth, plan):
            decision.refused = plan.certain | plan.roots
        return decision

    def _is_refused_whole(self, info: Info, auth: AuthContext, plan: Plan) -> bool:
        """A mutation never half-runs; an anonymous caller runs what is public alone."""
        if plan.is_null or (plan.roots and not auth.is_authenticated):
            return True
        is_strict = self._mode == "reject" or info.operation.operation is OperationType.MUTATION
        return bool(is_strict and plan.certain)

    def _is_within(self, plan: Plan) -> bool:
        """Limits are for a whole request, however many operations it brings."""
        wanted = ((".".join(one), plan.counts[one], limit) for one, limit in self._limits.items())
        return all(take_in_request(name, count, limit) for name, count, limit in wanted if count)

    def _refused(self, auth: AuthContext, error: GraphQLError) -> Decision:
        decision = Decision(auth, Plan(), _NOTHING)
        if self._mode == "dry_run":
            _log.warning("restricted (dry_run): %s", error.message)
            self._allow_all(decision)
            return decision
        decision.refusal = error
        decision.is_clear, decision.allowed = False, NONE_ALLOWED
        return decision

    def _allow_all(self, decision: Decision) -> None:
        decision.is_clear = True
        decision.met = decision.allowed = range(ANY, len(self._index.numbers))

    def _failed(self, auth: AuthContext, error: Exception) -> Decision:
        if not isinstance(error, AuthError):
            _log.error("authorisation failed", exc_info=error)
        failure = error if isinstance(error, AuthError) else Unavailable(f"authorisation raised {type(error).__name__}")
        return self._refused(auth, GraphQLError(str(failure), original_error=failure, extensions=failure.extensions))

    # ------------------------------------------------------------------------------------ outlines

    def _outline(self, info: Info) -> _Outline:
        document = self._document(info)
        variables = _variables(info)
        switches, fragments, outlines = document.known  # once: what is checked is what is used
        if fragments and any(info.fragments.get(name) is not node for name, node in fragments.items()):
            switches, fragments, outlines = (), {}, {}
        outline = outlines.get(_switched(variables, switches))
        if outline is None:
            selections = self._selections(info)
            plan = make_plan(self._index, info.operation, selections, lambda need: not need.startswith("row:"))
            outline = _Outline(plan)
            if not selections.switches.issubset(switches) or len(outlines) >= MOST_VARIANTS:
                switches, outlines = tuple(sorted(selections.switches.union(switches))), {}
            outlines = {**outlines, _switched(variables, switches): outline}
            document.known = switches, {**fragments, **selections.used}, outlines
        return outline

    def _document(self, info: Info) -> _Document:
        number = id(info.operation)
        known = self._documents.get(number)
        if known is not None and known.operation() is info.operation:
            return known
        documents = self._documents
        known = _Document(weakref.ref(info.operation, lambda _gone: documents.pop(number, None)))
        documents[number] = known
        return known

    def _selections(self, info: Info) -> Selections:
        return Selections(self._index.schema, info.fragments, _variables(info), MOST_SELECTIONS)


def _granted(given: object, asked: frozenset[str]) -> frozenset[Need]:
    if isinstance(given, Mapping):
        given = [name for name, answer in given.items() if answer is True]
    if isinstance(given, str) or not isinstance(given, Collection) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"policies= answers the names of those that are met, not a {type(given).__name__}")
    return frozenset(f"policy:{name}" for name in asked.intersection(given))


def _variables(info: Info) -> Mapping[str, Any]:
    values: Any = info.variable_values
    return getattr(values, "coerced", values)  # type: ignore[no-any-return]


def _switched(variables: Mapping[str, Any], names: tuple[str, ...]) -> tuple[bool | None, ...]:
    if not names:
        return ()
    values = (variables.get(name) for name in names)
    return tuple(value if isinstance(value, bool) else None for value in values)
