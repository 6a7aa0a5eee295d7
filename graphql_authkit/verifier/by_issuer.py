"""ByIssuer: several issuers, each with its own verifier. The unverified `iss` is a lookup key and nothing more."""

from __future__ import annotations

from collections.abc import Iterable

from .._flow import arun, run
from .._jws import parse, parse_object
from ..errors import ConfigurationError, UnknownKey
from ..model import VerifiedToken
from .jwt import JWTVerifier

__all__ = ["ByIssuer"]


class ByIssuer:
    """Picks the verifier by the token's `iss`, which decides nothing else before it is verified.

    Args:
        verifiers: Each with its own keys, audience and algorithms; no two with one issuer.

    Raises:
        ConfigurationError: None given, one without an issuer, or two with the same.
    """

    def __init__(self, verifiers: Iterable[JWTVerifier]) -> None:
        self._by_issuer: dict[str, JWTVerifier] = {}
        for verifier in verifiers:
            if not isinstance(verifier, JWTVerifier) or verifier.policy.issuers is None:
                raise ConfigurationError("ByIssuer takes JWTVerifiers that have an issuer")
            for issuer in verifier.policy.issuers:
                if issuer in self._by_issuer:
                    raise ConfigurationError(f"two verifiers for issuer {issuer!r}")
                self._by_issuer[issuer] = verifier
        if not self._by_issuer:
            raise ConfigurationError("ByIssuer needs at least one verifier")
        self._max_token_bytes = max(v._max_token_bytes for v in self._by_issuer.values())

    def verify(self, token: str) -> VerifiedToken:
        """Verify with the issuer's own verifier; raises as JWTVerifier.verify, UnknownKey for no such issuer."""
        return run(self._verify(token), "verify")

    async def averify(self, token: str) -> VerifiedToken:
        """Verify on asyncio; raises as `verify`."""
        return await arun(self._verify(token))

    async def _verify(self, token: str) -> VerifiedToken:
        return await self._choose(token)._verify(token)

    def _choose(self, token: str) -> JWTVerifier:
        parsed = parse(token, max_bytes=self._max_token_bytes)
        issuer = parse_object(parsed.payload, "payload").get("iss")
        verifier = self._by_issuer.get(issuer) if isinstance(issuer, str) else None
        if verifier is None:
            raise UnknownKey(f"no verifier for issuer {issuer!r:.200}")
        return verifier
