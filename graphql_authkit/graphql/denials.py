"""What a client is told of what is refused, and where."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLError
from graphql.language import FieldNode

from ..authorization.plan import Denial
from ..errors import Forbidden, InsufficientScope, MissingCredential
from .decisions import Decision, Info

__all__ = ["Denied", "error_of", "path_of"]


class Denied(GraphQLError):  # noqa: N818 - as its siblings in `errors`
    """What a client is told of a denial."""


def path_of(info: Info) -> tuple[str, ...]:
    """The response keys that lead to a field, without the indices of lists."""
    keys = []
    path: Any = info.path
    while path is not None:
        if isinstance(path.key, str):
            keys.append(path.key)
        path = path.prev
    return tuple(reversed(keys))


def error_of(
    decision: Decision,
    denial: Denial,
    *,
    names: bool = True,
    shows_requirements: bool = False,
    path: list[str | int] | None = None,
    nodes: list[FieldNode] | None = None,
) -> Denied:
    """What a client is told of a denial.

    Args:
        decision: Of the operation.
        denial: Of a field or row.
        names: Say what it is that is refused; it may be hidden.
        shows_requirements: Say what the rule asks for.
        path: Where it is in the answer, if graphql-core is not to say that.
        nodes: Where it is in the document.
    """
    failing = denial.guard.failing(decision.held)
    scopes = [part for part in failing if any(need.startswith("scope:") for need in part.rule.needs)]
    kind = MissingCredential if not decision.auth.is_authenticated else InsufficientScope if scopes else Forbidden
    extensions: dict[str, Any] = {"code": kind.code, "reason": kind.reason}
    if names:
        extensions["coordinate"] = denial.coordinate
    if shows_requirements:
        extensions["requires"] = str(denial.guard.rule)
    message = f"Not allowed to see {denial.coordinate}." if names else "Not allowed."
    return Denied(message, nodes, path=path, extensions=extensions)
