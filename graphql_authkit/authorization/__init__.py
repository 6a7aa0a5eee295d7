"""Authorisation: what of an operation a caller may see, decided before it runs. Pure; nothing is executed here."""

from .rules import AUTHENTICATED, PUBLIC, Rule, authenticated, policy, public, requires, row_policy

__all__ = ["AUTHENTICATED", "PUBLIC", "Rule", "authenticated", "policy", "public", "requires", "row_policy"]
