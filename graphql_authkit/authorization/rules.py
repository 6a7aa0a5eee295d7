"""Rules: what a caller must hold to see a thing. Pure; no schema, no execution.

A rule is a set of alternatives, each a set of *needs*, all of which must be held: scopes of a token, policies
that the application decides, or just that the caller is known. Whoever holds one alternative may see it.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import ConfigurationError

__all__ = [
    "AUTHENTICATED",
    "KNOWN",
    "NOBODY",
    "PUBLIC",
    "Need",
    "Rule",
    "authenticated",
    "policy",
    "public",
    "requires",
    "row_policy",
]

Need: TypeAlias = str
"""`authenticated`, `scope:<name>`, `policy:<name>`, or `row:<name>`, which each object decides for itself."""

KNOWN: Need = "authenticated"
MOST_ALTERNATIVES = 256


@dataclass(frozen=True, slots=True)
class Rule:
    """Alternatives, as above. `&` makes a rule of two that must both hold, `|` of two of which one must.

    Args:
        alternatives: None at all: nobody may. One that is empty: everybody may.
        is_silent: Whether a denial is null alone, without an error, as if the thing weren't found.
    """

    alternatives: frozenset[frozenset[Need]]
    is_silent: bool = False

    def __and__(self, other: Rule) -> Rule:
        both = (one | two for one in self.alternatives for two in other.alternatives)
        return Rule(_simplest(both), self.is_silent or other.is_silent)

    def __or__(self, other: Rule) -> Rule:
        return Rule(_simplest((*self.alternatives, *other.alternatives)), self.is_silent or other.is_silent)

    def silent(self) -> Rule:
        """The same rule, whose denial is null and no error. Only nullable fields can hold it."""
        return Rule(self.alternatives, True)

    @property
    def is_public(self) -> bool:
        """Whether it asks for nothing."""
        return frozenset() in self.alternatives

    @property
    def needs(self) -> frozenset[Need]:
        """Everything that it mentions."""
        return frozenset().union(*self.alternatives)

    def holds(self, held: AbstractSet[Need]) -> bool:
        """Whether one alternative is held."""
        return any(alternative <= held for alternative in self.alternatives)

    def __str__(self) -> str:
        if self.is_public:
            return "public"
        if not self.alternatives:
            return "nobody"
        shown = (" and ".join(sorted(alternative - {KNOWN}) or [KNOWN]) for alternative in self.alternatives)
        return " or ".join(sorted(shown)) + (", silent" if self.is_silent else "")


def _simplest(alternatives: Iterable[frozenset[Need]]) -> frozenset[frozenset[Need]]:
    """Without those that ask for more than another does."""
    found = set(alternatives)
    if len(found) > MOST_ALTERNATIVES:
        raise ConfigurationError(f"rules that together have {len(found)} alternatives: write them simpler")
    return frozenset(one for one in found if not any(other < one for other in found))


PUBLIC = Rule(frozenset({frozenset()}))
"""Everybody may, anonymous callers too."""

AUTHENTICATED = Rule(frozenset({frozenset({KNOWN})}))
"""Whoever is known may."""

NOBODY = Rule(frozenset())


def public() -> Rule:
    """Everybody may, anonymous callers too."""
    return PUBLIC


def authenticated() -> Rule:
    """Whoever is known may."""
    return AUTHENTICATED


def requires(*scopes: str | Iterable[str]) -> Rule:
    """Who holds scopes may.

    Args:
        *scopes: All of these, each a scope; or groups of them, of which one must be held whole, as in
            `@requiresScopes(scopes: [["a", "b"], ["admin"]])`.

    Raises:
        ConfigurationError: None, an empty group, or something that is no scope.
    """
    return _of("scope", scopes)


def policy(*names: str | Iterable[str]) -> Rule:
    """Who meets policies of the application may; arguments and errors as of `requires`."""
    return _of("policy", names)


def row_policy(*names: str | Iterable[str]) -> Rule:
    """As `policy`, but asked for each object on its own, with it and the field's arguments."""
    return _of("row", names)


def _of(kind: str, given: tuple[str | Iterable[str], ...]) -> Rule:
    groups: list[tuple[str, ...]]
    if all(isinstance(one, str) for one in given):
        groups = [given]  # type: ignore[list-item]
    elif all(isinstance(one, Iterable) and not isinstance(one, str) for one in given):
        groups = [tuple(one) for one in given]
    else:
        raise ConfigurationError(f"a {kind} rule takes names, or groups of names, and not both")
    if not all(groups):
        raise ConfigurationError(f"a {kind} rule names something; an empty group would let everybody in")
    for name in (name for group in groups for name in group):
        if not isinstance(name, str) or not name or name != name.strip() or (kind == "scope" and " " in name):
            raise ConfigurationError(f"{name!r} is no name of a {kind}")
    return Rule(_simplest(frozenset({KNOWN, *(f"{kind}:{name}" for name in group)}) for group in groups))
