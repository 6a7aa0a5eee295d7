"""Who is calling, from a resolver's `info`, however the framework carries it."""

from __future__ import annotations

from typing import Any, Protocol

from ..errors import MissingCredential
from ..model import AuthContext, AuthenticatedContext
from .context import find_auth

__all__ = ["HasContext", "get_auth", "require_auth"]


class HasContext(Protocol):
    """A resolver's `info`: graphql-core's GraphQLResolveInfo, Strawberry's Info, Graphene's."""

    @property
    def context(self) -> Any: ...


def get_auth(info: HasContext) -> AuthContext:
    """Who is calling. It works with no context at all: the middleware's own context variable is the last resort.

    Args:
        info: The resolver's. Looked at, in this order: `auth` of its context, as key or attribute; the
            request there, as `request` or the context itself; `current_auth()`.

    Returns:
        The AuthContext; ANONYMOUS where no adapter put one anywhere.
    """
    return find_auth(info.context)


def require_auth(info: HasContext) -> AuthenticatedContext:
    """Who is calling, where nobody may be anonymous.

    Raises:
        MissingCredential: The caller is anonymous. GraphQL answers null and this error, with its `extensions`.
    """
    auth = get_auth(info)
    if not isinstance(auth, AuthenticatedContext):
        raise MissingCredential("require_auth() in a resolver, for an anonymous caller")
    return auth
