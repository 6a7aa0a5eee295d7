"""The signature algorithms, one row each, and the checks of signatures. No tokens, no claims, no I/O.

PyJWT's algorithm objects prepare keys and sign; a check asks `cryptography` itself, with all that does not
change from call to call made once. PyJWT's `verify` would build padding and digest again each time, and
its HMAC takes twice as long as one that starts from a keyed state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hmac import HMAC
from jwt.algorithms import Algorithm as _Implementation
from jwt.algorithms import get_default_algorithms

from .errors import BadSignature

__all__ = ["ALGORITHMS", "Algorithm", "Check", "VerificationKey", "check_signature", "make_check"]

Check: TypeAlias = Callable[[bytes, bytes], object]
"""Takes signature and signing input; returns None if the one is good for the other, else raises anything."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One row: what a signature algorithm asks of its key (RFC 7518, section 3.1; RFC 8037, section 3.1)."""

    name: str
    kty: str
    crv: str | None
    minimum_bits: int
    implementation: _Implementation = field(repr=False)
    make_check: Callable[[Any], Check] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class VerificationKey:
    """A key that may check signatures, already parsed, measured and allowed to.

    Args:
        kid: Its identifier, or None.
        alg: The one algorithm it states, or None: then it serves the configured ones of its type.
        kty: Its type, as in RFC 7517.
        crv: Its curve, where the type has curves.
        bits: Its size.
        material: A secret's bytes, or a public key of `cryptography`.
        issuer: Whose tokens alone it signs, where a key set of many issuers says so; `{tenantid}` in it
            stands for any one of them (Entra's JWK member `issuer`).
    """

    kid: str | None
    alg: str | None
    kty: str
    crv: str | None
    bits: int
    material: Any = field(repr=False)
    issuer: str | None = None

    def serves(self, algorithm: Algorithm) -> bool:
        """Whether type, curve, size and stated algorithm all permit it."""
        return (
            self.kty == algorithm.kty
            and self.crv == algorithm.crv
            and self.bits >= algorithm.minimum_bits
            and self.alg in (None, algorithm.name)
        )

    def speaks_for(self, issuer: str) -> bool:
        """Whether it may sign tokens of this issuer."""
        if self.issuer is None:
            return True
        before, template, after = self.issuer.partition("{tenantid}")
        if not template:
            return issuer == self.issuer
        tenant = issuer[len(before) : len(issuer) - len(after)]
        return issuer == before + tenant + after and tenant != "" and "/" not in tenant


def make_check(algorithm: Algorithm, key: VerificationKey) -> Check:
    """What checks signatures of this algorithm with this key, for any number of tokens.

    Raises:
        BadSignature: The key does not serve the algorithm.
    """
    if not key.serves(algorithm):
        raise BadSignature(f"the key does not serve {algorithm.name}")
    try:
        return algorithm.make_check(key.material)
    except Exception as error:  # of a key source that is not ours
        raise BadSignature(f"the key's material is none for {algorithm.name}: {type(error).__name__}") from error


def check_signature(check: Check, signature: bytes, signing_input: bytes, key: VerificationKey) -> None:
    """Ask a check, and take for a yes only what is one.

    Raises:
        BadSignature: With the key's id in its detail.
    """
    try:
        answer = check(signature, signing_input)
    except Exception as error:  # a backend that stumbles over hostile bytes has not verified them
        raise BadSignature(f"{key.alg or key.kty} with key {key.kid!r:.80}: {type(error).__name__}") from error
    if answer is not None:  # a check says no by raising; one that answers is not understood
        raise BadSignature(f"{key.alg or key.kty} with key {key.kid!r:.80}")


def _hmac(digest: hashes.HashAlgorithm) -> Callable[[bytes], Check]:
    def make(secret: bytes) -> Check:
        copy = HMAC(secret, digest).copy

        def check(signature: bytes, signing_input: bytes) -> None:
            state = copy()
            state.update(signing_input)
            state.verify(signature)  # in constant time

        return check

    return make


def _rsa(scheme: padding.AsymmetricPadding, digest: hashes.HashAlgorithm) -> Callable[[Any], Check]:
    def make(key: Any) -> Check:
        verify = key.verify
        return lambda signature, signing_input: verify(signature, signing_input, scheme, digest)

    return make


def _pss(digest: hashes.HashAlgorithm) -> Callable[[Any], Check]:
    return _rsa(padding.PSS(padding.MGF1(digest), digest.digest_size), digest)


def _ecdsa(digest: hashes.HashAlgorithm, size: int) -> Callable[[Any], Check]:
    scheme = ec.ECDSA(digest)
    number = int.from_bytes

    def make(key: Any) -> Check:
        verify = key.verify

        def check(signature: bytes, signing_input: bytes) -> None:
            if len(signature) != 2 * size:  # R and S, fixed in length (RFC 7518, section 3.4)
                raise ValueError("not R and S")
            der = encode_dss_signature(number(signature[:size], "big"), number(signature[size:], "big"))
            verify(der, signing_input, scheme)

        return check

    return make


def _eddsa(key: Any) -> Check:
    check: Check = key.verify
    return check


_SHA256, _SHA384, _SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()


def _table() -> dict[str, Algorithm]:
    rows: tuple[tuple[str, str, str | None, int, Callable[[Any], Check]], ...] = (
        ("HS256", "oct", None, 256, _hmac(_SHA256)),
        ("HS384", "oct", None, 384, _hmac(_SHA384)),
        ("HS512", "oct", None, 512, _hmac(_SHA512)),
        ("RS256", "RSA", None, 2048, _rsa(padding.PKCS1v15(), _SHA256)),
        ("RS384", "RSA", None, 2048, _rsa(padding.PKCS1v15(), _SHA384)),
        ("RS512", "RSA", None, 2048, _rsa(padding.PKCS1v15(), _SHA512)),
        ("PS256", "RSA", None, 2048, _pss(_SHA256)),
        ("PS384", "RSA", None, 2048, _pss(_SHA384)),
        ("PS512", "RSA", None, 2048, _pss(_SHA512)),
        ("ES256", "EC", "P-256", 256, _ecdsa(_SHA256, 32)),
        ("ES384", "EC", "P-384", 384, _ecdsa(_SHA384, 48)),
        ("ES512", "EC", "P-521", 521, _ecdsa(_SHA512, 66)),
        ("EdDSA", "OKP", "Ed25519", 256, _eddsa),
    )
    implementations = get_default_algorithms()
    return {name: Algorithm(name, kty, crv, bits, implementations[name], make) for name, kty, crv, bits, make in rows}


ALGORITHMS = _table()
