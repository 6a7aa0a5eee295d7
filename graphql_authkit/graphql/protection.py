"""`protect`: a schema that keeps its rules under whatever executes it.

Guarded fields, those that may vanish for what lies below them, root fields, and abstract types are wrapped, in a
copy of the schema; what no rule touches is not. Wrappers ask the operation's decision and add nothing else: a
resolver that is not asynchronous stays so.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn, TypeAlias

from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLSchema,
    default_field_resolver,
    default_type_resolver,
    get_named_type,
    is_non_null_type,
)

from ..authorization.index import AuthIndex, Guard
from ..authorization.plan import Denial, Plan, place_of
from ..authorization.rules import KNOWN
from ..errors import AuthError, ConfigurationError, Unavailable
from ..model import AuthContext
from .cloning import clone_schema
from .context import find_auth
from .decisions import ANY, KEY, Decider, Decision, Info, Pending, Undecided
from .denials import error_of, path_of
from .rows import plain, started

__all__ = ["Protection", "RowPolicy", "protection_of"]

RowPolicy: TypeAlias = Callable[[AuthContext, Any, Mapping[str, Any]], bool | Awaitable[bool]]
Resolver: TypeAlias = Callable[..., Any]

_log = logging.getLogger("graphql_authkit")
EXTENSION = "graphql_authkit.protection"
UNDECIDED: Any = Undecided()
MOST_ERRORS = 100


class Asked(NamedTuple):
    """A field that is about to be resolved."""

    inner: Resolver
    source: Any
    info: Info
    arguments: dict[str, Any]
    is_required: bool
    number: int  # of its guard in the index, or ANY
    is_root: bool

    @property
    def coordinate(self) -> tuple[str, str]:
        return self.info.parent_type.name, self.info.field_name

    def resolve(self) -> Any:
        return self.inner(self.source, self.info, **self.arguments)


class Protection:
    """What keeps one schema's rules.

    Args:
        index: Of the schema.
        decider: Of its operations.
        row_policies: See `protect`.
        shows_requirements: Whether errors say what a rule asks for.
        names: Whether errors say what it is that is refused.
        field_resolver: For fields without a resolver.
        type_resolver: For abstract types without one.
    """

    def __init__(
        self,
        index: AuthIndex,
        decider: Decider,
        *,
        row_policies: Mapping[str, RowPolicy],
        shows_requirements: bool,
        names: bool,
        field_resolver: Resolver | None,
        type_resolver: Resolver | None,
    ) -> None:
        self.index = index
        self.settings: dict[str, str] = {}
        self.decider = decider
        self._row_policies = row_policies
        self._shows_requirements = shows_requirements
        self._names = names
        self._field_resolver = field_resolver or default_field_resolver
        self._type_resolver = type_resolver or default_type_resolver

    def clone(self) -> GraphQLSchema:
        """The protected copy."""
        schema = clone_schema(self.index.schema, self._change_field, self._change_abstract)
        schema.extensions[EXTENSION] = self
        return schema

    def allows_introspection(self, info: Info) -> bool:
        """Whether this caller may ask for the schema."""
        held = {KNOWN} if find_auth(info.context).is_authenticated else set()
        return self.decider.is_dry or self.index.introspection.rule.holds(held)

    def refuse_introspection(self, _source: Any, info: Info, /, **_arguments: Any) -> NoReturn:
        """In place of graphql-core's resolver, where the decision on the operation knows nothing of it."""
        denial = Denial(info.field_name, self.index.introspection)
        raise error_of(Decision(find_auth(info.context), Plan(), frozenset()), denial)

    # ------------------------------------------------------------------------------------- wrapping

    def _change_field(self, type_name: str, name: str, field: GraphQLField) -> None:
        index = self.index
        if type_name in index.root_names:
            field.resolve = self._of_root((type_name, name), field, field.resolve, starts=False)
            if self._is_subscription(type_name):
                field.subscribe = self._of_root((type_name, name), field, field.subscribe, starts=True)
        elif (type_name, name) in index.fields or index.can_vanish(get_named_type(field.type)):
            field.resolve = self._of_field((type_name, name), field)

    def _of_root(self, name: tuple[str, str], field: GraphQLField, given: Resolver | None, *, starts: bool) -> Resolver:
        inner = given or (default_field_resolver if starts else self._field_resolver)
        is_required = starts or is_non_null_type(field.type)  # no source of events can be null
        number = self.index.numbers.get(name, ANY)
        # Events decide anew: in graphql-core 3.3 they share the source's dict. What starts them was counted.
        is_event = self._is_subscription(name[0]) and not starts
        decides_anew = is_event or starts

        def resolve(source: Any, info: Info, /, **arguments: Any) -> Any:
            is_root = info.path.prev is None  # else an object of the root's type was returned by a field
            decision: Any = None if decides_anew and is_root else info.fragments.get(KEY)
            if decision is None:
                decision = self.decider.decide(info, counts=not is_event)
            if number in decision.allowed:
                return inner(source, info, **arguments)
            return self.resolve(decision, Asked(inner, source, info, arguments, is_required, number, is_root))

        return resolve

    def _is_subscription(self, type_name: str) -> bool:
        root = self.index.schema.subscription_type
        return root is not None and root.name == type_name

    def _of_field(self, name: tuple[str, str], field: GraphQLField) -> Resolver:
        inner = field.resolve or self._field_resolver
        is_required = is_non_null_type(field.type)
        number = self.index.numbers.get(name, ANY)

        def resolve(source: Any, info: Info, /, **arguments: Any) -> Any:
            decision: Any = info.fragments.get(KEY, UNDECIDED)
            if number in decision.allowed:
                return inner(source, info, **arguments)
            return self.resolve(decision, Asked(inner, source, info, arguments, is_required, number, False))

        def resolve_plain(source: Any, info: Info, /) -> Any:
            decision: Any = info.fragments.get(KEY, UNDECIDED)
            if number in decision.allowed:
                return inner(source, info)
            return self.resolve(decision, Asked(inner, source, info, {}, is_required, number, False))

        return resolve if field.args else resolve_plain  # most have none, and passing none costs as much as the rest

    def _change_abstract(self, original: Any, copied: Any) -> None:
        if not self.index.can_vanish(original):
            return
        inner = original.resolve_type

        def resolve_type(value: Any, info: Info, abstract: Any, /) -> Any:
            # A framework's own resolver may compare with the type that it made.
            found = self._type_resolver(value, info, abstract) if inner is None else inner(value, info, original)
            return self._type_later(found, info) if info.is_awaitable(found) else self._checked_type(found, info)

        copied.resolve_type = resolve_type

    # ---------------------------------------------------------------------------------- while it runs

    def resolve(self, decision: Any, field: Asked) -> Any:
        """Resolve a field, if the decision on its operation allows it."""
        if type(decision) is not Decision:
            if decision is None or decision is UNDECIDED:  # an executor that began elsewhere than with a root field
                decision = self.decider.decide(field.info)
            if type(decision) is not Decision:
                return self._later(decision, field)
        if decision.refusal is not None:
            return self._refuse_whole(decision, decision.refusal, field)
        denial, is_left_out = self._denial(decision, field)
        if is_left_out:
            return self._leave_out(decision, field)
        if denial is not None:
            return self._deny(decision, denial, field)
        if field.coordinate in decision.plan.rows and not decision.is_clear:
            return self._ask_row(decision, field)
        return field.resolve()

    def _denial(self, decision: Decision, field: Asked) -> tuple[Denial | None, bool]:
        """Why the field is refused; and whether it is left out, since another is."""
        plan, coordinate = decision.plan, field.coordinate
        if decision.refused is not None:
            denial = decision.refused.get(str(field.info.path.key)) if field.is_root else None
            return denial, denial is None
        denial = None
        if not decision.is_clear:
            denial = plan.denied.get(coordinate)
            if denial is None and field.is_root:
                denial = plan.roots.get(str(field.info.path.key))
            if denial is None and plan.stops:
                denial = plan.stops.get(place_of(field.info.field_nodes, coordinate[0]))
        if denial is None and field.number >= 0 and field.number not in decision.met:
            # The plan knows nothing of it: the document was not what it is now, or was never validated.
            denial = Denial(".".join(coordinate), self.index.fields[coordinate])
        return denial, False

    async def _later(self, decided: Pending, field: Asked) -> Any:
        result = self.resolve(await decided.wait(), field)
        return await result if inspect.isawaitable(result) else result

    def _deny(self, decision: Decision, denial: Denial, field: Asked) -> None:
        """Null, with one error for all rows of a list, or with none where the rule is silent."""
        reported = decision.reported
        if not field.is_required:
            path = path_of(field.info)
            is_silent = any(part.rule.is_silent for part in denial.guard.failing(decision.held))
            if is_silent or path in reported or len(reported) >= MOST_ERRORS:
                return
            reported.add(path)
        raise self._error(decision, denial, field.info)

    def _leave_out(self, decision: Decision, field: Asked) -> None:
        """Null, since nothing of the operation is run; the error is that of the field that is refused."""
        if field.is_required:
            other, denial = next(iter((decision.refused or {}).items()))
            raise error_of(decision, denial, names=self._names, path=[other])

    def _refuse_whole(self, decision: Decision, refusal: GraphQLError, field: Asked) -> None:
        path = None
        if decision.reported:
            if not field.is_required:
                return
            path = field.info.path.as_list()
        decision.reported.add("the operation")
        if path is None and refusal.original_error is not None:
            raise refusal.original_error
        raise GraphQLError(
            refusal.message, path=path, original_error=refusal.original_error, extensions=refusal.extensions
        )

    def _error(self, decision: Decision, denial: Denial, info: Info) -> GraphQLError:
        """Without its nodes where there are many: graphql-core looks through the document for each location."""
        decision.errors += 1
        nodes = info.field_nodes if decision.errors <= MOST_ERRORS else None
        shows = self._shows_requirements
        path = info.path.as_list()  # complete, so that it is no cause of another error, for servers to trace
        return error_of(decision, denial, names=self._names, shows_requirements=shows, path=path, nodes=nodes)

    def _checked_type(self, found: Any, info: Info) -> Any:
        # As graphql-core reads it: a string is a name, whatever else it is.
        name = str.__str__(found) if isinstance(found, str) else getattr(found, "name", None)
        number = self.index.numbers.get((name, ""), ANY) if isinstance(name, str) else ANY
        decision: Any = info.fragments.get(KEY)
        if type(decision) is not Decision:
            decision = Decision(find_auth(info.context), Plan(), frozenset())
        denial = None
        if not decision.is_clear:
            gone = decision.plan.row_stops.get(place_of(info.field_nodes, info.parent_type.name))
            denial = decision.plan.gone.get(str(name)) or (None if gone is None else gone.get(str(name)))
        if denial is None and number >= 0 and number not in decision.met:
            denial = Denial(str(name), self.index.types[str(name)])
        if denial is not None:
            raise self._row_error(decision, denial, info)
        return found

    def _row_error(self, decision: Decision, denial: Denial, info: Info) -> GraphQLError:
        """graphql-core alone knows the row, and says so of the first hundred; the others have the list's path."""
        decision.errors += 1
        path = info.path.as_list() if decision.errors > MOST_ERRORS else None
        shows = self._shows_requirements
        return error_of(decision, denial, names=self._names, shows_requirements=shows, path=path)

    async def _type_later(self, found: Awaitable[Any], info: Info) -> Any:
        return self._checked_type(await found, info)

    # ------------------------------------------------------------------------------------------ rows

    def _ask_row(self, decision: Decision, field: Asked) -> Any:
        guard = self.index.fields[field.coordinate]
        names = sorted(need[4:] for need in guard.rule.needs if need.startswith("row:"))
        answers = {name: self._row_answer(decision, name, field) for name in names}
        if any(inspect.isawaitable(answer) for answer in answers.values()):
            return self._row_later(decision, guard, answers, field)
        return self._resolve_row(decision, guard, answers, field)

    def _row_answer(self, decision: Decision, name: str, field: Asked) -> Any:
        """What the application says of this object and these arguments, asked once in an operation."""
        try:
            key = name, id(field.source), plain(field.arguments)
        except TypeError:  # values that only the application can compare
            key = None
        known = None if key is None else decision.rows.get(key)
        if known is None:
            with _honest(name):
                answer = self._row_policies[name](decision.auth, field.source, field.arguments)
                if inspect.isawaitable(answer):
                    answer = started(answer)
            known = field.source, answer  # with the object, so that its id stays its own
            if key is not None:
                decision.rows[key] = known
        return known[1]

    async def _row_later(self, decision: Decision, guard: Guard, answers: dict[str, Any], field: Asked) -> Any:
        for name, answer in answers.items():
            if inspect.isawaitable(answer):
                with _honest(name):
                    answers[name] = await asyncio.shield(answer)  # several fields may wait for it
        result = self._resolve_row(decision, guard, answers, field)
        return await result if inspect.isawaitable(result) else result

    def _resolve_row(self, decision: Decision, guard: Guard, answers: Mapping[str, Any], field: Asked) -> Any:
        held = decision.held | {f"row:{name}" for name, answer in answers.items() if answer is True}
        if guard.rule.holds(held):
            return field.resolve()
        if not field.is_required and any(part.rule.is_silent for part in guard.parts if not part.rule.holds(held)):
            return None
        raise self._error(decision, Denial(".".join(field.coordinate), guard), field.info)


@contextlib.contextmanager
def _honest(name: str) -> Iterator[None]:
    """A policy that fails says neither yes nor no."""
    try:
        yield
    except (AuthError, ConfigurationError):
        raise
    except Exception as error:
        _log.exception("the row policy %s failed", name)
        raise Unavailable(f"the row policy {name} raised {type(error).__name__}") from error


def protection_of(schema: GraphQLSchema) -> Protection | None:
    """What protects a schema."""
    found = (schema.extensions or {}).get(EXTENSION)
    return found if isinstance(found, Protection) else None
