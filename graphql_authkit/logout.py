"""OpenID Connect Back-Channel Logout 1.0: the provider says who logged out, and their tokens are taken back.

Framework-free; `asgi.logout_app` and `wsgi.logout_app` mount it. A logout token is no access token, and the
other way round: each is refused as the other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from ._algorithms import check_signature, make_check
from ._cache import GenerationalCache
from ._flow import arun, run
from ._jws import parse, parse_object
from .claims import MAX_LEEWAY, read_date, read_strings, read_text
from .errors import AuthError, ClaimRejected, ConfigurationError, InvalidRequest, TokenExpired, UnknownKey
from .events import Listener, LogoutReceived, LogoutRefused, check_listener, emit, log_event
from .keys import KeySource
from .keys.source import find_key
from .model import Response
from .revocation import Audit, Revocations
from .verifier.jwt import check_algorithms

__all__ = ["MAX_BODY_BYTES", "BackChannelLogout"]

EVENT = "http://schemas.openid.net/event/backchannel-logout"
MAX_BODY_BYTES = 32_768
MAX_TOKEN_BYTES = 16_384
TOKENS_REMEMBERED = 4096
LONGEST_LIFE = 600.0  # seconds from `iat` for which a logout token may be delivered; section 2.4 advises two minutes
_TYPES = frozenset({None, "jwt", "logout+jwt"})


class _Logout(NamedTuple):
    issuer: str
    subject: str | None
    session_id: str | None
    issued_at: float
    token_id: str


class BackChannelLogout:
    """Receives logout tokens and takes back the session that each names, or else all of the subject's tokens.

    Only tokens issued until the logout are taken back, so that a token delivered twice, or late, ends no
    session that began since.

    Args:
        keys: The provider's, as for JWTVerifier.
        issuer: What `iss` must be.
        client_ids: What `aud` must name one of: the client ids that the provider knows you by.
        revocations: The list that your servers check.
        algorithms: Those accepted; optional where every key states its own.
        leeway: Seconds that clocks may differ, at most 60.
        clock: Seconds since the epoch.
        on_event: Told of each logout and each refusal; logs by default.

    Raises:
        ConfigurationError: Something missing, or not what it must be.
    """

    def __init__(
        self,
        *,
        keys: KeySource,
        issuer: str,
        client_ids: Iterable[str],
        revocations: Revocations,
        algorithms: Iterable[str] | None = None,
        leeway: float = 5.0,
        clock: Callable[[], float] = time.time,
        on_event: Listener = log_event,
    ) -> None:
        clients = frozenset() if isinstance(client_ids, str) else frozenset(client_ids)
        if not isinstance(issuer, str) or not issuer:
            raise ConfigurationError("issuer must be a non-empty string")
        if not clients or not all(isinstance(client, str) and client for client in clients):
            raise ConfigurationError("client_ids must be a list of one or more client ids")
        if not isinstance(revocations, Revocations):
            raise ConfigurationError("revocations= takes Revocations(store), not the store itself")
        if not 0 <= leeway <= MAX_LEEWAY:
            raise ConfigurationError(f"leeway must lie between 0 and {MAX_LEEWAY:.0f} seconds")
        self._keys = keys
        self._algorithms = check_algorithms(algorithms, keys)
        self._issuer = issuer
        self._clients = clients
        self._revocations = revocations
        self._leeway = leeway
        self._clock = clock
        self._on_event = check_listener(on_event)
        self._used: GenerationalCache[str, bool] = GenerationalCache(TOKENS_REMEMBERED)

    @property
    def is_async_only(self) -> bool:
        """Whether the revocation store is known to be asynchronous: then WSGI cannot use it."""
        return self._revocations.is_async_only

    def handle(self, content_type: str, body: bytes) -> Response:
        """Answer a POST of the provider's (section 2.5).

        Args:
            content_type: Of the request; a form.
            body: At most MAX_BODY_BYTES of it are looked at.

        Returns:
            200 once the tokens are taken back; 400 for what is no logout token; 503 where keys or store
            cannot be reached, so that the provider may try again.
        """
        return run(self._handle(content_type, body), "handle")

    async def ahandle(self, content_type: str, body: bytes) -> Response:
        """`handle` on asyncio."""
        return await arun(self._handle(content_type, body))

    async def _handle(self, content_type: str, body: bytes) -> Response:
        try:
            logout = await self._verify(_token_in(content_type, body))
            await self._revoke(logout)
        except AuthError as error:
            emit(self._on_event, LogoutRefused(error))
            status = 503 if error.status == 503 else 400
            return _response(status, {"error": "temporarily_unavailable" if status == 503 else "invalid_request"})
        self._used.put(logout.token_id, True)
        emit(self._on_event, LogoutReceived(logout.issuer, logout.subject, logout.session_id))
        return _response(200, None)

    async def _verify(self, token: str) -> _Logout:
        parsed = parse(token, max_bytes=MAX_TOKEN_BYTES)
        algorithm = parsed.header.algorithm
        if self._algorithms is not None and algorithm.name not in self._algorithms:
            raise UnknownKey(f"alg {algorithm.name} is not in algorithms=")
        _, key = await find_key(self._keys, parsed.header, self._algorithms)
        check_signature(make_check(algorithm, key), parsed.signature, parsed.signing_input, key)
        claims = parse_object(parsed.payload, "payload")
        logout = self._read(claims, parsed.header.typ)
        if not key.speaks_for(logout.issuer):
            raise ClaimRejected("iss", f"the key signs for {key.issuer!r:.200} only")
        if self._used.get(logout.token_id):
            raise ClaimRejected("jti", "used before")
        return logout

    def _read(self, claims: Mapping[str, Any], typ: str | None) -> _Logout:
        """Section 2.6, step by step."""
        if typ is not None and typ.lower().removeprefix("application/") not in _TYPES:
            raise ClaimRejected("typ", f"header typ {typ!r:.40} is no logout token's")
        if claims.get("iss") != self._issuer:
            raise ClaimRejected("iss", f"{claims.get('iss')!r:.200} is not issuer=")
        if self._clients.isdisjoint(read_strings(claims, "aud") or ()):
            raise ClaimRejected("aud", "names none of client_ids=")
        issued_at = self._check_dates(read_date(claims, "iat"), read_date(claims, "exp"))
        events = claims.get("events")
        if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
            raise ClaimRejected("events", "no back-channel logout event")
        if "nonce" in claims:
            raise ClaimRejected("nonce", "a logout token has none: this may be an ID token")
        subject, session_id, token_id = (read_text(claims, name) for name in ("sub", "sid", "jti"))
        if token_id is None:
            raise ClaimRejected("jti", "missing")
        if subject is None and session_id is None:
            raise ClaimRejected("sub", "neither sub nor sid")
        return _Logout(self._issuer, subject, session_id, issued_at, token_id)

    def _check_dates(self, issued_at: float | None, expires_at: float | None) -> float:
        now = self._clock()
        if issued_at is None or issued_at > now + self._leeway:
            raise ClaimRejected("iat", "missing, or in the future")
        if now >= issued_at + LONGEST_LIFE + self._leeway:
            raise TokenExpired("issued too long ago for a logout")
        if expires_at is not None and now >= expires_at + self._leeway:
            raise TokenExpired("exp has passed")
        return issued_at

    async def _revoke(self, logout: _Logout) -> None:
        # Clocks differ: `iat` may lie a little ahead, and a rule may not lie far ahead.
        before = min(logout.issued_at, self._clock())
        audit = Audit(by=logout.issuer, reason="back-channel logout")
        if logout.session_id is not None:
            await self._revocations._take_back("session", logout.issuer, logout.session_id, before, audit)
        else:
            await self._revocations._take_back("subject", logout.issuer, logout.subject, before, audit)


def _token_in(content_type: str, body: bytes) -> str:
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise InvalidRequest("the body is no form")
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequest("the body is too long")
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise InvalidRequest("the body is no form") from None
    tokens = [value for name, value in fields if name == "logout_token"]
    if len(tokens) != 1:
        raise InvalidRequest(f"{len(tokens)} fields logout_token")
    return tokens[0]


def _response(status: int, document: dict[str, str] | None) -> Response:
    body = b"" if document is None else json.dumps(document).encode()
    headers = [("Cache-Control", "no-store"), ("Content-Length", str(len(body)))]
    if document is not None:
        headers.append(("Content-Type", "application/json"))
    if status == 503:
        headers.append(("Retry-After", "5"))
    return Response(status, tuple(headers), body)
