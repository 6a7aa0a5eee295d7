"""`protect`: rules for a schema of graphql-core, Strawberry or Graphene; the same kind comes back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from graphql import GraphQLSchema

from ..authorization import Rule
from ..authorization.index import AuthIndex, Default, Introspection
from ..errors import ConfigurationError
from ..events import Listener, check_listener, log_event
from .decisions import Decider, Mode, Policies
from .introspection import watch
from .protection import Protection, Resolver, RowPolicy, protection_of
from .visibility import Visibility

__all__ = ["index_of", "protect", "settings_of"]

Schema = TypeVar("Schema")


def protect(
    schema: Schema,
    *,
    default: Default = "authenticated",
    rules: Mapping[str, Rule] | None = None,
    directives: Mapping[str, str | None] | None = None,
    policies: Policies | None = None,
    row_policies: Mapping[str, RowPolicy] | None = None,
    mode: Mode = "filter",
    introspection: Introspection = "all",
    limits: Mapping[str, int] | None = None,
    shows_requirements: bool = False,
    field_resolver: Resolver | None = None,
    type_resolver: Resolver | None = None,
    on_event: Listener = log_event,
) -> Schema:
    """A copy of a schema that keeps rules, whatever executes it. Bind resolvers before, not after.

    What is refused is decided before the first resolver runs, for the operation that is executed. It is null,
    with one error for a field or list; a mutation of which something is refused for certain is refused whole,
    and so is what an anonymous caller asks for, if any root field of it is not public.

    Args:
        schema: A GraphQLSchema, strawberry.Schema or graphene.Schema; not changed.
        default: For root fields without a rule: "authenticated", "public", or "deny": they are an error.
        rules: By coordinate, `{"User.email": requires("read:email")}`, besides what directives and
            `extensions["graphql_authkit"]` say.
        directives: Names of directives in this schema, and which of ours each stands for:
            `{"auth": "authenticated"}`; None for one that looks like a rule and is none. Ours are
            `authenticated`, `requiresScopes`, `policy`, `rowPolicy`, `public`.
        policies: `policies(auth, names) -> names`: which of the policies that an operation mentions are met,
            asked once for each operation, sync or async. Asynchronous ones need an event loop.
        row_policies: By name, `decide(auth, object, arguments) -> bool`, sync or async: asked for each object on
            its own, once for the same object and plain arguments; `batched(decide)` is asked for many at once.
        mode: "filter"; "reject" refuses a query too if anything of it is refused for certain; "dry_run"
            refuses nothing and tells `on_event`.
        introspection: Who may ask for `__schema` and `__type`: "all", "authenticated", or "none". With "visible"
            each caller finds what they may see, and the rest does not exist for them, in validation and its
            suggestions neither: behind the middleware, and where our `execute` or `visible_to` is used.
        limits: How often a root field may be asked for in one request, aliases and batches counted:
            `{"Mutation.login": 1}`.
        shows_requirements: Say in errors what a rule asks for.
        field_resolver: What executes fields without a resolver, where execution is given one of its own.
        type_resolver: The same for abstract types.
        on_event: Told of each operation that is restricted; logs by default.

    Returns:
        The same kind of schema.

    Raises:
        ConfigurationError: A rule that is not understood, contradicts another, or could not be kept.
    """
    core = _core_of(schema)
    if protection_of(core) is not None:
        raise ConfigurationError("the schema is protected already")
    index = AuthIndex(core, rules=rules, directives=directives, default=default, introspection=introspection)
    _check(index, policies, row_policies or {}, mode)
    decider = Decider(
        index, mode=mode, policies=policies, limits=_limits(index, limits or {}), on_event=check_listener(on_event)
    )
    protection = Protection(
        index,
        decider,
        row_policies=row_policies or {},
        shows_requirements=shows_requirements,
        names=introspection != "visible",
        field_resolver=field_resolver,
        type_resolver=type_resolver,
    )
    shown = ", ".join(f"{name}: {limit}" for name, limit in sorted((limits or {}).items()))
    protection.settings = {"default": default, "introspection": introspection, "limits": shown or "none", "mode": mode}
    clone = protection.clone()
    watch()
    if introspection == "visible":
        clone = Visibility(index, clone).for_each()
    protected: Schema = _with_core(schema, clone)
    return protected


def index_of(schema: object) -> AuthIndex:
    """What guards what in a schema that `protect` returned; raises as `settings_of`."""
    return _protection(schema).index


def settings_of(schema: object) -> dict[str, str]:
    """With which options `protect` returned a schema: what its rules come to hangs on these too.

    Raises:
        ConfigurationError: It did not.
    """
    return _protection(schema).settings


def _protection(schema: object) -> Protection:
    protection = protection_of(_core_of(schema))
    if protection is None:
        raise ConfigurationError("the schema is not protected: name what protect() returned")
    return protection


def _check(index: AuthIndex, policies: Policies | None, row_policies: Mapping[str, RowPolicy], mode: Mode) -> None:
    if mode not in ("filter", "reject", "dry_run"):
        raise ConfigurationError('mode is "filter", "reject" or "dry_run"')
    named = sorted(need[7:] for need in index.needs if need.startswith("policy:"))
    if named and policies is None:
        raise ConfigurationError(f"the schema asks for policies {named}: policies= decides them")
    if policies is not None and not callable(policies):
        raise ConfigurationError("policies= takes a callable")
    rows = {need[4:] for need in index.needs if need.startswith("row:")}
    missing = sorted(rows - row_policies.keys())
    if missing:
        raise ConfigurationError(f"the schema asks for row policies {missing}: row_policies= decides them")
    if not all(callable(one) for one in row_policies.values()):
        raise ConfigurationError("row_policies= takes a callable for each name")


def _limits(index: AuthIndex, given: Mapping[str, int]) -> dict[tuple[str, str], int]:
    limits = {}
    for coordinate, limit in given.items():
        type_name, _, name = coordinate.partition(".")
        parent: Any = index.schema.type_map.get(type_name)
        if type_name not in index.root_names or name not in parent.fields:
            raise ConfigurationError(f"limits: {coordinate} is no field of a root type")
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ConfigurationError(f"limits: {coordinate} takes a positive number")
        limits[type_name, name] = limit
    return limits


def _core_of(schema: object) -> GraphQLSchema:
    if isinstance(schema, GraphQLSchema):
        return schema
    for module, name, attribute in _KINDS:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(schema, kind):
            core = getattr(schema, attribute)
            if isinstance(core, GraphQLSchema):
                return core
    raise ConfigurationError(
        f"protect() takes a GraphQLSchema, strawberry.Schema or graphene.Schema, not {schema!r:.60}"
    )


_KINDS = (("strawberry", "Schema", "_schema"), ("graphene", "Schema", "graphql_schema"))


def _with_core(schema: Any, core: GraphQLSchema) -> Any:
    if isinstance(schema, GraphQLSchema):
        return core
    clone = object.__new__(type(schema))  # copy.copy asks Graphene's for attributes before it has any
    clone.__dict__.update(schema.__dict__)
    if hasattr(schema, "_schema"):  # Strawberry's, which finds its way back from the core in two ways
        clone._schema = core
        core._strawberry_schema = clone  # type: ignore[attr-defined]
        if "strawberry-definition" in core.extensions:
            core.extensions["strawberry-definition"] = clone
    else:
        clone.graphql_schema = core
    return clone
