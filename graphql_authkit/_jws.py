"""The strict compact JWS parser. No keys, no claims, no clock, no I/O.

It is ours, not PyJWT's (RFC 7515, section 7.1; RFC 8725bis). One token has one
spelling: whatever a lenient reader would forgive (padding, stray bits, duplicate members) is refused, so
that a cache or a revocation list keyed by a token cannot be walked past by writing it differently.

The order of work is the order of cost: length, alphabet, shape, header, signature, and only then the
payload's JSON. Nothing here raises anything but an AuthError, whatever it is given.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from ._algorithms import ALGORITHMS, Algorithm
from .errors import MalformedToken

__all__ = [
    "Header",
    "ParsedToken",
    "Segments",
    "encode",
    "parse",
    "parse_object",
    "read_header",
    "split",
]

MAX_DEPTH = 16
MAX_DIGITS = 20

# base64url to base64; whatever is not in the former becomes "!", which is not in the latter.
_TO_BASE64 = bytes(
    {ord("-"): ord("+"), ord("_"): ord("/")}.get(byte, byte if chr(byte).isalnum() and byte < 128 else ord("!"))
    for byte in range(256)
)
# The last character of a segment carries 4 or 2 bits that no byte uses; canonical means they are zero.
# By the segment's length modulo 4; no bytes make a remainder of 1.
_LAST = (frozenset(range(128)), frozenset(b""), frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))
_PADDING = (b"", b"", b"==", b"=")

# The closing quote is optional: an unterminated string then ends the scan instead of restarting it at
# every escaped quote, which would be quadratic.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


class Header(NamedTuple):
    """What of a token's header is ever used. `jku`, `x5u`, `jwk` and `x5c` are not even kept."""

    algorithm: Algorithm
    kid: str | None
    typ: str | None


Segments: TypeAlias = tuple[bytes, bytes, bytes, bytes]
"""A token cut at its dots: the header segment as it was sent, the signing input, and decoded the payload
and the signature. Nothing in it is known to be true."""


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
    header, *rest = split(encode(token, max_bytes))
    return ParsedToken(read_header(header), *rest)


def encode(token: str, max_bytes: int) -> bytes:
    """A token's bytes; raises as `parse` does."""
    if not isinstance(token, str) or len(token) > max_bytes:
        raise MalformedToken(f"not a str, or longer than max_token_bytes={max_bytes}")
    if not token.isascii():
        raise MalformedToken("a character that is not ASCII")
    return token.encode()


def split(encoded: bytes) -> Segments:
    """The part of `parse` that looks at bytes only; raises as it does."""
    parts = encoded.split(b".", 3)
    if len(parts) != 3:
        raise MalformedToken(f"{encoded.count(b'.') + 1} segments instead of 3")
    header, payload, signature = parts
    return header, encoded[: -len(signature) - 1], _decode(payload, "payload"), _decode(signature, "signature")


def _decode(segment: bytes, what: str) -> bytes:
    """Base64url without padding, canonical (RFC 7515, section 2; RFC 4648, section 3.5)."""
    if not segment:
        raise MalformedToken(f"the {what} is empty")
    remainder = len(segment) & 3
    if segment[-1] not in _LAST[remainder]:
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
        text = data.decode()
        if text.count("{") + text.count("[") > MAX_DEPTH:  # brackets within strings only make it too high
            _check_depth(text)
        value = _read_json(text)
        if "\\" in text and "\\u" in text:  # one character is found much faster than two
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails on a lone surrogate
    except (ValueError, RecursionError) as error:  # UnicodeError and JSONDecodeError are ValueErrors
        raise MalformedToken(f"the {what} is not strict JSON: {_why(error)}") from None
    if not isinstance(value, dict):
        raise MalformedToken(f"the {what} is not a JSON object")
    return value


def _read_json(text: str) -> Any:
    try:
        value, end = _scan(text, 0)  # what `decode` does, without its search for space around it
    except StopIteration:  # the scanner's way to say that no value begins there
        value, end = None, -1
    return value if end == len(text) else _decoder.decode(text)


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
    return members


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS and len(text.removeprefix("-")) > MAX_DIGITS:
        raise ValueError(f"an integer of over {MAX_DIGITS} digits")
    return int(text)


def _fraction(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number too large")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"the constant {name}")


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def _check_depth(text: str) -> None:
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
