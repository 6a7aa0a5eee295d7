"""Revocations in this process's memory: for tests, prototypes and one-process servers.

Other processes do not see them and a restart forgets them; the shared stores are for that.
"""

from __future__ import annotations

import threading

from ..errors import ConfigurationError, StoreUnavailable
from ..revocation import Revocable, Rule, Verdict, fingerprint
from .ledger import Ledger

__all__ = ["MemoryRevocationStore"]


class MemoryRevocationStore:
    """Rules in memory, bounded; each is forgotten within a minute after no token that it concerns can be alive.

    When it is full of live rules, `record` raises StoreUnavailable: the caller learns that the
    revocation did not happen, and no earlier one is forgotten for it.

    Args:
        max_entries: The most live rules it keeps.
    """

    is_blocking = False

    def __init__(self, *, max_entries: int = 1_000_000) -> None:
        if isinstance(max_entries, bool) or not isinstance(max_entries, int) or max_entries < 1:
            raise ConfigurationError("max_entries must be a positive integer")
        self._max_entries = max_entries
        self._ledger = Ledger()
        self._lock = threading.Lock()

    def record(self, rule: Rule, now: float) -> None:
        """Keep a rule, merged with an older one of its key; see RevocationStore.

        Raises:
            StoreUnavailable: It is full of rules that still matter.
        """
        name = fingerprint(rule.key)
        with self._lock:
            self._ledger.forget(now)
            if len(self._ledger) >= self._max_entries and not self._ledger.has(name):
                raise StoreUnavailable(f"the memory store is full: {self._max_entries} live revocations")
            self._ledger.add((name, rule.not_before, rule.expires_at))

    def check(self, token: Revocable, now: float) -> Verdict:
        """The verdict on a token. It reads without a lock: a dict lookup is atomic."""
        return self._ledger.check(token, now)

    def local_check(self, token: Revocable, now: float) -> Verdict:
        """The same: everything is here."""
        return self._ledger.check(token, now)

    def __len__(self) -> int:
        return len(self._ledger)
