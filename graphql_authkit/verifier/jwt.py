"""JWTVerifier: from a token's text to a VerifiedToken, or an AuthError. No header, no user, no revocation.

The order never changes: parse, find the key, check the signature, and only then read the claims.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypedDict, TypeVar

from typing_extensions import Unpack

from .._algorithms import ALGORITHMS, Check, VerificationKey, check_signature, make_check
from .._cache import GenerationalCache
from .._flow import arun, run
from .._http import Fetcher
from .._jws import Header, Segments, encode, parse_object, read_header, split
from ..claims import ClaimPath, ClaimsPolicy, Profile
from ..errors import (
    ClaimRejected,
    ConfigurationError,
    MalformedToken,
    UnknownKey,
)
from ..events import Listener, log_danger, log_event
from ..keys import KeySet, KeySource, RemoteJWKS
from ..keys.discovery import tenant_issuers
from ..keys.source import await_keys, find_key, present_keys, unavailable
from ..model import VerifiedToken

__all__ = ["JWTVerifier", "VerifierOptions", "check_algorithms"]

T = TypeVar("T")

DEFAULT_CACHE_SIZE = 4096
CACHE_CHARACTERS = 16 * 1024 * 1024  # of the tokens surely remembered, however long each is
MINIMUM_TOKEN_BYTES = 64
HEADERS_REMEMBERED = 256
# What the cache knows a token by: it keeps none. Two spellings cannot meet, since the parser accepts one.
_sha256 = hashlib.sha256


class VerifierOptions(TypedDict, total=False):
    """The arguments that `JWTVerifier` and `JWTVerifier.from_issuer` share; JWTVerifier documents them."""

    audience: str | Iterable[str] | None
    client_ids: Iterable[str] | None
    insecure_any_audience: bool
    algorithms: Iterable[str] | None
    leeway: float
    max_age: float | None
    required: Iterable[str]
    profile: Profile
    subject_claim: ClaimPath
    scope_claims: Iterable[ClaimPath]
    session_claim: ClaimPath
    token_id_claim: ClaimPath
    max_token_bytes: int
    cache: bool | int | None
    clock: Callable[[], float]


class _Known(NamedTuple):
    """A header that was seen on a token with a good signature, and the key it means in this key set."""

    header: Header
    keys: KeySet
    key: VerificationKey
    check: Check


class JWTVerifier:
    """Verifies JWT access tokens of one issuer (RFC 7519; RFC 8725; RFC 9068).

    Args:
        keys: A SecretKey, PublicKey, JWKS, RemoteJWKS, or any KeySource.
        issuer: What `iss` must be, exactly; several where one key set serves several. Required, or
            `insecure_any_issuer`.
        audience: What `aud` must name, one or more of them; one in common is enough. Required, or
            `client_ids`, or `insecure_any_audience`.
        client_ids: What `client_id`, `azp`, `appid` or `cid` must be, each that is present. Alone it is
            for tokens without `aud` (Cognito's), and one that has it is refused.
        insecure_any_issuer: Accept any `iss`, or none.
        insecure_any_audience: Accept tokens meant for anybody.
        algorithms: Those accepted. Optional where every key states its own.
        leeway: Seconds that clocks may differ, at most 60.
        max_age: Seconds after `iat` beyond which a token is too old, whatever its `exp`.
        required: Claims that must be present and not null.
        profile: "rfc9068" asks for all of that profile: `typ` at+jwt, and its seven claims.
        subject_claim: The claim that says who. A tuple names a nested one.
        scope_claims: The claims that hold scopes, each a string of them or an array of strings. It is a
            list of claims: a nested one is a tuple within it, `[("realm_access", "roles")]`.
        session_claim: The claim that names the session.
        token_id_claim: The claim that names the token.
        max_token_bytes: The longest token that is looked at.
        cache: How many verified tokens are surely remembered, True for 4096, None or False for none; up to
            twice as many are. Time claims are checked again on every hit; what was verified with another
            key set counts no more. Only what was verified gets in, and what is read while that many others
            come in stays: a flood of tokens cannot push it out.
        clock: Seconds since the epoch.

    Attributes:
        keys: The key source; a RemoteJWKS has `health()` and `close()`.

    Raises:
        ConfigurationError: A rule is missing, contradicts another, or no key could ever satisfy it.
    """

    def __init__(
        self,
        *,
        keys: KeySource,
        issuer: str | Iterable[str] | None = None,
        audience: str | Iterable[str] | None = None,
        client_ids: Iterable[str] | None = None,
        insecure_any_issuer: bool = False,
        insecure_any_audience: bool = False,
        algorithms: Iterable[str] | None = None,
        leeway: float = 5.0,
        max_age: float | None = None,
        required: Iterable[str] = (),
        profile: Profile = "access_token",
        subject_claim: ClaimPath = "sub",
        scope_claims: Iterable[ClaimPath] = ("scope", "scp"),
        session_claim: ClaimPath = "sid",
        token_id_claim: ClaimPath = "jti",
        max_token_bytes: int = 16_384,
        cache: bool | int | None = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if (issuer is None) != insecure_any_issuer:
            raise ConfigurationError("issuer= is required, or insecure_any_issuer=True, and not both")
        if (audience is None and client_ids is None) != insecure_any_audience:
            raise ConfigurationError(
                "audience= is required (client_ids= where tokens have none), or insecure_any_audience=True, not both"
            )
        if not isinstance(max_token_bytes, int) or max_token_bytes < MINIMUM_TOKEN_BYTES:
            raise ConfigurationError(f"max_token_bytes must be at least {MINIMUM_TOKEN_BYTES}")
        if insecure_any_issuer:
            log_danger("insecure_any_issuer", "tokens of anybody who has a key are accepted")
        if insecure_any_audience:
            log_danger("insecure_any_audience", "tokens that were meant for another server are accepted")
        self.policy = ClaimsPolicy(
            issuers=None if issuer is None else _one_or_more(issuer),
            audiences=None if audience is None else _one_or_more(audience),
            client_ids=None if client_ids is None else frozenset(_listed("client_ids", client_ids)),
            leeway=leeway,
            max_age=max_age,
            required=_listed("required", required),
            profile=profile,
            subject_claim=subject_claim,
            scope_claims=_listed("scope_claims", scope_claims),
            session_claim=session_claim,
            token_id_claim=token_id_claim,
        )
        self.keys = keys
        self._algorithms = check_algorithms(algorithms, keys)
        self._max_token_bytes = max_token_bytes
        self._too_long = f"not a str, or longer than max_token_bytes={max_token_bytes}"
        self._clock = clock
        self._headers: GenerationalCache[bytes, _Known] = GenerationalCache(HEADERS_REMEMBERED)
        size = DEFAULT_CACHE_SIZE if cache is True else (cache or 0)
        self._cache: GenerationalCache[bytes, tuple[VerifiedToken, KeySet, float, float]] | None = None
        if size:
            self._cache = GenerationalCache(size, weight=CACHE_CHARACTERS)

    @classmethod
    def from_issuer(
        cls,
        issuer: str,
        *,
        tenants: Sequence[str] = (),
        timeout: float = 5.0,
        ttl: float = 300.0,
        cooldown: float = 30.0,
        stale_if_error: float = 3600.0,
        headers: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        trust_env: bool = False,
        fetcher: Fetcher | None = None,
        insecure_allow_http: bool = False,
        on_event: Listener = log_event,
        **options: Unpack[VerifierOptions],
    ) -> JWTVerifier:
        """A verifier for an issuer that publishes its metadata (OpenID Connect Discovery; RFC 8414).

        No I/O happens before the first use or `warm()`.

        Args:
            issuer: Exactly as the tokens' `iss` has it, trailing slash included.
            tenants: Whose tokens Entra's shared issuer (`…/common/v2.0`) stands for.
            timeout: Seconds; this and all up to `on_event` go to `RemoteJWKS.from_issuer`.
            **options: The rest are JWTVerifier's own.

        Raises:
            ConfigurationError: As JWTVerifier and RemoteJWKS.
        """
        keys = RemoteJWKS.from_issuer(
            issuer,
            tenants=tenants,
            timeout=timeout,
            ttl=ttl,
            cooldown=cooldown,
            stale_if_error=stale_if_error,
            headers=headers,
            ssl_context=ssl_context,
            trust_env=trust_env,
            fetcher=fetcher,
            insecure_allow_http=insecure_allow_http,
            on_event=on_event,
        )
        return cls(keys=keys, issuer=tenant_issuers(issuer, tenants), **options)

    def verify(self, token: str) -> VerifiedToken:
        """Verify a token, blocking while keys must be fetched.

        Raises:
            InvalidToken: It is refused; the subclass says why.
            KeysUnavailable: The issuer's keys cannot be had.
        """
        known = self._verify_now(token)
        return run(self._verify_anew(token), "verify") if known is None else known

    async def averify(self, token: str) -> VerifiedToken:
        """Verify a token on asyncio; raises as `verify`."""
        known = self._verify_now(token)
        return await arun(self._verify_anew(token)) if known is None else known

    def warm(self) -> None:
        """Fetch the keys now, for instance at start-up, so that no request waits for them.

        Raises:
            KeysUnavailable: They cannot be had.
        """
        run(await_keys(self.keys), "warm")

    async def awarm(self) -> None:
        """Fetch the keys now, on asyncio; raises as `warm`."""
        await arun(await_keys(self.keys))

    @property
    def _remembers(self) -> int:
        """How many tokens."""
        return 0 if self._cache is None else self._cache.size

    def _recall(self, encoded: bytes) -> VerifiedToken | None:
        """A token that was verified before by this verifier, with the key set of now, if it is still in time."""
        if self._cache is None or len(encoded) > self._max_token_bytes:
            return None
        return self._recall_digest(_sha256(encoded).digest(), len(encoded))

    def _recall_digest(self, digest: bytes, size: int) -> VerifiedToken | None:
        entry = None if self._cache is None else self._cache.get(digest, size)
        if entry is None:
            return None
        verified, keys, starts, ends = entry
        try:  # `present_keys`, without the cost of a call
            present = self.keys.key_set()
        except Exception as error:
            raise unavailable(error) from error
        if keys is not present:
            return None
        now = self._clock()
        if not starts <= now < ends:
            self.policy.check_time(verified, now)  # says why not
        return verified

    def _verify_now(self, token: str) -> VerifiedToken | None:
        """The warm path, a plain function: a token seen before, or with a header seen before; else None."""
        if not isinstance(token, str) or len(token) > self._max_token_bytes:
            raise MalformedToken(self._too_long)
        encoded = encode(token, self._max_token_bytes)
        digest = b""
        if self._cache is not None:
            digest = _sha256(encoded).digest()
            remembered = self._recall_digest(digest, len(encoded))
            if remembered is not None:
                return remembered
        keys = present_keys(self.keys)
        segments = split(encoded)
        known = self._headers.get(segments[0])
        if known is None or keys is None or known.keys is not keys:
            return None
        return self._accept(digest, len(encoded), segments, known)

    async def _verify_anew(self, token: str) -> VerifiedToken:
        """The rest, where `_verify_now` does not know; it may wait for keys."""
        encoded = encode(token, self._max_token_bytes)
        segments = split(encoded)
        header = read_header(segments[0])
        if self._algorithms is not None and header.algorithm.name not in self._algorithms:
            raise UnknownKey(f"alg {header.algorithm.name} is not in algorithms=")
        keys, key = await find_key(self.keys, header, self._algorithms)
        known = _Known(header, keys, key, make_check(header.algorithm, key))
        return self._accept(_sha256(encoded).digest(), len(encoded), segments, known)

    def _accept(self, digest: bytes, size: int, segments: Segments, known: _Known) -> VerifiedToken:
        header_segment, signing_input, payload, signature = segments
        header, keys, key, check = known
        check_signature(check, signature, signing_input, key)
        if self._headers.get(header_segment) is not known:
            self._headers.put(header_segment, known)  # only now: nobody fills it who cannot sign
        claims = parse_object(payload, "payload")
        verified = self.policy.accept(claims, typ=header.typ, now=self._clock(), signing_input=signing_input)
        if key.issuer is not None and not key.speaks_for(verified.issuer):
            raise ClaimRejected("iss", f"the key signs for {key.issuer!r:.200} only")
        if self._cache is not None:
            self._cache.put(digest, (verified, keys, *self.policy.window(verified)), size)
        return verified


def _one_or_more(value: str | Iterable[str]) -> frozenset[str]:
    return frozenset({value}) if isinstance(value, str) else frozenset(value)


def _listed(name: str, value: Iterable[T]) -> tuple[T, ...]:
    if isinstance(value, str):
        raise ConfigurationError(f"{name} is a list, not one string")
    return tuple(value)


def check_algorithms(algorithms: Iterable[str] | None, keys: KeySource) -> frozenset[str] | None:
    """What may be accepted, checked against what keys are known now (RFC 8725, section 3.1)."""
    if not isinstance(keys, KeySource) or isinstance(keys, type):
        wraps: dict[type, str] = {str: "SecretKey(…) or RemoteJWKS(url)", bytes: "SecretKey(…)", dict: "JWKS(…)"}
        wrap = wraps.get(type(keys))
        hint = f": wrap it in {wrap}" if wrap else " such as RemoteJWKS"  # never the value: it may be the secret
        raise ConfigurationError(f"keys must be a KeySource{hint}, not a {type(keys).__name__}")
    accepted = None if algorithms is None else frozenset(_listed("algorithms", algorithms))
    if accepted is not None and (not accepted or not accepted <= ALGORITHMS.keys()):
        raise ConfigurationError(f"algorithms must be of {sorted(ALGORITHMS)}, not {sorted(map(str, accepted))}")
    known = keys.key_set()
    if known is not None:
        _check_known_keys(known, accepted)
    families = accepted or {key.alg for key in (known.keys if known else ()) if key.alg}
    symmetric = {name for name in families if ALGORITHMS[name].kty == "oct"}
    if symmetric and symmetric != families:
        raise ConfigurationError("HS and asymmetric algorithms together would let a public key be a secret")
    if symmetric and isinstance(keys, RemoteJWKS):
        raise ConfigurationError("a key set that anyone can fetch holds no secret: HS algorithms need SecretKey")
    return accepted


def _check_known_keys(keys: KeySet, accepted: frozenset[str] | None) -> None:
    if accepted is None:
        nameless = [key.kid for key in keys.keys if key.alg is None]
        if nameless:
            raise ConfigurationError(f"keys {nameless} state no alg: set algorithms=")
        return
    for name in sorted(accepted):
        if not any(key.serves(ALGORITHMS[name]) for key in keys.keys):
            raise ConfigurationError(f"no key given serves {name}")
