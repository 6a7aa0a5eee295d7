"""graphql-core's execute, execute_sync and subscribe, with the context frozen before the first resolver."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import graphql
from graphql import DocumentNode, ExecutionResult, GraphQLError, GraphQLSchema

from ..model import AuthContext
from .context import FrozenContext, find_auth, freeze
from .denials import Denied
from .visibility import visible_to

__all__ = ["execute", "execute_sync", "subscribe", "thinned"]

MOST_DENIALS = 100


def execute(
    schema: GraphQLSchema,
    document: DocumentNode,
    *,
    context_value: object = None,
    auth: AuthContext | None = None,
    **options: Any,
) -> ExecutionResult | Awaitable[ExecutionResult]:
    """graphql-core's `execute`.

    Args:
        schema: To execute against.
        document: Parsed and validated.
        context_value: Frozen first; see `freeze`.
        auth: Who is calling, where no adapter has said so.
        **options: graphql-core's own, by name.

    Raises:
        TypeError: Options that this graphql-core does not know.
    """
    context = freeze(context_value, auth=auth)
    schema, errors = _visible(schema, document, context)
    if errors:
        return ExecutionResult(None, errors)
    result: Any = graphql.execute(schema, document, context_value=context, **options)
    return _thinned_later(result) if inspect.isawaitable(result) else thinned(result)


def execute_sync(
    schema: GraphQLSchema,
    document: DocumentNode,
    *,
    context_value: object = None,
    auth: AuthContext | None = None,
    **options: Any,
) -> ExecutionResult:
    """graphql-core's `execute_sync`; see `execute`.

    Raises:
        RuntimeError: A resolver is asynchronous.
    """
    context = freeze(context_value, auth=auth)
    schema, errors = _visible(schema, document, context)
    if errors:
        return ExecutionResult(None, errors)
    result = graphql.execute_sync(schema, document, context_value=context, **options)
    thin: ExecutionResult = thinned(result)
    return thin


async def subscribe(
    schema: GraphQLSchema,
    document: DocumentNode,
    *,
    context_value: object = None,
    auth: AuthContext | None = None,
    **options: Any,
) -> AsyncIterator[ExecutionResult] | ExecutionResult:
    """graphql-core's `subscribe`; see `execute`. One frozen context serves all events.

    Returns:
        The events, or the errors for which there are none.
    """
    # 3.2 answers a coroutine; 3.3 may answer the iterator at once.
    context = freeze(context_value, auth=auth)
    schema, errors = _visible(schema, document, context)
    if errors:
        return ExecutionResult(None, errors)
    result: Any = graphql.subscribe(schema, document, context_value=context, **options)
    return await result if inspect.isawaitable(result) else result  # type: ignore[no-any-return]


def _visible(
    schema: GraphQLSchema, document: DocumentNode, context: FrozenContext
) -> tuple[GraphQLSchema, list[GraphQLError]]:
    """What this caller finds of the schema, and what the document asks of it that is not there for them."""
    visible = visible_to(schema, find_auth(context))
    return visible, [] if visible is schema else graphql.validate(visible, document)


def thinned(result: Any) -> Any:
    """A result in which what `protect` refused is said once for each field and list, and at most a hundred times.

    Rows whose types differ are refused one by one, as graphql-core must place each null.
    """
    kept: list[Any] = []
    seen: set[tuple[object, ...]] = set()
    for error in getattr(result, "errors", None) or ():
        if not isinstance(error, Denied) and not isinstance(error.original_error, Denied):
            kept.append(error)
            continue
        place = (error.message, *(key for key in error.path or () if isinstance(key, str)))
        if place not in seen and len(seen) < MOST_DENIALS:
            kept.append(error)
        seen.add(place)
    if kept and len(kept) < len(result.errors):
        result.errors = kept
    return result


async def _thinned_later(result: Awaitable[ExecutionResult]) -> ExecutionResult:
    thin: ExecutionResult = thinned(await result)
    return thin
