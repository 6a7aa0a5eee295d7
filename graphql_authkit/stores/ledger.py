"""Live rules in memory, compact: what the memory store and every replica check tokens by. No I/O, no clock.

A rule is two integers: its key's mark, and its dates packed into one. Each is also written once, with its
whole fingerprint, to the page of the minute by which it expires: a page is forgotten as a whole, so that
nothing ever looks through all rules to find those that are over.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from ..revocation import ACTIVE, FINGERPRINT_BYTES, Revocable, Rule, Verdict, judge, keys_of, mark, marks_of

__all__ = ["Entry", "Ledger"]

GRAIN = 60  # seconds that an expiry is rounded up to, so that rules share pages, and their dates' integer
_NOT_BEFORE_BITS = 33  # seconds up to the year 2242
_NOT_BEFORE = (1 << _NOT_BEFORE_BITS) - 1
_LAST_MINUTE = (1 << 31) - 1  # of the year 6053
_ENTRY = struct.Struct(f">{FINGERPRINT_BYTES}sQ")

Entry = tuple[bytes, float | None, float]
"""A rule as origins and replicas exchange it: fingerprint, not_before, expires_at."""


class Ledger:
    """A set of rules by key. Checks take no lock; writers are to be kept apart by whoever owns it."""

    __slots__ = ("_pages", "_rules", "_shared", "_swept", "_written")

    def __init__(self) -> None:
        self._rules: dict[int, int] = {}
        self._shared: dict[int, int] = {}
        self._pages: dict[int, bytearray] = {}
        self._swept = -1  # the minute of the last `forget`
        self._written = 0  # entries on all pages: one for each rule, and what rules merged since left behind

    def __len__(self) -> int:
        return len(self._rules)

    def check(self, token: Revocable, now: float) -> Verdict:
        """The verdict on a token, by the rules that have not expired."""
        if self._rules.keys().isdisjoint(getattr(token, "_marks", None) or marks_of(token)):
            return ACTIVE
        return self._judge(token, now)

    def _judge(self, token: Revocable, now: float) -> Verdict:
        found = []
        for key, name in zip(keys_of(token), marks_of(token), strict=True):
            packed = self._rules.get(name)
            if packed is not None:
                not_before, expires_at = _unpack(packed)
                if expires_at > now:
                    found.append(Rule(key, not_before, expires_at))
        return judge(token, found)

    def has(self, fingerprint: bytes) -> bool:
        """Whether there is a rule of this key, live or waiting to be forgotten."""
        return mark(fingerprint) in self._rules

    def covers(self, entry: Entry) -> bool:
        """Whether adding it would change nothing."""
        fingerprint, not_before, expires_at = entry
        known = self._rules.get(mark(fingerprint))
        return known is not None and _merge(known, _pack(not_before, expires_at)) == known

    def add(self, entry: Entry) -> None:
        """Merge a rule with an older one of its key: the stricter not-before, the later expiry."""
        fingerprint, not_before, expires_at = entry
        name = mark(fingerprint)
        packed = _pack(not_before, expires_at)
        known = self._rules.get(name)
        if known is not None:
            packed = _merge(known, packed)
            if packed == known:
                return
        # Rules of tokens that end in one minute share their integer; other dates are too many to be worth it.
        self._rules[name] = self._shared.setdefault(packed, packed) if not_before is None else packed
        self._write(fingerprint, packed)
        if self._written > 2 * len(self._rules) + 64:
            self._rewrite()

    def _write(self, fingerprint: bytes, packed: int) -> None:
        self._pages.setdefault(packed >> _NOT_BEFORE_BITS, bytearray()).extend(_ENTRY.pack(fingerprint, packed))
        self._written += 1

    def _rewrite(self) -> None:
        """Drop what merged rules left behind, so that the pages stay as bounded as the rules."""
        pages, self._pages, self._written = self._pages, {}, 0
        self._shared = {packed: packed for packed in self._rules.values() if not packed & _NOT_BEFORE}
        for page in pages.values():
            for fingerprint, packed in _ENTRY.iter_unpack(page):
                if self._rules.get(mark(fingerprint)) == packed:
                    self._write(fingerprint, packed)

    def forget(self, now: float) -> None:
        """Forget the pages whose rules have all expired; once a minute there may be one."""
        this_minute = int(now // GRAIN)
        if this_minute == self._swept:
            return
        self._swept = this_minute
        for minute in [minute for minute in self._pages if minute * GRAIN <= now]:
            for fingerprint, packed in _ENTRY.iter_unpack(self._pages[minute]):
                name = mark(fingerprint)
                if self._rules.get(name) == packed:  # else a later rule of its key lives on
                    del self._rules[name]
                self._shared.pop(packed, None)
            self._written -= len(self._pages.pop(minute)) // _ENTRY.size

    def entries(self, now: float) -> Iterator[Entry]:
        """Every live rule, to be handed on."""
        for page in tuple(self._pages.values()):
            for fingerprint, packed in _ENTRY.iter_unpack(bytes(page)):
                not_before, expires_at = _unpack(packed)
                if expires_at > now and self._rules.get(mark(fingerprint)) == packed:
                    yield fingerprint, not_before, expires_at


def _pack(not_before: float | None, expires_at: float) -> int:
    minutes = min(math.ceil(expires_at / GRAIN), _LAST_MINUTE)
    return (minutes << _NOT_BEFORE_BITS) | (0 if not_before is None else min(int(not_before) + 1, _NOT_BEFORE))


def _unpack(packed: int) -> tuple[float | None, float]:
    second = packed & _NOT_BEFORE
    return (second - 1 if second else None), (packed >> _NOT_BEFORE_BITS) * GRAIN


def _merge(known: int, packed: int) -> int:
    """None, the token itself, is stricter than any date."""
    dates = known & _NOT_BEFORE, packed & _NOT_BEFORE
    not_before = 0 if 0 in dates else max(dates)
    return max(known >> _NOT_BEFORE_BITS, packed >> _NOT_BEFORE_BITS) << _NOT_BEFORE_BITS | not_before
