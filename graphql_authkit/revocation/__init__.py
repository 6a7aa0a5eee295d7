"""Taking tokens back before their time: what a rule means, and the one list of them."""

from .revocations import Audit, Revocations
from .rules import (
    ACTIVE,
    FINGERPRINT_BYTES,
    Revocable,
    RevocationKey,
    RevocationStore,
    Rule,
    Scope,
    Verdict,
    fingerprint,
    judge,
    keys_of,
    mark,
    marks_of,
)

__all__ = [
    "ACTIVE",
    "FINGERPRINT_BYTES",
    "Audit",
    "Revocable",
    "RevocationKey",
    "RevocationStore",
    "Revocations",
    "Rule",
    "Scope",
    "Verdict",
    "fingerprint",
    "judge",
    "keys_of",
    "mark",
    "marks_of",
]
