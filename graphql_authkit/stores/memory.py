"""Revocations in this process's memory: for tests, prototypes and one-process servers.

Other processes do not see them and a restart forgets them; the shared stores are for that.
"""

from __future__ import annotations

import heapq
import threading

from ..errors import ConfigurationError, StoreUnavailable
from ..revocation import Revocable, RevocationKey, Rule, Verdict, judge, keys_of

__all__ = ["MemoryRevocationStore"]


class MemoryRevocationStore:
    """A dict of rules, bounded, that forgets each rule once no token it concerns can be alive.

    When it is full of live rules, `record` raises StoreUnavailable: the caller learns that the
    revocation did not happen, and no earlier one is forgotten for it.

    Args:
        max_entries: The most live rules it keeps.
    """

    def __init__(self, *, max_entries: int = 1_000_000) -> None:
        if isinstance(max_entries, bool) or not isinstance(max_entries, int) or max_entries < 1:
            raise ConfigurationError("max_entries must be a positive integer")
        self._max_entries = max_entries
        self._rules: dict[RevocationKey, Rule] = {}
        self._by_expiry: list[tuple[float, RevocationKey]] = []
        self._lock = threading.Lock()

    def record(self, rule: Rule, now: float) -> None:
        """Keep a rule, merged with an older one of its key; see RevocationStore.

        Raises:
            StoreUnavailable: It is full of rules that still matter.
        """
        with self._lock:
            self._purge(now)
            known = self._rules.get(rule.key)
            if known is None and len(self._rules) >= self._max_entries:
                raise StoreUnavailable(f"the memory store is full: {self._max_entries} live revocations")
            kept = rule if known is None else _merge(known, rule)
            self._rules[rule.key] = kept
            if known is None or kept.expires_at != known.expires_at:
                heapq.heappush(self._by_expiry, (kept.expires_at, rule.key))
                self._compact()

    def check(self, token: Revocable, now: float) -> Verdict:
        """The verdict on a token. It reads without a lock: a dict lookup is atomic."""
        rules = self._rules
        found = (rules.get(key) for key in keys_of(token))
        return judge(token, [rule for rule in found if rule is not None and rule.expires_at > now])

    def local_check(self, token: Revocable, now: float) -> Verdict:
        """The same: everything is here."""
        return self.check(token, now)

    def __len__(self) -> int:
        return len(self._rules)

    def _compact(self) -> None:
        """Drop what renewed rules left behind, so that the heap stays as bounded as the rules."""
        if len(self._by_expiry) > 2 * len(self._rules) + 64:
            self._by_expiry = [(rule.expires_at, key) for key, rule in self._rules.items()]
            heapq.heapify(self._by_expiry)

    def _purge(self, now: float) -> None:
        while self._by_expiry and self._by_expiry[0][0] <= now:
            _, key = heapq.heappop(self._by_expiry)
            rule = self._rules.get(key)
            if rule is not None and rule.expires_at <= now:
                del self._rules[key]


def _merge(known: Rule, rule: Rule) -> Rule:
    """The stricter of both: None, the token itself, is stricter than any date."""
    dates = [known.not_before, rule.not_before]
    not_before = None if None in dates else max(date for date in dates if date is not None)
    return Rule(rule.key, not_before, max(known.expires_at, rule.expires_at))
