"""Every error of the library, in one tree; nothing else lives here, and no I/O ever does.

::

    AuthError                        why a request is refused: a code, a status, a public message
    ├─ InvalidRequest          400   the request is malformed (RFC 6750 3.1, invalid_request)
    ├─ Unauthenticated         401   we do not know who you are
    │  ├─ MissingCredential          nothing usable was sent
    │  └─ InvalidToken               a token was sent and is refused (RFC 6750 3.1, invalid_token)
    │     ├─ MalformedToken          not a strict compact JWS with a JSON object in it
    │     ├─ UnknownKey              no key of this issuer fits
    │     ├─ BadSignature            a key fits and the signature does not
    │     ├─ ClaimRejected           signed, and a claim is not acceptable
    │     ├─ TokenExpired            signed, and past its time
    │     ├─ TokenRevoked            signed, and taken back
    │     └─ SessionExpired          its session idled out or reached its end
    ├─ Forbidden               403   we know you, and the answer is no
    │  ├─ InsufficientScope          RFC 6750 3.1, insufficient_scope
    │  └─ CsrfRejected               a cookie request that another site may have made
    └─ Unavailable             503   we cannot know now; never a word about the token
       ├─ KeysUnavailable            the issuer's keys cannot be had
       ├─ StoreUnavailable           the revocation store cannot be asked
       └─ UserUnavailable            the application's load_user failed
    ConfigurationError (ValueError)  raised while building, or by a verb that cannot work as built

`str(error)` is the public message and helps no attacker. `error.detail` is for the log; it is also a
note (PEP 678), so tracebacks show it. Neither ever holds a token, a secret or a key.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar

__all__ = [
    "AuthError",
    "BadSignature",
    "ClaimRejected",
    "ConfigurationError",
    "CsrfRejected",
    "Forbidden",
    "InsufficientScope",
    "InvalidRequest",
    "InvalidToken",
    "KeysUnavailable",
    "MalformedToken",
    "MissingCredential",
    "SessionExpired",
    "StoreUnavailable",
    "TokenExpired",
    "TokenRevoked",
    "Unauthenticated",
    "Unavailable",
    "UnknownKey",
    "UserUnavailable",
]


class AuthError(Exception):
    """A request is refused.

    Args:
        detail: What went wrong, for the log. It must never hold a token or a secret.

    Attributes:
        code: Apollo's name for the kind of refusal, sent to clients as `extensions.code`.
        reason: Our finer name, sent to clients as `extensions.reason`.
        status: The HTTP status an adapter answers with.
        error: The `error` parameter of the Bearer challenge (RFC 6750, section 3.1), or None.
        public_message: What clients read.
    """

    code: ClassVar[str] = "UNAUTHENTICATED"
    reason: ClassVar[str] = "UNAUTHENTICATED"
    status: ClassVar[int] = 401
    error: ClassVar[str | None] = None
    public_message: ClassVar[str] = "Authentication is required."

    def __init__(self, detail: str = "") -> None:
        self.args = (detail,)
        self.detail = detail

    @property
    def __notes__(self) -> list[str]:
        """The detail, and what `add_note` adds (PEP 678); made when it is asked for, since it seldom is."""
        notes: list[str] = self.__dict__.setdefault("_notes", [self.detail] if self.detail else [])
        return notes

    @__notes__.setter
    def __notes__(self, notes: list[str]) -> None:
        self.__dict__["_notes"] = notes

    def __str__(self) -> str:
        return self.public_message

    @property
    def extensions(self) -> dict[str, str]:
        """`code` and `reason`; graphql-core copies them from an error that a resolver raises."""
        return {"code": self.code, "reason": self.reason}


class InvalidRequest(AuthError):
    """The request is malformed, or says who calls in two ways at once (RFC 6750, section 3.1)."""

    code = "BAD_REQUEST"
    reason = "INVALID_REQUEST"
    status = 400
    error = "invalid_request"
    public_message = "The request's credentials are malformed."


class Unauthenticated(AuthError):
    """We do not know who is calling."""


class MissingCredential(Unauthenticated):
    """No Bearer token was sent. The challenge then carries no error (RFC 6750, section 3.1)."""

    reason = "MISSING_CREDENTIAL"


class InvalidToken(Unauthenticated):
    """A token was sent and is refused."""

    reason = "INVALID_TOKEN"
    error = "invalid_token"
    public_message = "The access token is invalid."


class MalformedToken(InvalidToken):
    """The token is not one that the strict parser reads (RFC 7515, section 7.1)."""


class UnknownKey(InvalidToken):
    """No key, or more than one, fits the token's header."""


class BadSignature(InvalidToken):
    """The signature is not the key's over this header and payload."""


class ClaimRejected(InvalidToken):
    """The token is signed and one of its claims is not acceptable.

    Args:
        claim: The claim's name.
        why: What is wrong with it, for the log.
    """

    reason = "CLAIM_REJECTED"
    public_message = "The access token is not acceptable here."

    def __init__(self, claim: str, why: str) -> None:
        super().__init__(f"claim {claim!r}: {why}")
        self.args = (claim, why)
        self.claim = claim
        self.why = why


class TokenExpired(InvalidToken):
    """The token is past its time."""

    reason = "TOKEN_EXPIRED"
    public_message = "The access token expired."


class TokenRevoked(InvalidToken):
    """The token was taken back before its time."""

    reason = "TOKEN_REVOKED"
    public_message = "The access token was revoked."


class SessionExpired(InvalidToken):
    """The token's session was idle too long or reached its end."""

    reason = "SESSION_EXPIRED"
    public_message = "The session expired."


class Forbidden(AuthError):
    """We know who is calling, and the answer is no."""

    code = "FORBIDDEN"
    reason = "FORBIDDEN"
    status = 403
    public_message = "Not permitted."


class InsufficientScope(Forbidden):
    """The token lacks a scope that this door asks of everyone (RFC 6750, section 3.1).

    Args:
        required: The scopes asked for; they are sent in the challenge's `scope`.
        detail: More for the log.
    """

    reason = "INSUFFICIENT_SCOPE"
    error = "insufficient_scope"
    public_message = "The access token lacks a required scope."

    def __init__(self, required: Iterable[str], detail: str = "") -> None:
        super().__init__(detail)
        self.required = tuple(required)
        self.args = (self.required, detail)


class CsrfRejected(Forbidden):
    """A request with a session cookie that another site may have made."""

    reason = "CSRF_REJECTED"


class Unavailable(AuthError):
    """Nobody can say now whether the token is good: keys, store or user are out of reach.

    Args:
        detail: For the log.
        retry_after: Seconds after which it may be otherwise.

    Attributes:
        retry_after: Whole seconds, sent as `Retry-After` (RFC 9110, section 10.2.3).
    """

    code = "UNAVAILABLE"
    reason = "UNAVAILABLE"
    status = 503
    public_message = "Authentication is unavailable for now."

    def __init__(self, detail: str = "", *, retry_after: float = 5.0) -> None:
        super().__init__(detail)
        self.retry_after = max(1, math.ceil(retry_after))


class KeysUnavailable(Unavailable):
    """The issuer's keys cannot be had."""

    reason = "KEYS_UNAVAILABLE"


class StoreUnavailable(Unavailable):
    """The revocation store cannot be asked."""

    reason = "STORE_UNAVAILABLE"


class UserUnavailable(Unavailable):
    """The application's `load_user` failed."""

    reason = "USER_UNAVAILABLE"


class ConfigurationError(ValueError):
    """The library was put together in a way that is unsafe or cannot work."""
