"""When an issuer may be asked for its keys again. Pure: the time is a parameter, and whoever calls holds a lock.

Two limits, which never share a budget: a pause after failures, and a bucket of searches for unknown `kid`s.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from .._cache import GenerationalCache

__all__ = ["Backoff", "SearchBudget"]

FIRST_PAUSE = 1.0
BUCKET = 2
KIDS_REMEMBERED = 4096
_SEEN = -math.inf  # asked for, and never searched


class Backoff:
    """The pause after failures: it doubles up to a bound, and some of it is chance, so that servers part.

    Args:
        longest: Seconds.
        chance: Gives a number from 0 to 1.
    """

    def __init__(self, longest: float, chance: Callable[[], float] = random.random) -> None:
        self._longest = longest
        self._chance = chance
        self.failures = 0
        self.retry_at = -math.inf

    def fail(self, now: float) -> None:
        """A fetch failed."""
        pause = min(FIRST_PAUSE * 2.0 ** min(self.failures, 30), self._longest)
        self.failures += 1
        self.retry_at = now + pause * (1 + self._chance() / 4)

    def succeed(self) -> None:
        """A fetch did not fail."""
        self.failures, self.retry_at = 0, -math.inf


class SearchBudget:
    """Which unknown `kid`s are worth a fetch, so that invented ones can neither flood an issuer nor hide a new key.

    A bucket of two searches that refills by one each `cooldown`. A `kid` never seen before may take one only
    while another stays: the last is for one that is asked for again, as those of a new key are and invented
    ones, each different, are not. One that was searched in vain is not searched again for a `cooldown`, and
    then takes nothing from the last. Ordinary refreshes take none at all.

    Args:
        cooldown: Seconds.
    """

    def __init__(self, cooldown: float) -> None:
        self._cooldown = cooldown
        self._level = float(BUCKET)
        self._filled_at = -math.inf
        self._searched: GenerationalCache[int, float] = GenerationalCache(KIDS_REMEMBERED)

    def take(self, kid: str, now: float) -> bool:
        """Whether to search for this `kid` now; if so, it is paid for."""
        name = hash(kid)  # keyed anew in each process: nobody can choose two that meet
        searched_at = self._searched.get(name)
        if searched_at is not None and now < searched_at + self._cooldown:
            return False
        self._level = min(BUCKET, self._level + max(0.0, now - self._filled_at) / self._cooldown)
        self._filled_at = now
        if self._level >= BUCKET or (self._level >= 1 and searched_at == _SEEN):
            self._level -= 1
            self._searched.put(name, now)
            return True
        if searched_at is None:
            self._searched.put(name, _SEEN)
        return False

    def notice(self, kid: str) -> None:
        """This `kid` was asked for while a fetch was under way, which may or may not bring it."""
        name = hash(kid)
        if self._searched.get(name) is None:
            self._searched.put(name, _SEEN)

    def give_back(self, kid: str) -> None:
        """The search for it failed: nobody knows yet whether it exists. What it cost stays spent."""
        self._searched.put(hash(kid), _SEEN)
