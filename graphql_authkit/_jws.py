"""The strict compact JWS parser and the signature check. No claims, no clock, no I/O.

PyJWT supplies the algorithms; the parser is ours (RFC 7515, section 7.1; RFC 8725bis). One token has one
spelling: whatever a lenient reader would forgive (padding, stray bits, duplicate members) is refused, so
that a cache or a revocation list keyed by a token cannot be walked past by writing it differently.

The order of work is the order of cost: length, alphabet, shape, header, signature, and only then the
payload's JSON. Nothing here raises anything but an AuthError, whatever it is given.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jwt.algorithms import Algorithm as _Implementation
from jwt.algorithms import get_default_algorithms

from .errors import BadSignature, MalformedToken

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Header",
    "ParsedToken",
    "Segments",
    "VerificationKey",
    "check_signature",
    "parse",
    "parse_object",
    "read_header",
    "signing_input_digest",
    "speaks_for",
    "split",
]

MAX_DEPTH = 16
MAX_DIGITS = 20
_LARGEST = 10**MAX_DIGITS

# base64url to base64; whatever is not in the former becomes "!", which is not in the latter.
_TO_BASE64 = bytes(
    {ord("-"): ord("+"), ord("_"): ord("/")}.get(byte, byte if chr(byte).isalnum() and byte < 128 else ord("!"))
    for byte in range(256)
)
# The last character of a segment carries 4 or 2 bits that no byte uses; canonical means they are zero.
_LAST_OF_TWO = frozenset(b"AQgw")
_LAST_OF_THREE = frozenset(b"AEIMQUYcgkosw048")
_PADDING = (b"", b"", b"==", b"=")

# The closing quote is optional: an unterminated string then ends the scan instead of restarting it at
# every escaped quote, which would be quadratic.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One row: what a signature algorithm asks of its key (RFC 7518, section 3.1; RFC 8037, section 3.1)."""

    name: str
    kty: str
    crv: str | None
    minimum_bits: int
    implementation: _Implementation = field(repr=False)


def _table() -> dict[str, Algorithm]:
    rows = (
        ("HS256", "oct", None, 256),
        ("HS384", "oct", None, 384),
        ("HS512", "oct", None, 512),
        ("RS256", "RSA", None, 2048),
        ("RS384", "RSA", None, 2048),
        ("RS512", "RSA", None, 2048),
        ("PS256", "RSA", None, 2048),
        ("PS384", "RSA", None, 2048),
        ("PS512", "RSA", None, 2048),
        ("ES256", "EC", "P-256", 256),
        ("ES384", "EC", "P-384", 384),
        ("ES512", "EC", "P-521", 521),
        ("EdDSA", "OKP", "Ed25519", 256),
    )
    implementations = get_default_algorithms()
    return {name: Algorithm(name, kty, crv, bits, implementations[name]) for name, kty, crv, bits in rows}


ALGORITHMS = _table()


@dataclass(frozen=True, slots=True, eq=False)
class VerificationKey:
    """A key that may check signatures, already parsed, measured and allowed to.

    Args:
        kid: Its identifier, or None.
        alg: The one algorithm it states, or None: then it serves the configured ones of its type.
        kty: Its type, as in RFC 7517.
        crv: Its curve, where the type has curves.
        bits: Its size.
        material: What PyJWT's algorithm object takes.
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


class Header(NamedTuple):
    """What of a token's header is ever used. `jku`, `x5u`, `jwk` and `x5c` are not even kept."""

    algorithm: Algorithm
    kid: str | None
    typ: str | None


class Segments(NamedTuple):
    """A token cut at its dots: the header as it was sent, the rest decoded. Nothing in it is known to be true."""

    header: bytes
    signing_input: bytes
    payload: bytes
    signature: bytes


class ParsedToken(NamedTuple):
    """A token taken apart; nothing in it is known to be true."""

    header: Header
    signing_input: bytes
    payload: bytes
    signature: bytes


def parse(token: str, *, max_bytes: int) -> ParsedToken:
    """Take a compact JWS apart, strictly.

    Args:
        token: Three base64url segments (RFC 7515, section 7.1).
        max_bytes: The longest token to look at, in bytes.

    Raises:
        MalformedToken: Anything else; its detail says what.
    """
    segments = split(token, max_bytes=max_bytes)
    return ParsedToken(read_header(segments.header), *segments[1:])


def split(token: str, *, max_bytes: int) -> Segments:
    """The part of `parse` that looks at bytes only; raises as it does."""
    if not isinstance(token, str):
        raise MalformedToken(f"a token is a str, not {type(token).__name__}")
    if len(token) > max_bytes:
        raise MalformedToken(f"longer than max_token_bytes={max_bytes}")
    if not token.isascii():
        raise MalformedToken("a character that is not ASCII")
    encoded = token.encode("ascii")
    parts = encoded.split(b".", 3)
    if len(parts) != 3:
        raise MalformedToken(f"{encoded.count(b'.') + 1} segments instead of 3")
    header, payload, signature = parts
    return Segments(
        header, encoded[: -len(signature) - 1], _decode(payload, "payload"), _decode(signature, "signature")
    )


def speaks_for(key: VerificationKey, issuer: str) -> bool:
    """Whether the key may sign tokens of this issuer."""
    if key.issuer is None:
        return True
    before, template, after = key.issuer.partition("{tenantid}")
    if not template:
        return issuer == key.issuer
    tenant = issuer[len(before) : len(issuer) - len(after)]
    return issuer == before + tenant + after and tenant != "" and "/" not in tenant


def check_signature(header: Header, token: Segments | ParsedToken, key: VerificationKey) -> None:
    """Check the signature with one key that the caller chose by the header's `kid` and `alg`.

    Raises:
        BadSignature: It is not this key's, or the key does not serve the algorithm.
    """
    algorithm = header.algorithm
    if not key.serves(algorithm):
        raise BadSignature(f"the key does not serve {algorithm.name}")
    try:
        good = algorithm.implementation.verify(token.signing_input, key.material, token.signature)
    except Exception as error:  # a backend that stumbles over hostile bytes has not verified them
        raise BadSignature(f"{algorithm.name} failed: {type(error).__name__}") from error
    if good is not True:
        raise BadSignature(f"{algorithm.name} with key {key.kid!r:.80}")


def signing_input_digest(signing_input: bytes) -> str:
    """`sha256:` and the digest of `header.payload`. Never of the signature: ECDSA's can be rewritten."""
    return "sha256:" + hashlib.sha256(signing_input).hexdigest()


def _decode(segment: bytes, what: str) -> bytes:
    """Base64url without padding, canonical (RFC 7515, section 2; RFC 4648, section 3.5)."""
    if not segment:
        raise MalformedToken(f"the {what} is empty")
    remainder = len(segment) & 3
    if (
        remainder == 1
        or (remainder == 2 and segment[-1] not in _LAST_OF_TWO)
        or (remainder == 3 and segment[-1] not in _LAST_OF_THREE)
    ):
        raise MalformedToken(f"the {what} is not canonical base64url")
    try:
        return binascii.a2b_base64(segment.translate(_TO_BASE64) + _PADDING[remainder], strict_mode=True)
    except binascii.Error:
        raise MalformedToken(f"the {what} is not canonical base64url") from None


# ------------------------------------------------------------------------------------------ header


def read_header(segment: bytes) -> Header:
    """Read the header segment of a token.

    Raises:
        MalformedToken: It is no strict JSON object, or asks for what is not done here.
    """
    members = parse_object(_decode(segment, "header"), "header")
    alg = members.get("alg")
    algorithm = ALGORITHMS.get(alg) if isinstance(alg, str) else None
    if algorithm is None:
        raise MalformedToken(f"alg {_shown(alg)} is not one that is verified here")
    for name, why in _REFUSED_MEMBERS.items():
        if name in members:
            raise MalformedToken(why)
    if members.get("b64", True) is not True:
        raise MalformedToken("an unencoded payload (b64, RFC 7797)")
    kid = members.get("kid")
    typ = members.get("typ")
    if not (kid is None or isinstance(kid, str)) or not (typ is None or isinstance(typ, str)):
        raise MalformedToken("kid or typ is not a string")
    return Header(algorithm, kid, typ)


_REFUSED_MEMBERS = {
    # No extension is understood here, an empty list is malformed, and a registered name may not be
    # listed: every `crit` is refused (RFC 7515, section 4.1.11).
    "crit": "a critical header that is not understood",
    "zip": "compression",
    "enc": "an encrypted token (JWE)",
}


# -------------------------------------------------------------------------------------------- JSON


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """Read one JSON object, strictly (RFC 8259; RFC 7515, section 4, for duplicate members).

    Refused: non-UTF-8, a byte order mark, duplicate members and nesting over 16 at any depth, NaN and
    infinities however written, integers of over 20 digits, lone surrogates, anything but an object.

    Raises:
        MalformedToken: With `what` in its detail.
    """
    try:
        text = data.decode("utf-8")
        _check_depth(text)
        value = _read_json(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails on a lone surrogate
    except (ValueError, RecursionError) as error:  # UnicodeError and JSONDecodeError are ValueErrors
        raise MalformedToken(f"the {what} is not strict JSON: {_why(error)}") from None
    if not isinstance(value, dict):
        raise MalformedToken(f"the {what} is not a JSON object")
    return value


def _read_json(text: str) -> Any:
    if text.startswith("{") and text.endswith("}"):  # no space around it that `decode` would look for
        try:
            value, end = _scan(text, 0)
        except StopIteration:  # the scanner's way to say that no value begins there
            raise ValueError("a value is missing") from None
        if end == len(text):
            return value
    return _decoder.decode(text)


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    if isinstance(error, UnicodeError):
        return "a lone surrogate or not UTF-8"  # its own text would quote the data
    return str(error)[:60]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a duplicate member")
    for value in members.values():
        kind = type(value)
        if kind is int:
            if not -_LARGEST < value < _LARGEST:
                raise ValueError(f"an integer of over {MAX_DIGITS} digits")
        elif kind is list:
            _check_integers(value)
    return members


def _check_integers(items: list[Any]) -> None:
    for item in items:
        kind = type(item)
        if kind is list:
            _check_integers(item)  # no deeper than `_check_depth` lets it be
        elif kind is int and not -_LARGEST < item < _LARGEST:
            raise ValueError(f"an integer of over {MAX_DIGITS} digits")


def _fraction(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number too large")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"the constant {name}")


# The hook looks at integers afterwards: a `parse_int` of ours would be called for each of them.
_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_fraction, parse_constant=_constant)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def _check_depth(text: str) -> None:
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return  # brackets within strings can only make this count too high
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        first = text[match.start()]
        if first in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nested over {MAX_DEPTH} deep")
        elif first in "}]":
            depth -= 1


def _shown(value: object) -> str:
    return repr(value)[:40]
