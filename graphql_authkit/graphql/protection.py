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
from typing import Any, NamedTuple, TypeAlias

from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLSchema,
    default_field_resolver,
    default_type_resolver,
    get_named_type,
    is_non_null_type,
)
from graphql.type.introspection import SchemaMetaFieldDef, TypeMetaFieldDef

from ..authorization.index import AuthIndex, Guard
from ..authorization.plan import Denial
from ..errors import AuthError, Unavailable
from ..model import AuthContext
from .cloning import clone_schema
from .decisions import KEY, Decider, Decision, Info, error_of, place_of

__all__ = ["Protection", "RowPolicy", "protection_of"]

RowPolicy: TypeAlias = Callable[[AuthContext, Any, Mapping[str, Any]], bool | Awaitable[bool]]
Resolver: TypeAlias = Callable[..., Any]

_log = logging.getLogger("graphql_authkit")
EXTENSION = "graphql_authkit.protection"


class Asked(NamedTuple):
    """A field that is about to be resolved."""

    inner: Resolver
    source: Any
    info: Info
    arguments: dict[str, Any]
    is_required: bool

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
        field_resolver: Resolver | None,
        type_resolver: Resolver | None,
    ) -> None:
        self.index = index
        self._decider = decider
        self._row_policies = row_policies
        self._shows_requirements = shows_requirements
        self._field_resolver = field_resolver or default_field_resolver
        self._type_resolver = type_resolver or default_type_resolver

    def clone(self) -> GraphQLSchema:
        """The protected copy."""
        schema = clone_schema(self.index.schema, self._change_field, self._change_abstract)
        schema.extensions[EXTENSION] = self
        _watch_introspection()
        return schema

    # ------------------------------------------------------------------------------------- wrapping

    def _change_field(self, type_name: str, name: str, field: GraphQLField) -> None:
        index = self.index
        if type_name in index.root_names:
            is_subscription = index.schema.subscription_type is not None and (
                type_name == index.schema.subscription_type.name
            )
            field.resolve = self._of_root(field, field.resolve, starts=False, decides_anew=is_subscription)
            if is_subscription:  # its events decide anew: in graphql-core 3.3 they share the source's dict
                field.subscribe = self._of_root(field, field.subscribe, starts=True, decides_anew=True)
        elif (type_name, name) in index.fields or index.can_vanish(get_named_type(field.type)):
            field.resolve = self._of_field(type_name, name, field)

    def _of_root(self, field: GraphQLField, given: Resolver | None, *, starts: bool, decides_anew: bool) -> Resolver:
        inner = given or self._field_resolver
        is_required = starts or is_non_null_type(field.type)  # no source of events can be null

        def resolve(source: Any, info: Info, **arguments: Any) -> Any:
            is_root = info.path.prev is None  # else an object of the root's type was returned by a field
            decision: Any = None if decides_anew and is_root else info.fragments.get(KEY)
            if decision is None:
                decision = self._decider.decide(info)
            if type(decision) is Decision and decision.is_clear:
                return inner(source, info, **arguments)
            asked = Asked(inner, source, info, arguments, is_required)
            return self._resolve_root(decision, asked) if is_root else self._resolve(decision, asked)

        return resolve

    def _of_field(self, type_name: str, name: str, field: GraphQLField) -> Resolver:
        inner = field.resolve or self._field_resolver
        is_required = is_non_null_type(field.type)

        def resolve(source: Any, info: Info, **arguments: Any) -> Any:
            decision: Any = info.fragments.get(KEY)
            if type(decision) is Decision and decision.is_clear:
                return inner(source, info, **arguments)
            return self._resolve(decision, Asked(inner, source, info, arguments, is_required))

        return resolve

    def _change_abstract(self, original: Any, copied: Any) -> None:
        if not self.index.can_vanish(original):
            return
        inner = original.resolve_type

        def resolve_type(value: Any, info: Info, abstract: Any) -> Any:
            # A framework's own resolver may compare with the type that it made.
            found = self._type_resolver(value, info, abstract) if inner is None else inner(value, info, original)
            decision: Any = info.fragments.get(KEY)
            if type(decision) is Decision and (decision.is_clear or not decision.plan.row_stops):
                return found
            if info.is_awaitable(found):
                return self._type_later(decision, found, info)
            return self._checked_type(decision, found, info)

        copied.resolve_type = resolve_type

    # ---------------------------------------------------------------------------------- while it runs

    def _resolve_root(self, decision: Any, field: Asked) -> Any:
        if type(decision) is not Decision:
            return self._later(decision, field, self._resolve_root)
        if decision.is_clear:
            return field.resolve()
        key = str(field.info.path.key)
        if decision.refusal is not None:
            return self._refuse_whole(decision, decision.refusal, field)
        if decision.refused is None:
            denial = decision.plan.roots.get(key)
        else:
            denial = decision.refused.get(key)
            if denial is None:
                return self._leave_out(decision, decision.refused, field)
        if denial is not None:
            return self._deny(decision, denial, field)
        return self._resolve_allowed(decision, field)

    def _resolve(self, decision: Any, field: Asked) -> Any:
        if type(decision) is not Decision:  # an executor that began elsewhere than with a root field
            decision = self._decider.decide(field.info)
            if type(decision) is not Decision:
                return self._later(decision, field, self._resolve)
        if decision.is_clear:
            return field.resolve()
        plan, coordinate = decision.plan, field.coordinate
        denial = plan.denied.get(coordinate)
        if denial is None and plan.stops:
            denial = plan.stops.get(place_of(field.info))
        if denial is not None:
            return self._deny(decision, denial, field)
        return self._resolve_allowed(decision, field)

    def _resolve_allowed(self, decision: Decision, field: Asked) -> Any:
        return self._ask_row(decision, field) if field.coordinate in decision.plan.rows else field.resolve()

    async def _later(self, decided: asyncio.Future[Decision], field: Asked, resolve: Resolver) -> Any:
        result = resolve(await asyncio.shield(decided), field)
        return await result if inspect.isawaitable(result) else result

    def _deny(self, decision: Decision, denial: Denial, field: Asked) -> None:
        """Null, with one error for all rows of a list, or with none where the rule is silent."""
        if not field.is_required:
            path = tuple(key for key, _ in place_of(field.info))
            if any(part.rule.is_silent for part in denial.guard.failing(decision.held)) or path in decision.reported:
                return
            decision.reported.add(path)
        raise self._error(decision, denial)

    def _leave_out(self, decision: Decision, refused: Mapping[str, Denial], field: Asked) -> None:
        """Null, since nothing of the operation is run; the error is that of the field that is refused."""
        if field.is_required:
            other, denial = next(iter(refused.items()))
            error = self._error(decision, denial)
            raise GraphQLError(error.message, path=[other], extensions=error.extensions)

    def _refuse_whole(self, decision: Decision, refusal: GraphQLError, field: Asked) -> None:
        if not field.is_required:
            if decision.reported:
                return
            decision.reported.add("the operation")
        raise GraphQLError(refusal.message, original_error=refusal.original_error, extensions=refusal.extensions)

    def _error(self, decision: Decision, denial: Denial) -> GraphQLError:
        return error_of(decision, denial, shows_requirements=self._shows_requirements)

    def _checked_type(self, decision: Any, found: Any, info: Info) -> Any:
        if type(decision) is not Decision:
            raise GraphQLError("Not allowed.", extensions={"code": "FORBIDDEN", "reason": "FORBIDDEN"})
        gone = decision.plan.row_stops.get(place_of(info))
        denial = None if gone is None else gone.get(getattr(found, "name", found))
        if denial is not None:
            raise self._error(decision, denial)
        return found

    async def _type_later(self, decision: Any, found: Awaitable[Any], info: Info) -> Any:
        return self._checked_type(decision, await found, info)

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
        arguments = tuple(sorted((one, repr(value)) for one, value in field.arguments.items()))
        key = name, id(field.source), arguments
        known = decision.rows.get(key)
        if known is None:
            with _honest(name):
                answer = self._row_policies[name](decision.auth, field.source, field.arguments)
            if inspect.isawaitable(answer):
                answer = asyncio.ensure_future(answer)
            known = decision.rows[key] = field.source, answer  # with the object, so that its id stays its own
        return known[1]

    async def _row_later(self, decision: Decision, guard: Guard, answers: dict[str, Any], field: Asked) -> Any:
        for name, answer in answers.items():
            if inspect.isawaitable(answer):
                with _honest(name):
                    answers[name] = await answer
        result = self._resolve_row(decision, guard, answers, field)
        return await result if inspect.isawaitable(result) else result

    def _resolve_row(self, decision: Decision, guard: Guard, answers: Mapping[str, Any], field: Asked) -> Any:
        granted = {f"row:{name}" for name, answer in answers.items() if answer is True}
        if guard.rule.holds(decision.held | granted):
            return field.resolve()
        if not field.is_required and guard.is_silent:
            return None
        raise self._error(decision, Denial(".".join(field.coordinate), guard, ()))


@contextlib.contextmanager
def _honest(name: str) -> Iterator[None]:
    """A policy that fails says neither yes nor no."""
    try:
        yield
    except AuthError:
        raise
    except Exception as error:
        _log.exception("the row policy %s failed", name)
        raise Unavailable(f"the row policy {name} raised {type(error).__name__}") from error


def protection_of(schema: GraphQLSchema) -> Protection | None:
    """What protects a schema."""
    found = (schema.extensions or {}).get(EXTENSION)
    return found if isinstance(found, Protection) else None


_watched: dict[str, Resolver] = {}


def _watch_introspection() -> None:
    """`__schema` and `__type` belong to no schema: graphql-core has one definition of each, for all schemas.

    Theirs is the one place where both versions of it ask; schemas that are not protected go on as they were.
    """
    for definition in (SchemaMetaFieldDef, TypeMetaFieldDef):
        name = "__schema" if definition is SchemaMetaFieldDef else "__type"
        if name not in _watched and definition.resolve is not None:
            _watched[name] = definition.resolve
            definition.resolve = _introspecting(definition.resolve, is_required=name == "__schema")


def _introspecting(inner: Resolver, *, is_required: bool) -> Resolver:
    def resolve(source: Any, info: Info, **arguments: Any) -> Any:
        protection = protection_of(info.schema)
        if protection is None or protection.index.introspection.rule.is_public:
            return inner(source, info, **arguments)
        decision: Any = info.fragments.get(KEY)
        if decision is None:
            decision = protection._decider.decide(info)
        return protection._resolve_root(decision, Asked(inner, source, info, arguments, is_required))

    return resolve
