"""JSON values that cannot be changed. Nothing about tokens."""

from __future__ import annotations

from typing import Any, NoReturn, SupportsIndex

__all__ = ["FrozenDict", "freeze_json"]


class FrozenDict(dict[str, Any]):
    """A JSON object that cannot be changed, and is still a dict to `json.dumps` and friends."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> FrozenDict:
        self = super().__new__(cls)
        dict.__init__(self, *args, **kwargs)
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Filled by `__new__`: a second call changes nothing."""

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("claims are frozen")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __copy__(self) -> FrozenDict:
        return self

    def __deepcopy__(self, _memo: object) -> FrozenDict:
        return self

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[type[FrozenDict], tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self),)


def freeze_json(value: Any) -> Any:
    """The same JSON value, unchangeable at every depth: objects as FrozenDict, arrays as tuples."""
    if isinstance(value, dict):
        return FrozenDict({name: freeze_json(member) for name, member in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze_json(member) for member in value)
    return value
