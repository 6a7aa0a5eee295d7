"""A bounded map that forgets what is not used, without locks, clocks or linked lists."""

from __future__ import annotations

from typing import Generic, TypeVar

from .errors import ConfigurationError

__all__ = ["GenerationalCache"]

K = TypeVar("K")
V = TypeVar("V")


class GenerationalCache(Generic[K, V]):
    """Two generations: what is read in the old one moves to the young one, and the old one is dropped whole.

    An entry that is read at least once while `size` others come in, or as many as weigh `weight`, is never
    forgotten, and at most twice as many are held. Threads may race; under the GIL the worst outcome is an
    entry forgotten early, or a weight counted wrong until the next generation.

    Args:
        size: The entries of one generation.
        weight: The most that one generation weighs, as `put` is told.
    """

    __slots__ = ("_heaviest", "_old", "_weight", "_young", "size")

    def __init__(self, size: int, *, weight: int = 0) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigurationError("a cache holds at least one entry")
        self.size = size
        self._heaviest = weight
        self._weight = 0
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K, weight: int = 0) -> V | None:
        """The entry, or None. `weight` is that of `put`."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value, weight)
        return value

    def put(self, key: K, value: V, weight: int = 0) -> None:
        """Keep an entry, forgetting the older half when the young one is full or too heavy."""
        young = self._young
        young[key] = value
        self._weight += weight
        if len(young) >= self.size or self._weight > self._heaviest:
            self._old = young
            self._young = {}
            self._weight = 0

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())
