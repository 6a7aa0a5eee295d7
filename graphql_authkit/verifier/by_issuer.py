"""ByIssuer: several issuers, each with its own verifier. The unverified `iss` is a lookup key and nothing more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from .._cache import GenerationalCache
from .._flow import arun, run
from .._jws import encode, parse, parse_object
from ..errors import ConfigurationError, KeysUnavailable, UnknownKey
from ..keys.source import await_keys
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
            if type(verifier) is not JWTVerifier or verifier.policy.issuers is None:  # not a subclass's `verify`
                raise ConfigurationError("ByIssuer takes JWTVerifiers, no subclasses, that have an issuer")
            for issuer in verifier.policy.issuers:
                if issuer in self._by_issuer:
                    raise ConfigurationError(f"two verifiers for issuer {issuer!r}")
                self._by_issuer[issuer] = verifier
        if not self._by_issuer:
            raise ConfigurationError("ByIssuer needs at least one verifier")
        self._max_token_bytes = max(v._max_token_bytes for v in self._by_issuer.values())
        self._chosen: GenerationalCache[bytes, JWTVerifier] = GenerationalCache(self._remembers or 1)

    def verify(self, token: str) -> VerifiedToken:
        """Verify with the issuer's own verifier; raises as JWTVerifier.verify, UnknownKey for no such issuer."""
        known = self._verify_now(token)
        return run(self._verify_anew(token), "verify") if known is None else known

    async def averify(self, token: str) -> VerifiedToken:
        """Verify on asyncio; raises as `verify`."""
        known = self._verify_now(token)
        return await arun(self._verify_anew(token)) if known is None else known

    def warm(self) -> None:
        """Fetch every issuer's keys now, one after the other.

        Raises:
            KeysUnavailable: Some cannot be had; the others have been fetched all the same.
        """
        run(self._warm(), "warm")

    async def awarm(self) -> None:
        """`warm` on asyncio."""
        await arun(self._warm())

    async def _warm(self) -> None:
        failure: KeysUnavailable | None = None
        for verifier in dict.fromkeys(self._by_issuer.values()):
            try:
                await await_keys(verifier.keys)
            except KeysUnavailable as error:
                failure = error
        if failure is not None:
            raise failure

    @property
    def _remembers(self) -> int:
        """How many tokens; 0 where not every verifier remembers any."""
        sizes = [verifier._remembers for verifier in dict.fromkeys(self._by_issuer.values())]
        return sum(sizes) if all(sizes) else 0

    def _recall(self, encoded: bytes) -> VerifiedToken | None:
        """A token that was verified before; see JWTVerifier."""
        if len(encoded) > self._max_token_bytes:
            return None
        digest = hashlib.sha256(encoded).digest()
        verifier = self._chosen.get(digest)
        return None if verifier is None else verifier._recall_digest(digest, len(encoded))

    def _verify_now(self, token: str) -> VerifiedToken | None:
        """The warm path, a plain function; see JWTVerifier."""
        digest = hashlib.sha256(encode(token, self._max_token_bytes)).digest()
        verifier = self._chosen.get(digest)
        if verifier is not None:
            return verifier._verify_now(token)
        verifier = self._choose(token)
        verified = verifier._verify_now(token)
        if verified is not None:
            self._chosen.put(digest, verifier)  # only now: nobody fills it who cannot sign
        return verified

    async def _verify_anew(self, token: str) -> VerifiedToken:
        return await self._choose(token)._verify_anew(token)

    def _choose(self, token: str) -> JWTVerifier:
        parsed = parse(token, max_bytes=self._max_token_bytes)
        issuer = parse_object(parsed.payload, "payload").get("iss")
        verifier = self._by_issuer.get(issuer) if isinstance(issuer, str) else None
        if verifier is None:
            raise UnknownKey(f"no verifier for issuer {issuer!r:.200}")
        return verifier
