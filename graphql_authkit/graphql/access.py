"""Who is calling, from a resolver's `info`, however the framework carries it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..authenticator import ENVIRON_KEY, current_auth
from ..errors import MissingCredential
from ..model import AuthContext, AuthenticatedContext

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
    context = info.context
    found = _member(context, "auth")
    if isinstance(found, AuthContext):
        return found
    for request in (_member(context, "request"), context):
        found = _from_request(request)
        if isinstance(found, AuthContext):
            return found
    return current_auth()


def require_auth(info: HasContext) -> AuthenticatedContext:
    """Who is calling, where nobody may be anonymous.

    Raises:
        MissingCredential: The caller is anonymous. GraphQL answers null and this error, with its `extensions`.
    """
    auth = get_auth(info)
    if not isinstance(auth, AuthenticatedContext):
        raise MissingCredential("require_auth() in a resolver, for an anonymous caller")
    return auth


def _member(context: object, name: str) -> object:
    if isinstance(context, Mapping):
        return context.get(name)
    return getattr(context, name, None)


def _from_request(request: object) -> object:
    """The AuthContext that a middleware left in an ASGI scope or a WSGI environ."""
    scope = getattr(request, "scope", None)
    if isinstance(scope, Mapping):
        state = scope.get("state")
        return state.get("auth") if isinstance(state, Mapping) else None
    environ = getattr(request, "environ", None)
    return environ.get(ENVIRON_KEY) if isinstance(environ, Mapping) else None
