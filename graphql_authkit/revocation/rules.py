"""Taking tokens back: the rules, the one judgement, and the protocol of stores. Pure; stores live above.

A store is dumb: it keeps rules by key and answers which hold. Whether they concern a token is decided
here, in `judge`, once for every store.

- A token's own rule is final. It is known by (issuer, jti), or by the digest of its signing input;
  never by its text or its signature, which can be rewritten.
- A not-before rule covers a session, subject, client, issuer or everything, and refuses what was issued
  at or before it. The strictest wins. `iat` has a grain of one second, and so has the rule: what was
  issued within the second of the rule is refused, for it may have been before.
- A token without `iat` is refused by any rule that covers it: it may be as old as you like.
- A rule lives until the last token that it concerns has expired, the largest leeway included. Of a token
  without `iat` nobody knows when it was issued: it is taken for new whenever it is checked.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

from ..model import VerifiedToken, set_marks

__all__ = [
    "ACTIVE",
    "FINGERPRINT_BYTES",
    "Revocable",
    "RevocationKey",
    "RevocationStore",
    "Rule",
    "Scope",
    "Verdict",
    "fingerprint",
    "judge",
    "keys_of",
    "mark",
    "marks_of",
]

FINGERPRINT_BYTES = 16
_SIXTY_BITS = (1 << 60) - 1
Scope: TypeAlias = Literal["token", "session", "subject", "client", "issuer", "all"]


class RevocationKey(NamedTuple):
    """What a rule is about: `value` is a token key, a session id, a subject or a client id."""

    scope: Scope
    issuer: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One revocation, as a store keeps it.

    Args:
        key: What it is about. A store keeps one rule for each key: the later `not_before`, the later
            `expires_at`.
        not_before: Tokens issued at or before this whole second are refused; None refuses the token
            itself, whenever it was issued.
        expires_at: Seconds since the epoch; from then on a store may forget it.
    """

    key: RevocationKey
    not_before: float | None
    expires_at: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A store's answer: which rule refuses the token, if any.

    Args:
        revoked_by: The strictest rule that refuses it, or None.
        not_before: The latest not-before that covers it, where no rule of its own refuses it.
    """

    revoked_by: Rule | None = None
    not_before: float | None = None


ACTIVE = Verdict()


class Revocable(Protocol):
    """What of a token decides whether a rule covers it. A VerifiedToken has it all."""

    @property
    def issuer(self) -> str: ...
    @property
    def token_key(self) -> str: ...
    @property
    def session_id(self) -> str | None: ...
    @property
    def subject(self) -> str: ...
    @property
    def client_id(self) -> str | None: ...
    @property
    def issued_at(self) -> float | None: ...


def keys_of(token: Revocable) -> tuple[RevocationKey, ...]:
    """Every key whose rule would cover the token, the most particular first."""
    issuer = token.issuer
    keys = [RevocationKey("token", issuer, token.token_key)]
    if token.session_id is not None:
        keys.append(RevocationKey("session", issuer, token.session_id))
    keys.append(RevocationKey("subject", issuer, token.subject))
    if token.client_id is not None:
        keys.append(RevocationKey("client", issuer, token.client_id))
    keys.append(RevocationKey("issuer", issuer))
    keys.append(RevocationKey("all"))
    return tuple(keys)


def fingerprint(key: RevocationKey) -> bytes:
    """The 16 bytes that stores and replicas know a key by: SHA-256 of its parts, each of one reading only."""
    text = f"{key.scope}:{len(key.issuer)}:{key.issuer}{key.value}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:FINGERPRINT_BYTES]


def marks_of(token: Revocable) -> tuple[int, ...]:
    """Short names of `keys_of(token)`, for tables in memory; a VerifiedToken remembers its own.

    Sixty bits, which fit the smallest big int, of a hash that is keyed anew in each process (unless
    PYTHONHASHSEED fixes it): nobody can choose identifiers whose marks meet, and among a million rules a
    token meets one by chance once in 10^11 times.
    """
    if isinstance(token, VerifiedToken):
        marks = token._marks
        if marks is None:
            marks = tuple(mark(fingerprint(key)) for key in keys_of(token))
            set_marks(token, marks)
        return marks
    return tuple(mark(fingerprint(key)) for key in keys_of(token))


def mark(fingerprint: bytes) -> int:
    """See `marks_of`."""
    return hash(fingerprint) & _SIXTY_BITS


def judge(token: Revocable, rules: Iterable[Rule]) -> Verdict:
    """Decide by the rules that a store found under `keys_of(token)`.

    Returns:
        The verdict; the maximum over all not-before rules counts, never the first one found.
    """
    strictest: Rule | None = None
    for rule in rules:
        if rule.not_before is None:
            return Verdict(revoked_by=rule)
        if strictest is None or rule.not_before > (strictest.not_before or 0.0):
            strictest = rule
    if strictest is None or strictest.not_before is None:
        return ACTIVE
    issued_at = token.issued_at
    refused = issued_at is None or math.floor(issued_at) <= strictest.not_before
    return Verdict(revoked_by=strictest if refused else None, not_before=strictest.not_before)


class RevocationStore(Protocol):
    """Where rules are kept. `record` and `check` may be sync or async; each store is one or the other.

    A store may have both: then `arecord` and `acheck` are the async ones. One whose sync methods never wait
    says so by `is_blocking = False`; those of others run in a thread where the caller is on asyncio.

    A store that fails raises: whatever it raises becomes StoreUnavailable, never "not revoked".
    """

    def record(self, rule: Rule, now: float) -> Awaitable[None] | None:
        """Keep a rule; return once it is as durable as the store makes things.

        Args:
            rule: Merged with an older one of its key: the stricter `not_before`, the later `expires_at`.
            now: Seconds since the epoch; rules that expired by then may go.
        """
        ...  # pragma: no cover

    def check(self, token: Revocable, now: float) -> Verdict | Awaitable[Verdict]:
        """`judge` the token by the rules kept that have not expired. It may wait."""
        ...  # pragma: no cover

    def local_check(self, token: Revocable, now: float) -> Verdict | None:
        """The same at once, without any waiting; None where only `check` can say."""
        ...  # pragma: no cover
