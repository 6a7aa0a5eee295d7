"""graphql-core's execute, execute_sync and subscribe, with the context frozen before the first resolver."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import graphql
from graphql import DocumentNode, ExecutionResult, GraphQLSchema

from ..model import AuthContext
from .context import freeze

__all__ = ["execute", "execute_sync", "subscribe"]


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
    return graphql.execute(schema, document, context_value=freeze(context_value, auth=auth), **options)


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
    return graphql.execute_sync(schema, document, context_value=freeze(context_value, auth=auth), **options)


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
    result: Any = graphql.subscribe(schema, document, context_value=freeze(context_value, auth=auth), **options)
    return await result if inspect.isawaitable(result) else result  # type: ignore[no-any-return]
