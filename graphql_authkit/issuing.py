"""Tokens out: signed access tokens in the form of RFC 9068. Refresh rotation will live here too."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jwt

from ._flow import Port, arun, call, run
from ._jws import parse_object
from .claims import ClaimsPolicy
from .errors import AuthError, ConfigurationError, TokenRevoked
from .keys import PrivateKey, SecretKey
from .model import token_key
from .revocation import Revocations

__all__ = ["TokenIssuer"]

MAX_WAIT = 5.0
"""Seconds that `issue` may wait for: the rest of the second of a revocation, and as far as clocks may differ."""

_RESERVED = frozenset({"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scope", "sid", "client_id"})


class TokenIssuer:
    """Issues access tokens: `typ` at+jwt, signed, with `iss sub aud exp iat jti` (RFC 9068, section 2.2).

    Args:
        keys: A SecretKey; or a PrivateKey, or several: the first signs, all are in `jwks()`, so that a
            new key can be announced before it signs and an old one kept until its last token has expired.
        issuer: `iss`.
        audience: `aud`, one or more.
        lifetime: Seconds.
        client_id: `client_id` of tokens for which `issue` is given none. RFC 9068 asks for one.
        revocations: The list that the servers behind these tokens check. A token is then never issued at
            or below a not-before that is alive: a login within the second of a revocation waits for the
            next second.
        clock: Seconds since the epoch.

    Raises:
        ConfigurationError: No key that signs, an empty name, or no sensible lifetime.
    """

    def __init__(
        self,
        *,
        keys: SecretKey | PrivateKey | Iterable[PrivateKey],
        issuer: str,
        audience: str | Iterable[str],
        lifetime: float = 600.0,
        client_id: str | None = None,
        revocations: Revocations | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = _signing_keys(keys)
        audiences = (audience,) if isinstance(audience, str) else tuple(audience)
        if not all(isinstance(name, str) and name for name in (issuer, *audiences)) or not audiences:
            raise ConfigurationError("issuer and audience must be non-empty strings")
        if not 1 <= lifetime < math.inf:
            raise ConfigurationError("lifetime is in seconds, at least 1")
        if revocations is not None and lifetime > revocations.max_token_lifetime:
            raise ConfigurationError("lifetime is longer than the revocations' max_token_lifetime, which refuses it")
        self._policy = ClaimsPolicy(issuers=frozenset({issuer}), audiences=frozenset(audiences))
        self.issuer = issuer
        self._audience = audiences[0] if len(audiences) == 1 else list(audiences)
        self._lifetime = lifetime
        self._client_id = client_id
        self._revocations = revocations
        self._clock = clock
        self._sleep: Port[[float], None] = Port(time.sleep, twin=asyncio.sleep)

    def issue(
        self,
        subject: str,
        *,
        scopes: Iterable[str] = (),
        session_id: str | None = None,
        client_id: str | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """Issue a token.

        Args:
            subject: `sub`.
            scopes: `scope`, joined by spaces; none of them may hold one. One may be given as a string.
            session_id: `sid`.
            client_id: `client_id`, instead of the issuer's.
            claims: More claims. Those that the arguments set cannot be given here.

        Returns:
            The token in compact form.

        Raises:
            ValueError: A subject, scope or claim that no verifier would accept, or a reserved claim.
            TokenRevoked: A not-before lies more than 5 s ahead.
            StoreUnavailable: The revocations cannot be asked.
        """
        return run(self._issue(self._draft(subject, scopes, session_id, client_id, claims)), "issue")

    async def aissue(
        self,
        subject: str,
        *,
        scopes: Iterable[str] = (),
        session_id: str | None = None,
        client_id: str | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """`issue` on asyncio."""
        return await arun(self._issue(self._draft(subject, scopes, session_id, client_id, claims)))

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The public keys, to be served as the issuer's JWK Set (RFC 7517, section 5). Never a secret."""
        return {"keys": [key.public_jwk() for key in self._keys if isinstance(key, PrivateKey)]}

    def _draft(
        self,
        subject: str,
        scopes: Iterable[str],
        session_id: str | None,
        client_id: str | None,
        claims: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        scope = [scopes] if isinstance(scopes, str) else list(scopes)
        if not all(isinstance(name, str) and name.isprintable() and name and " " not in name for name in scope):
            raise ValueError("a scope is a non-empty string without spaces")
        reserved = _RESERVED & set(claims or ())
        if reserved:
            raise ValueError(f"claims= cannot set {sorted(reserved)}")
        optional = {
            "scope": " ".join(scope) or None,
            "sid": session_id,
            "client_id": self._client_id if client_id is None else client_id,
        }
        return {
            "iss": self.issuer,
            "sub": subject,
            "aud": self._audience,
            "jti": secrets.token_urlsafe(16),
            **{name: value for name, value in optional.items() if value is not None},
            **(claims or {}),
        }

    async def _issue(self, draft: dict[str, Any]) -> str:
        lifetime = math.ceil(self._lifetime)
        now = math.floor(self._clock())
        self._check({**draft, "iat": now, "exp": now + lifetime})
        issued_at = await self._birth(_Draft(draft))
        key = self._keys[0]
        headers = {"typ": "at+jwt", **({"kid": key.key_id} if key.key_id else {})}
        claims = {**draft, "iat": issued_at, "exp": issued_at + lifetime}
        return jwt.encode(claims, key._signing_material, algorithm=key.algorithm, headers=headers)

    def _check(self, claims: dict[str, Any]) -> None:
        """Refuse to sign what a verifier of ours would refuse to read."""
        try:
            data = json.dumps(claims, allow_nan=False).encode()
        except TypeError as error:
            raise ValueError(f"claims= holds what is no JSON: {error}") from None
        try:
            read = parse_object(data, "payload")
            self._policy.accept(read, typ="at+jwt", now=claims["iat"], signing_input=b"")
        except AuthError as error:
            raise ValueError(f"no verifier would accept it: {error.detail}") from None

    async def _birth(self, token: _Draft) -> int:
        """The second that the token is issued in: the present one, or the first that no revocation covers.

        It waits for that second to come. Dating the token ahead instead would let it survive a second
        revocation within the same second.
        """
        waited = 0.0
        while True:
            now = self._clock()
            not_before = None if self._revocations is None else await self._revocations._not_before(token, now)
            if not_before is None or now >= not_before + 1:
                return math.floor(now)
            pause = not_before + 1 - now
            waited += pause
            if waited > MAX_WAIT:
                raise TokenRevoked(f"nothing may be issued to {token.subject!r:.200} up to {not_before:.0f}")
            await call(self._sleep, pause)


def _signing_keys(
    keys: SecretKey | PrivateKey | Iterable[PrivateKey],
) -> tuple[SecretKey | PrivateKey, ...]:
    if isinstance(keys, SecretKey | PrivateKey):
        return (keys,)
    several = tuple(keys) if isinstance(keys, Iterable) else ()
    if not several or not all(isinstance(key, PrivateKey) for key in several):
        raise ConfigurationError("keys must be a SecretKey, a PrivateKey, or several PrivateKeys")
    if len({key.key_id for key in several}) < len(several):
        raise ConfigurationError("several keys need a key_id each, all different")
    return several


class _Draft:
    """A token about to be issued, as far as a revocation rule can cover it."""

    issued_at = None

    def __init__(self, claims: Mapping[str, Any]) -> None:
        self.issuer: str = claims["iss"]
        self.token_key = token_key(claims["jti"])
        self.session_id: str | None = claims.get("sid")
        self.subject: str = claims["sub"]
        self.client_id: str | None = claims.get("client_id")
