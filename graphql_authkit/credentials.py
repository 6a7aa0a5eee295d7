"""Where a token is read from: the Authorization header, and nowhere else.

Query strings, bodies and GraphQL arguments are never read (RFC 9700, section 4.3.2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .errors import InvalidRequest, MissingCredential
from .model import Credential, Request

__all__ = ["FIELDS", "field_values", "read_field"]

FIELDS = frozenset({"authorization"})
"""The header fields, in lower case, that adapters must pass on."""

# token68 of RFC 9110, section 11.2, which RFC 6750, section 2.1, calls b64token.
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)", re.ASCII)
_OTHER_SCHEME = re.compile(r"(?!bearer(?:[ \t,]|$))[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:[ ,]|$)", re.IGNORECASE | re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_JOINED = re.compile(r",[ \t]*bearer[ \t]", re.IGNORECASE | re.ASCII)


def field_values(request: Request) -> list[str]:
    """The values of a request's Authorization fields."""
    return [value for name, value in request.headers if name.lower() == "authorization"]


def read_field(values: Sequence[str]) -> Credential | None:
    """Take the Bearer token from them (RFC 6750, section 2.1).

    Returns:
        The credential, or None where the request has no Authorization field at all.

    Raises:
        InvalidRequest: Two fields, or one joined of two, or spaces or control characters in the token.
        MissingCredential: Another scheme, such as Basic: a credential, but no Bearer token.
    """
    if not values:
        return None
    if len(values) > 1:
        raise InvalidRequest(f"{len(values)} Authorization fields")
    value = values[0].strip(" \t")
    bearer = _BEARER.fullmatch(value)
    if bearer is not None:
        return Credential(bearer[1])
    if _OTHER_SCHEME.match(value) and not _CONTROL.search(value) and not _JOINED.search(value):
        raise MissingCredential("another authentication scheme than Bearer")
    raise InvalidRequest("the Authorization field is not 'Bearer' and one token68")
