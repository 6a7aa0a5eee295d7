"""Strawberry: resolvers get the frozen context in every view, over HTTP and WebSocket.

Strawberry's views write into the context before execution, and FastAPI's router copies a dict context
into a new one, so it cannot be frozen by whoever makes it. It is frozen here, when an operation starts.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..graphql import freeze
from ..graphql.execution import thinned

try:
    from strawberry.extensions import SchemaExtension
except ImportError as error:  # pragma: no cover - the message is the point
    raise ImportError("graphql_authkit.integrations.strawberry needs: pip install strawberry-graphql") from error

__all__ = ["FreezeContext"]


class FreezeContext(SchemaExtension):
    """`strawberry.Schema(Query, extensions=[FreezeContext])`.

    `info.context["auth"]` and `info.context.auth` are then the AuthContext, and whatever else the view
    put into the context reads as before. Writing to it raises FrozenContextError. List it first, so
    that other extensions see the frozen context too. Of what `protect` refused in the rows of a list one error is
    left, and at most a hundred in all.
    """

    def on_operation(self) -> Iterator[None]:
        """Freeze the context for the operation that now starts."""
        self.execution_context.context = freeze(self.execution_context.context)
        yield
        thinned(self.execution_context.result)
