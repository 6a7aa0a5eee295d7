"""Reading keys: JWK (RFC 7517), PEM and DER, measured and judged. Nothing is fetched here."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

from .._algorithms import ALGORITHMS, VerificationKey
from .._jws import parse_object
from ..errors import ConfigurationError, MalformedToken

__all__ = ["describe", "key_for", "public_jwk", "read_jwk", "read_set", "thumbprint"]

_FROM_JWK = {
    "oct": HMACAlgorithm.from_jwk,
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_THUMBPRINT_MEMBERS = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}


def describe(material: object) -> tuple[str, str | None, int]:
    """`kty`, `crv` and size in bits of a public or secret key.

    Raises:
        ValueError: A private key, or a type or curve that no algorithm here uses.
    """
    match material:
        case bytes():
            return "oct", None, len(material) * 8
        case rsa.RSAPublicKey():
            return "RSA", None, material.key_size
        case ec.EllipticCurvePublicKey() if material.curve.name in _CURVES:
            return "EC", _CURVES[material.curve.name], material.curve.key_size
        case ed25519.Ed25519PublicKey():
            return "OKP", "Ed25519", 256
    raise ValueError(f"{type(material).__name__} cannot verify here")


def key_for(material: object, *, algorithm: str, key_id: str | None) -> VerificationKey:
    """A key from the application's own hands, bound to one algorithm.

    Raises:
        ConfigurationError: The algorithm is unknown, or not one for this key, or the key is too small.
    """
    row = ALGORITHMS.get(algorithm) if isinstance(algorithm, str) else None
    if row is None:
        raise ConfigurationError(f"algorithm must be one of {sorted(ALGORITHMS)}, not {algorithm!r:.40}")
    if key_id is not None and (not isinstance(key_id, str) or not key_id):
        raise ConfigurationError("key_id must be a non-empty string")
    try:
        kty, crv, bits = describe(material)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    if (kty, crv) != (row.kty, row.crv):
        raise ConfigurationError(f"{algorithm} does not take a key of type {crv or kty}")
    if bits < row.minimum_bits:
        size = f"{row.minimum_bits // 8} bytes" if kty == "oct" else f"{row.minimum_bits} bits"
        raise ConfigurationError(
            f"{algorithm} takes a key of at least {size}, not {bits // 8 if kty == 'oct' else bits}"
        )
    return VerificationKey(key_id, algorithm, kty, crv, bits, material)


def read_jwk(jwk: object) -> VerificationKey:
    """One public or symmetric JWK (RFC 7517, section 4; RFC 7518, section 6).

    Raises:
        ValueError: It may not, or cannot, verify a signature here; the text says why.
    """
    if not isinstance(jwk, dict):
        raise ValueError("not a JSON object")
    _check_members(jwk)
    kty, kid, alg = jwk["kty"], jwk.get("kid"), jwk.get("alg")
    try:
        material = _FROM_JWK[kty](jwk)
        measured_kty, crv, bits = describe(material)
    except Exception as error:  # whatever the key libraries raise, it is this one key that is bad
        raise ValueError(f"unreadable: {type(error).__name__}") from error
    key = VerificationKey(kid or None, alg, measured_kty, crv, bits, material, jwk.get("issuer"))
    if not any(key.serves(algorithm) for algorithm in ALGORITHMS.values()):
        raise ValueError(f"{bits} bits are too few, or alg {alg!r} is not one for it")
    return key


def _check_members(jwk: Mapping[str, Any]) -> None:
    for name in ("kid", "alg", "issuer"):
        if not isinstance(jwk.get(name), str | None):
            raise ValueError(f"{name} is not a string")
    if not isinstance(jwk.get("kty"), str) or jwk["kty"] not in _FROM_JWK:
        raise ValueError(f"type {jwk.get('kty')!r:.40} is not known here")
    if jwk.get("alg") is not None and jwk["alg"] not in ALGORITHMS:
        raise ValueError(f"alg {jwk['alg']!r:.40} is not known here")
    if jwk.get("use", "sig") != "sig":
        raise ValueError(f"use {jwk['use']!r:.40} is not 'sig'")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("key_ops does not permit 'verify'")
    if "d" in jwk:
        raise ValueError("a private key")


def read_set(document: str | bytes | Mapping[str, Any], *, symmetric: bool) -> tuple[list[VerificationKey], list[str]]:
    """A JWK Set (RFC 7517, section 5): the keys that are usable, and why each other one is not.

    Args:
        document: The set; text is read as strictly as a token's JSON.
        symmetric: Whether `oct` keys count. Never for a set that came over the network.

    Raises:
        ValueError: It is no key set at all.
    """
    if not isinstance(document, Mapping):
        data = document.encode("utf-8", "replace") if isinstance(document, str) else document
        if not isinstance(data, bytes):
            raise ValueError("a key set is a JSON object, or the text of one")
        try:
            document = parse_object(data, "key set")
        except MalformedToken as error:
            raise ValueError(error.detail) from None
    entries = document.get("keys")
    if not isinstance(entries, list | tuple):
        raise ValueError("the key set has no array 'keys'")
    usable: list[VerificationKey] = []
    left_out: list[str] = []
    for number, entry in enumerate(entries):
        try:
            if not symmetric and isinstance(entry, dict) and entry.get("kty") == "oct":
                raise ValueError("a symmetric key, where anyone can read it")
            usable.append(read_jwk(entry))
        except ValueError as error:
            left_out.append(f"key {number}: {error}")
    return usable, left_out


def public_jwk(material: object) -> dict[str, Any]:
    """The bare public JWK of an RSA, EC or Ed25519 public key."""
    match material:
        case rsa.RSAPublicKey():
            jwk = RSAAlgorithm.to_jwk(material, as_dict=True)
        case ec.EllipticCurvePublicKey():
            jwk = ECAlgorithm.to_jwk(material, as_dict=True)
        case ed25519.Ed25519PublicKey():
            jwk = OKPAlgorithm.to_jwk(material, as_dict=True)
        case _:
            raise ValueError(f"{type(material).__name__} is no public key")
    return {name: value for name, value in jwk.items() if name != "key_ops"}


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The JWK SHA-256 thumbprint, base64url (RFC 7638, section 3).

    Raises:
        ValueError: A type without a thumbprint here, or a member is missing.
    """
    members = _THUMBPRINT_MEMBERS.get(str(jwk.get("kty")))
    if members is None or not all(isinstance(jwk.get(name), str) for name in members):
        raise ValueError("not a public RSA, EC or OKP key")
    canonical = json.dumps({name: jwk[name] for name in members}, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()
