"""The frozen context: what resolvers get as `info.context`, fixed before the first of them runs.

Frozen are its members, and who is calling, at every depth. The objects it holds (a request, a loader, a
database session) are the application's own and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from ..authenticator import current_auth
from ..model import ENVIRON_KEY, STATE_KEY, AuthContext

__all__ = ["FrozenContext", "FrozenContextError", "find_auth", "freeze"]


class FrozenContextError(AttributeError, TypeError):
    """Something tried to change the context of an operation that is running."""


class FrozenContext(Mapping[str, Any]):
    """A read-only context: `context["auth"]`, `context.auth`, `in`, `.get()`; always true, copies are itself.

    Make one with `freeze`.

    Args:
        members: Copied.
        origin: Where properties and methods are looked up, which are no members.
    """

    __slots__ = ("__weakref__", "_members", "_origin")

    def __init__(self, members: Mapping[str, Any], origin: object = None) -> None:
        object.__setattr__(self, "_members", dict(members))
        object.__setattr__(self, "_origin", origin)

    def __getitem__(self, name: str) -> Any:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __bool__(self) -> bool:
        return True  # frameworks replace a context that is false

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in FrozenContext.__slots__:
            raise AttributeError(name)  # nor while an unpickler or copier has not filled the slots
        if name in self._members:
            return self._members[name]
        if hasattr(type(self._origin), name):
            return getattr(self._origin, name)  # a property or method; what was set later stays unseen
        raise AttributeError(f"the context has no {name!r}", name=name, obj=self)

    def _refuse(self, name: object = "", *_args: object, **_kwargs: object) -> NoReturn:
        what = repr(name) if isinstance(name, str) else "it"  # never a value: it could be a secret
        raise FrozenContextError(
            f"the context is frozen while an operation runs: {what} cannot be changed "
            "(put it there before execution, or hold it in an object of your own)"
        )

    __setattr__ = __delattr__ = __setitem__ = __delitem__ = _refuse
    setdefault = update = pop = popitem = clear = __ior__ = _refuse

    def __copy__(self) -> FrozenContext:
        return self

    def __deepcopy__(self, _memo: object) -> FrozenContext:
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a FrozenContext belongs to its operation and cannot be pickled")

    def __repr__(self) -> str:
        return f"FrozenContext({sorted(self._members)})"


def freeze(context: object = None, *, auth: AuthContext | None = None) -> FrozenContext:
    """Fix a context for one operation, with who is calling in it.

    Args:
        context: A mapping, any object (its attributes become members), None, or a FrozenContext, which
            stays the same object where nothing is to be added.
        auth: Put in as `auth`. Without it who is calling is found as `get_auth` finds it and put in,
            unless something of your own is called `auth`.

    Raises:
        TypeError: A string or number, which can be no context.
    """
    if isinstance(context, FrozenContext):
        members: Mapping[str, Any] = context._members
        origin = context._origin
    elif isinstance(context, Mapping):
        members, origin = context, None
    elif isinstance(context, str | bytes | int | float | list | tuple):
        raise TypeError(f"a {type(context).__name__} is no context")
    else:
        members, origin = _attributes(context), context
    if auth is None:
        own = members.get("auth")
        if own is not None and not isinstance(own, AuthContext):
            return context if isinstance(context, FrozenContext) else FrozenContext(members, origin)
        auth = find_auth(context)
    if isinstance(context, FrozenContext) and members.get("auth") is auth:
        return context
    return FrozenContext({**members, "auth": auth}, origin)


def find_auth(context: object) -> AuthContext:
    """Who is calling, however a framework carries it; see `get_auth`."""
    found = _member(context, "auth")
    if isinstance(found, AuthContext):
        return found
    for request in (_member(context, "request"), context):
        found = _from_request(request)
        if isinstance(found, AuthContext):
            return found
    return current_auth()


def _member(context: object, name: str) -> object:
    if isinstance(context, Mapping):  # Starlette's Request is one, whose attribute `auth` may only raise
        return context.get(name)
    try:
        return getattr(context, name, None)
    except Exception:  # a property of the application's own that fails says nothing
        return None


def _from_request(request: object) -> object:
    """The AuthContext that a middleware left in an ASGI scope or a WSGI environ."""
    scope = getattr(request, "scope", None)
    if isinstance(scope, Mapping):
        state = scope.get("state")
        return state.get(STATE_KEY) if isinstance(state, Mapping) else None
    environ = getattr(request, "environ", None)
    return environ.get(ENVIRON_KEY) if isinstance(environ, Mapping) else None


def _attributes(context: object) -> dict[str, Any]:
    if context is None:
        return {}
    slots = (
        name
        for cls in type(context).__mro__
        for name in _slots_of(cls)
        if not name.startswith("__") and hasattr(context, name)
    )
    return {**{name: getattr(context, name) for name in slots}, **getattr(context, "__dict__", {})}


def _slots_of(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)
