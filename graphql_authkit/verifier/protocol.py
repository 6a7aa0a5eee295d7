"""The protocol of verifiers, for one of your own."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ..model import VerifiedToken

__all__ = ["Verifier"]


@runtime_checkable
class Verifier(Protocol):
    """Whatever turns a token's text into a VerifiedToken."""

    def verify(self, token: str) -> VerifiedToken:
        """Verify, blocking where it must wait.

        Raises:
            AuthError: The token is refused, or nobody can say now.
        """
        ...  # pragma: no cover

    async def averify(self, token: str) -> VerifiedToken:
        """Verify on asyncio; raises as `verify`."""
        ...  # pragma: no cover
