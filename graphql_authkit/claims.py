"""The claims policy: what a signed token must say to be accepted. Pure; the time is a parameter.

It runs after the signature check, always: a forged token never learns which claim was wrong. An error
about a missing claim names, in the log, the option that would help.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from .errors import ClaimRejected, ConfigurationError, TokenExpired
from .model import VerifiedToken, digest_key, token_key, verified_token

__all__ = ["ClaimPath", "ClaimsPolicy", "Profile", "read_claim", "read_date", "read_strings", "read_text"]

ClaimPath: TypeAlias = str | tuple[str, ...]
"""A claim's name, or the way to a nested one: `("realm_access", "roles")`."""

Profile: TypeAlias = Literal["access_token", "rfc9068"]

MAX_LEEWAY = 60.0
_LATEST = 253_402_300_799  # the last second of the year 9999: a date beyond it is a mistake, or an attack

_TYPES: dict[Profile, frozenset[str | None]] = {
    "access_token": frozenset({None, "jwt", "at+jwt"}),
    "rfc9068": frozenset({"at+jwt"}),
}
_RFC9068_CLAIMS = ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")  # section 2.2
_OTHER_TOKENS = frozenset({"id", "refresh", "offline", "logout"})  # Keycloak's payload `typ`
_CLIENT_CLAIMS = ("client_id", "azp", "appid", "cid")


def read_claim(claims: Mapping[str, Any], path: ClaimPath) -> Any:
    """The claim at a path, or None where it is absent, null, or its parent is no object."""
    if isinstance(path, str):
        return claims.get(path)
    value: Any = claims
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsPolicy:
    """What is asked of a token's claims; `JWTVerifier` documents each field.

    Raises:
        ConfigurationError: A combination that would accept too much, or nothing.
    """

    issuers: frozenset[str] | None
    audiences: frozenset[str] | None
    client_ids: frozenset[str] | None = None
    leeway: float = 5.0
    max_age: float | None = None
    required: tuple[str, ...] = ()
    profile: Profile = "access_token"
    subject_claim: ClaimPath = "sub"
    scope_claims: tuple[ClaimPath, ...] = ("scope", "scp")
    session_claim: ClaimPath = "sid"
    token_id_claim: ClaimPath = "jti"
    _named: tuple[str, ...] = field(init=False, repr=False)  # what must be there

    def __post_init__(self) -> None:
        for name in ("issuers", "audiences", "client_ids"):
            accepted = getattr(self, name)
            if accepted is not None and (not accepted or not all(isinstance(v, str) and v for v in accepted)):
                raise ConfigurationError(f"{name} must hold one or more non-empty strings")
        if not _is_number(self.leeway) or not 0 <= self.leeway <= MAX_LEEWAY:
            raise ConfigurationError(f"leeway must lie between 0 and {MAX_LEEWAY:.0f} seconds")
        if self.max_age is not None and (not _is_number(self.max_age) or not self.max_age > 0):
            raise ConfigurationError("max_age must be a positive number of seconds")
        if self.profile not in _TYPES:
            raise ConfigurationError(f"profile must be one of {sorted(_TYPES)}")
        if self.profile == "rfc9068" and self.audiences is None and self.client_ids is not None:
            raise ConfigurationError("rfc9068 tokens have an aud, which client_ids= alone refuses: set audience=")
        if not all(isinstance(name, str) and name for name in self.required):
            raise ConfigurationError("required must hold non-empty strings")
        for path in (self.subject_claim, self.session_claim, self.token_id_claim, *self.scope_claims):
            _check_path(path)
        named = (*_RFC9068_CLAIMS, *self.required) if self.profile == "rfc9068" else self.required
        object.__setattr__(self, "_named", named)

    def accept(self, claims: dict[str, Any], *, typ: str | None, now: float, signing_input: bytes) -> VerifiedToken:
        """Apply the whole policy to the claims of a token whose signature is good.

        Args:
            claims: The payload; the caller gives it up.
            typ: The header's `typ`.
            now: Seconds since the epoch.
            signing_input: Names the token where it has no token id.

        Raises:
            TokenExpired: It is past `exp`, or older than `max_age`.
            ClaimRejected: Anything else.
        """
        # What most tokens say is looked at in line: a call costs more than the look.
        get = claims.get
        self._check_kind(claims, typ)
        if self._named:
            self._check_required(claims)
        issuer = get("iss")
        if self.issuers is None or type(issuer) is not str or issuer not in self.issuers:
            issuer = self._check_issuer(claims)
        client_id = self._check_audience(claims)
        expires_at, issued_at, not_before = get("exp"), get("iat"), get("nbf")
        if type(expires_at) is not int or not 0 <= expires_at <= _LATEST:
            expires_at = read_date(claims, "exp")
            if expires_at is None:
                raise ClaimRejected("exp", "missing: a token must end")
        if type(issued_at) is not int or not 0 <= issued_at <= _LATEST:
            issued_at = read_date(claims, "iat")
        if type(not_before) is not int or not 0 <= not_before <= _LATEST:
            not_before = read_date(claims, "nbf")
        self._check_dates(expires_at, issued_at, not_before, now)
        subject = read_text(claims, self.subject_claim)
        if subject is None:
            raise ClaimRejected(_name(self.subject_claim), "missing: set subject_claim= to the one that says who")
        token_id = read_text(claims, self.token_id_claim)
        # fmt: off
        return verified_token((
            subject, issuer, _scopes(claims, self.scope_claims), token_id,
            digest_key(signing_input) if token_id is None else token_key(token_id),
            read_text(claims, self.session_claim), client_id, expires_at, issued_at, not_before,
        ), claims)
        # fmt: on

    def window(self, token: VerifiedToken) -> tuple[float, float]:
        """From when, and until before when, `check_time` finds nothing wrong."""
        born = token.issued_at
        starts = max(token.not_before or 0.0, born or 0.0) - self.leeway
        ends = token.expires_at if self.max_age is None or born is None else min(token.expires_at, born + self.max_age)
        return starts, ends + self.leeway

    def check_time(self, token: VerifiedToken, now: float) -> None:
        """Whether a token that was accepted before is good at this moment.

        Raises:
            TokenExpired: As `accept`.
            ClaimRejected: Its `nbf` or `iat` lies in the future: the clock was set back.
        """
        self._check_dates(token.expires_at, token.issued_at, token.not_before, now)

    def _check_dates(self, expires_at: float, issued_at: float | None, not_before: float | None, now: float) -> None:
        """Whether a token is good at this moment (RFC 7519, sections 4.1.4 to 4.1.6).

        Raises:
            TokenExpired: `now` is at or past `exp`, or `iat` is longer ago than `max_age`, leeway granted.
            ClaimRejected: `nbf` or `iat` lies in the future.
        """
        leeway = self.leeway
        if now >= expires_at + leeway:
            raise TokenExpired(f"exp was {now - expires_at:.0f} s ago")
        if not_before is not None and not_before > now + leeway:
            raise ClaimRejected("nbf", "in the future")
        if issued_at is not None and issued_at > now + leeway:
            raise ClaimRejected("iat", "in the future")
        if self.max_age is not None:
            if issued_at is None:
                raise ClaimRejected("iat", "missing: max_age= asks for it")
            if now >= issued_at + self.max_age + leeway:
                raise TokenExpired("older than max_age")

    def _check_kind(self, claims: Mapping[str, Any], typ: str | None) -> None:
        """An access token, and no other kind (RFC 8725, section 3.11)."""
        kinds = _TYPES[self.profile]
        if typ not in kinds and (typ is None or typ.lower().removeprefix("application/") not in kinds):
            raise ClaimRejected("typ", f"header typ {typ!r:.40} is no access token's under {self.profile!r}")
        if "token_use" in claims and claims["token_use"] != "access":
            raise ClaimRejected("token_use", "an access token says 'access'")
        if "typ" in claims:
            payload_typ = claims["typ"]
            if not isinstance(payload_typ, str) or payload_typ.lower() in _OTHER_TOKENS:
                raise ClaimRejected("typ", f"the payload's typ {payload_typ!r:.40} is no access token's")
        if "events" in claims:
            raise ClaimRejected("events", "a security event or logout token")
        if "cnf" in claims:
            raise ClaimRejected("cnf", "bound to a key (RFC 9449, RFC 8705) and sent as Bearer")

    def _check_required(self, claims: Mapping[str, Any]) -> None:
        for name in self._named:
            if claims.get(name) in (None, []):  # an `aud` that names nobody is none
                raise ClaimRejected(name, "missing: required= or the profile asks for it")

    def _check_issuer(self, claims: Mapping[str, Any]) -> str:
        issuer = claims.get("iss")
        if self.issuers is None:
            return issuer if isinstance(issuer, str) else ""
        if issuer is None:
            raise ClaimRejected("iss", "missing: only insecure_any_issuer=True accepts such tokens")
        if not isinstance(issuer, str) or issuer not in self.issuers:
            raise ClaimRejected("iss", f"{issuer!r:.200} is not issuer=")
        return issuer

    def _check_audience(self, claims: Mapping[str, Any]) -> str | None:
        """For whom the token is, and through which client it came."""
        first: str | None = None
        for name in _CLIENT_CLAIMS:
            if name in claims:
                client = read_text(claims, name)
                if first is None:
                    first = client
                if self.client_ids is not None and client is not None and client not in self.client_ids:
                    raise ClaimRejected(name, "not one of client_ids=")
        audience = claims.get("aud")
        if self.audiences is None or type(audience) is not str or audience not in self.audiences:
            self._check_other_audience(claims)
        if self.client_ids is not None and first is None:
            raise ClaimRejected("client_id", "missing: client_ids= asks for it")
        return first

    def _check_other_audience(self, claims: Mapping[str, Any]) -> None:
        """Several, none, or one that is not ours."""
        audience = read_strings(claims, "aud") or None  # an empty array names nobody, like none at all
        if self.audiences is not None and audience is not None:
            if self.audiences.isdisjoint(audience):
                raise ClaimRejected("aud", f"none of {list(audience)!r:.200} is audience=")
        elif self.audiences is not None and self.client_ids is None:
            raise ClaimRejected("aud", "missing: an issuer that sends none (Cognito) needs client_ids=")
        elif self.client_ids is not None and audience is not None:
            raise ClaimRejected("aud", "present: client_ids= alone is for tokens without one, set audience=")


def read_text(claims: Mapping[str, Any], path: ClaimPath) -> str | None:
    """A claim that identifies something: a non-empty string that any log or database can hold."""
    value = claims.get(path) if isinstance(path, str) else read_claim(claims, path)
    if value is None:
        return None
    if not isinstance(value, str) or not value or "\x00" in value:
        raise ClaimRejected(_name(path), "not a non-empty string without NUL")
    return value  # without lone surrogates: the parser lets none pass


def read_date(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519, section 2): a JSON number, compared exactly, fractions included."""
    if name not in claims:
        return None
    value = claims[name]
    if not _is_number(value) or not 0 <= value <= _LATEST:
        raise ClaimRejected(name, "not a date: a number of seconds since the epoch")
    date: float = value  # an int or a float; comparing the two is exact
    return date


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_strings(claims: Mapping[str, Any], path: ClaimPath) -> tuple[str, ...] | None:
    """A string or an array of strings, or None where there is none; a mixed array is refused whole."""
    value = claims.get(path) if isinstance(path, str) else read_claim(claims, path)
    if value is None:
        return None
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ClaimRejected(_name(path), "neither a string nor an array of strings")


def _scopes(claims: Mapping[str, Any], paths: tuple[ClaimPath, ...]) -> frozenset[str]:
    """Scope values, united. A string is a list by spaces (RFC 6749, section 3.3); an item never is."""
    found: frozenset[str] | None = None
    for path in paths:
        value = claims.get(path) if isinstance(path, str) else read_claim(claims, path)
        if value is None:
            continue
        scopes = _split_scope(value) if isinstance(value, str) else frozenset(read_strings(claims, path) or ()) - {""}
        found = scopes if found is None else found | scopes
    return frozenset() if found is None else found


@functools.lru_cache(maxsize=256)  # an issuer's tokens share a few scope strings, and only signed ones get here
def _split_scope(text: str) -> frozenset[str]:
    return frozenset(text.split(" ")) - {""}


def _name(path: ClaimPath) -> str:
    return path if isinstance(path, str) else ".".join(path)


def _check_path(path: ClaimPath) -> None:
    names = (path,) if isinstance(path, str) else path
    if not isinstance(names, tuple) or not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(f"a claim is named by a string or a tuple of strings, not {path!r}")
