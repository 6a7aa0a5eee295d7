"""The data that walks the pipeline, frozen: Request, Credential, VerifiedToken, ActiveToken, AuthContext.

Each type is the proof that the step before it ran. Nothing here decides, waits, or reads a clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias, final

from ._frozen import FrozenDict, freeze_json

__all__ = [
    "ANONYMOUS",
    "ENVIRON_KEY",
    "STATE_KEY",
    "ActiveToken",
    "AuthContext",
    "AuthenticatedContext",
    "Credential",
    "Request",
    "Response",
    "VerifiedToken",
    "digest_key",
    "set_marks",
    "token_key",
    "verified_token",
]


STATE_KEY = "auth"
"""Where an ASGI scope's `state` holds the AuthContext."""

ENVIRON_KEY = "graphql_authkit.auth"
"""Where a WSGI environ holds it. A client cannot set it: headers arrive as `HTTP_…`."""


def token_key(token_id: str) -> str:
    """What a store knows a token by, beside its issuer, from its `jti`.

    A token without one is known by `sha256:` and the digest of its signing input instead; the prefix
    keeps a hostile `jti` from naming another token's digest.
    """
    return "jti:" + token_id


def digest_key(signing_input: bytes) -> str:
    """What a store knows a token without `jti` by: the digest of `header.payload`.

    Never of the signature: ECDSA's can be rewritten.
    """
    return "sha256:" + hashlib.sha256(signing_input).hexdigest()


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request as the pipeline sees it.

    Args:
        headers: Field name and value pairs, names in any case, one pair for each field line. Adapters
            pass on at least those that `credentials.FIELDS` names.
    """

    headers: Iterable[tuple[str, str]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response that an adapter sends."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Credential:
    """What the client sent to say who it is; nothing about it is known to be true."""

    token: str = field(repr=False)


_TokenMembers: TypeAlias = tuple[
    str, str, frozenset[str], str | None, str, str | None, str | None, float, float | None, float | None
]
"""subject, issuer, scopes, token_id, token_key, session_id, client_id, expires_at, issued_at, not_before"""


@final
class VerifiedToken:
    """A token whose signature and claims were accepted. Only a verifier makes one; it cannot be changed.

    Its members are one tuple: a frozen dataclass of as many takes longer to fill than the payload to read.

    Args:
        claims: The payload. The token takes it over and freezes it when it is first read.

    Attributes:
        subject: From the verifier's `subject_claim`.
        issuer: `iss` ("" under `insecure_any_issuer` where the token has none).
        scopes: From the verifier's `scope_claims`, united.
        token_id: `jti`, or None.
        token_key: What revocation knows it by: `jti:…`, else `sha256:…` of the signing input.
        session_id: From the verifier's `session_claim`, or None.
        client_id: `client_id`, `azp`, `appid` or `cid`, the first there is, or None.
        expires_at: `exp`, in seconds since the epoch.
        issued_at: `iat`, likewise, or None.
        not_before: `nbf`, likewise, or None.
        claims: All claims, deeply immutable.
    """

    __slots__ = ("_claims", "_marks", "_members")
    _members: _TokenMembers
    _claims: dict[str, Any]
    _marks: tuple[int, ...] | None  # `revocation.marks_of`, once they were asked for

    def __new__(
        cls,
        subject: str,
        issuer: str,
        scopes: frozenset[str],
        token_id: str | None,
        token_key: str,
        session_id: str | None,
        client_id: str | None,
        expires_at: float,
        issued_at: float | None,
        not_before: float | None,
        claims: dict[str, Any],
    ) -> VerifiedToken:
        # fmt: off
        return verified_token((
            subject, issuer, scopes, token_id, token_key,
            session_id, client_id, expires_at, issued_at, not_before,
        ), claims)
        # fmt: on

    @property
    def subject(self) -> str:
        return self._members[0]

    @property
    def issuer(self) -> str:
        return self._members[1]

    @property
    def scopes(self) -> frozenset[str]:
        return self._members[2]

    @property
    def token_id(self) -> str | None:
        return self._members[3]

    @property
    def token_key(self) -> str:
        return self._members[4]

    @property
    def session_id(self) -> str | None:
        return self._members[5]

    @property
    def client_id(self) -> str | None:
        return self._members[6]

    @property
    def expires_at(self) -> float:
        return self._members[7]

    @property
    def issued_at(self) -> float | None:
        return self._members[8]

    @property
    def not_before(self) -> float | None:
        return self._members[9]

    @property
    def claims(self) -> Mapping[str, Any]:
        claims = self._claims
        if type(claims) is not FrozenDict:  # two threads may both get here; they make equal values
            claims = freeze_json(claims)
            _set_claims(self, claims)
        return claims

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        raise AttributeError(f"a VerifiedToken is frozen: {name!r} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a VerifiedToken is frozen: {name!r} cannot be deleted")

    def __reduce__(self) -> tuple[type[VerifiedToken], tuple[Any, ...]]:
        return VerifiedToken, (*self._members, self._claims)

    def __repr__(self) -> str:
        return f"VerifiedToken(subject={self.subject!r}, issuer={self.issuer!r}, token_key={self.token_key!r})"


# The slots' own setters: they go past `__setattr__`, and are quicker than `object.__setattr__`.
_set_members = VerifiedToken.__dict__["_members"].__set__
_set_claims = VerifiedToken.__dict__["_claims"].__set__
set_marks = VerifiedToken.__dict__["_marks"].__set__
_new = object.__new__


def verified_token(members: _TokenMembers, claims: dict[str, Any]) -> VerifiedToken:
    """`VerifiedToken(*members, claims)`, at half its cost."""
    self = _new(VerifiedToken)
    _set_members(self, members)
    _set_claims(self, claims)
    set_marks(self, None)
    return self


@dataclass(frozen=True, slots=True)
class ActiveToken:
    """A verified token that nobody has taken back, as far as the configured store knows."""

    token: VerifiedToken


class AuthContext:
    """Who is calling. Frozen; there before GraphQL runs, and the same object for each request of a token.

    This class itself is the caller of whom nothing is known (ANONYMOUS); one whom we know is an
    AuthenticatedContext, which narrows the types below.

    Attributes:
        is_authenticated: Whether we know who is calling.
        subject: Who: from the verifier's `subject_claim`.
        issuer: Who says so: the token's `iss`.
        client_id: Through which OAuth client, where the token tells.
        session_id: In which session, where the token tells.
        token_id: The token's `jti`, where it has one.
        token_key: What `Revocations.revoke` knows the token by.
        scopes: What the token may be used for.
        claims: All of its claims, deeply immutable.
        expires_at: When it ends, in seconds since the epoch.
        user: What the application's `load_user` returned: its own object, not frozen by us.
    """

    __slots__ = ()

    @property
    def is_authenticated(self) -> bool:
        return False

    @property
    def subject(self) -> str | None:
        return None

    @property
    def issuer(self) -> str | None:
        return None

    @property
    def client_id(self) -> str | None:
        return None

    @property
    def session_id(self) -> str | None:
        return None

    @property
    def token_id(self) -> str | None:
        return None

    @property
    def token_key(self) -> str | None:
        return None

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset()

    @property
    def claims(self) -> Mapping[str, Any]:
        return _NO_CLAIMS

    @property
    def expires_at(self) -> float | None:
        return None

    @property
    def user(self) -> Any:
        return None

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        raise AttributeError(f"an AuthContext is frozen: {name!r} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an AuthContext is frozen: {name!r} cannot be deleted")

    def __copy__(self) -> AuthContext:
        return self

    def __deepcopy__(self, _memo: object) -> AuthContext:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        return "ANONYMOUS"  # pickled by name: the copy is the same object

    def __repr__(self) -> str:
        return "AuthContext(anonymous)"


class AuthenticatedContext(AuthContext):
    """A caller whom we know. Only the pipeline makes one, from an ActiveToken."""

    __slots__ = ("_token", "_user")
    _token: VerifiedToken
    _user: Any

    def __new__(cls, active: ActiveToken, user: Any = None) -> AuthenticatedContext:
        self = super().__new__(cls)
        object.__setattr__(self, "_token", active.token)
        object.__setattr__(self, "_user", user)
        return self

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def subject(self) -> str:
        return self._token.subject

    @property
    def issuer(self) -> str:
        return self._token.issuer

    @property
    def client_id(self) -> str | None:
        return self._token.client_id

    @property
    def session_id(self) -> str | None:
        return self._token.session_id

    @property
    def token_id(self) -> str | None:
        return self._token.token_id

    @property
    def token_key(self) -> str:
        return self._token.token_key

    @property
    def scopes(self) -> frozenset[str]:
        return self._token.scopes

    @property
    def claims(self) -> Mapping[str, Any]:
        return self._token.claims

    @property
    def expires_at(self) -> float:
        return self._token.expires_at

    @property
    def user(self) -> Any:
        return self._user

    def __reduce__(self) -> tuple[type[AuthenticatedContext], tuple[ActiveToken, Any]]:
        return AuthenticatedContext, (ActiveToken(self._token), self._user)

    def __repr__(self) -> str:
        return f"AuthContext(subject={self.subject!r}, issuer={self.issuer!r}, scopes={sorted(self.scopes)!r})"


_NO_CLAIMS = FrozenDict()
ANONYMOUS = AuthContext()
"""The caller of whom nothing is known, where a door lets such callers in."""
