"""The door round which both HTTP adapters are built: which requests it guards, and what a refusal looks like.

Pure. The law it keeps: what reaches a guarded handler was authenticated. So a path is public only if it
is plainly written and plainly listed; whatever a router might read differently is guarded.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable

from . import credentials
from ._cache import GenerationalCache
from .authenticator import Authenticator
from .errors import AuthError, ConfigurationError, Forbidden, InsufficientScope, MissingCredential, Unavailable
from .model import Response

__all__ = ["FIELDS", "Gate", "is_preflight"]

FIELDS = credentials.FIELDS | {
    *("origin", "access-control-request-method", "accept"),
    *("content-length", "transfer-encoding"),
}
"""The request header fields, in lower case, that the adapters hand on."""

_PREFLIGHT_FIELDS = frozenset(
    {
        *("host", "origin", "user-agent", "accept", "referer", "forwarded"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"),
    }
)

PATHS_REMEMBERED = 512
LONGEST_REMEMBERED = 256

GRAPHQL_RESPONSE = "application/graphql-response+json"

# What routers, proxies and file systems read in more than one way: empty, dot and encoded segments,
# path parameters, backslashes, control characters, and bytes that were no UTF-8.
_TRICK = re.compile(r"//|/\.{1,2}(?:/|$)|[%;\\?#\x00-\x1f\x7f\ufffd]")
_ENCODED = re.compile(rb"%(?:2[ef]|5c|25|3b|0|1|7f)", re.IGNORECASE)
_UNQUOTABLE = re.compile(r"[^\x20-\x7e]")


class Gate:
    """Decides which requests are guarded, and writes refusals.

    Args:
        auth: The pipeline.
        paths: Guard these, in any spelling, with all below them, and wherever they are mounted:
            `/graphql` guards `/api/graphql` too. () guards everything.
        public_paths: Never guard these: exact paths, or `/docs/*` for all below `/docs/`. Where both
            lists match, the longer pattern decides, and a tie guards.
        optional: Let requests without credentials through as ANONYMOUS.
        realm: Named in every challenge (RFC 9110, section 11.5).

    Raises:
        ConfigurationError: A path that could never match, or a realm that no header can hold.
    """

    def __init__(
        self,
        auth: Authenticator,
        *,
        paths: Iterable[str] = (),
        public_paths: Iterable[str] = (),
        optional: bool = False,
        realm: str = "GraphQL",
    ) -> None:
        if not isinstance(auth, Authenticator):
            raise ConfigurationError(f"auth= takes an Authenticator, not {type(auth).__name__}")
        if not isinstance(realm, str) or not realm or _UNQUOTABLE.search(realm):
            raise ConfigurationError("realm must be printable ASCII")
        self.auth = auth
        self.optional = optional
        self._guarded = tuple(_fold(path) for path in _checked("paths", paths))
        self._public = _checked("public_paths", public_paths)
        self.guards_everything = not self._guarded and not self._public
        self._realm = realm
        self._decided: GenerationalCache[tuple[str, str, bytes], tuple[bool]] = GenerationalCache(PATHS_REMEMBERED)

    def guards(self, path: str, root: str = "", raw: bytes = b"") -> bool:
        """Whether a request for this path must be authenticated.

        Args:
            path: As the server decoded it, within `root`.
            root: ASGI's `root_path` or WSGI's SCRIPT_NAME, where this app is mounted. What is public is
                written without it.
            raw: As it was on the wire, where the server tells.
        """
        if self.guards_everything:
            return True
        asked = path, root, raw
        known = self._decided.get(asked)
        if known is None:
            known = (self._decide(path, root, raw),)
            if len(path) + len(root) + len(raw) <= LONGEST_REMEMBERED:
                self._decided.put(asked, known)
        return known[0]

    def _decide(self, path: str, root: str, raw: bytes) -> bool:
        root = "" if root == "/" else root
        full = root + path
        # Routers read a mount that ends in a slash in more than one way too.
        if not path.startswith("/") or (root and not root.startswith("/")) or root.endswith("/") or _TRICK.search(full):
            return True
        if _ENCODED.search(raw):
            return True
        guarded = _guard_length(self._guarded, _fold(full))
        if _public_length(self._public, path) > guarded:
            return False
        return guarded >= 0 or not self._guarded

    def refusal(self, error: AuthError, accept: Iterable[str] = ()) -> Response:
        """The HTTP response that says why (RFC 6750, section 3; GraphQL over HTTP, section 6.4).

        Args:
            error: What the pipeline raised.
            accept: The request's Accept fields: who accepts GraphQL's own media type gets it, since
                Apollo Client reads the code of a refusal only then.
        """
        body = {"errors": [{"message": str(error), "extensions": error.extensions}]}
        data = json.dumps(body, separators=(",", ":")).encode()
        media_type = GRAPHQL_RESPONSE if _accepts(GRAPHQL_RESPONSE, accept) else "application/json"
        headers = [
            ("Content-Type", f"{media_type}; charset=utf-8"),
            ("Content-Length", str(len(data))),
            ("Cache-Control", "no-store"),
            ("Vary", "Authorization"),
        ]
        challenge = self._challenge(error)
        if challenge is not None:
            headers.append(("WWW-Authenticate", challenge))
        if isinstance(error, Unavailable):
            headers.append(("Retry-After", str(error.retry_after)))
        return Response(error.status, tuple(headers), data)

    def _challenge(self, error: AuthError) -> str | None:
        if isinstance(error, Unavailable) or (isinstance(error, Forbidden) and error.error is None):
            return None
        parameters = {"realm": self._realm}
        if error.error is not None and not isinstance(error, MissingCredential):
            parameters |= {"error": error.error, "error_description": str(error)}
        if isinstance(error, InsufficientScope):
            parameters["scope"] = " ".join(error.required)
        return "Bearer " + ", ".join(f'{name}="{_quoted(value)}"' for name, value in parameters.items())


def is_preflight(method: str, fields: Iterable[tuple[str, str]]) -> bool:
    """Whether this is a browser's CORS preflight, which carries no credentials and no body (Fetch, section 4.8).

    Args:
        method: As on the wire.
        fields: The request's header fields, all that `FIELDS` names.
    """
    if method != "OPTIONS":
        return False
    values = dict(fields)
    length = values.get("content-length") or "0"  # PEP 3333 lets a server write "" where there is none
    if "authorization" in values or "transfer-encoding" in values or length != "0":
        return False
    return bool(values.get("origin") and values.get("access-control-request-method"))


def is_preflight_field(name: str) -> bool:
    """Whether a preflight's header field is handed on. Nothing that could override its method is.

    Args:
        name: In lower case.
    """
    return name in _PREFLIGHT_FIELDS or name.startswith("access-control-request-")


def _checked(option: str, patterns: Iterable[str]) -> tuple[str, ...]:
    if isinstance(patterns, str):
        raise ConfigurationError(f"{option} is a list of paths, not one string")
    found = tuple(patterns)
    for pattern in found:
        plain = pattern.removesuffix("/*") if isinstance(pattern, str) and option == "public_paths" else pattern
        if not isinstance(plain, str) or not pattern.startswith("/") or "*" in plain or _TRICK.search(pattern):
            raise ConfigurationError(f"{option}: {pattern!r} is no plain path that starts with a slash")
    return found


def _fold(path: str) -> str:
    """One spelling for all that a case-insensitive router might take for the same path."""
    return unicodedata.normalize("NFKC", path).casefold()


def _guard_length(patterns: Iterable[str], path: str) -> int:
    """The length of the longest pattern that the path has in it, whole segments at a time."""
    within = path + "/"
    return max((len(p) for p in patterns if p.rstrip("/") + "/" in within), default=-1)


def _public_length(patterns: Iterable[str], path: str) -> int:
    matching = (p for p in patterns if path == p or (p.endswith("/*") and path.startswith(p[:-1])))
    return max((len(_fold(p.removesuffix("/*"))) for p in matching), default=-1)


def _accepts(media_type: str, accept: Iterable[str]) -> bool:
    """Whether the media type is named, and not at zero weight (RFC 9110, section 12.5.1)."""
    for entry in ",".join(accept).lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        if name == media_type:
            return not any(re.fullmatch(r"q=0(\.0{0,3})?", parameter) for parameter in parameters)
    return False


def _quoted(value: str) -> str:
    """Fit for a quoted-string (RFC 9110, section 5.6.4)."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return _UNQUOTABLE.sub("?", escaped)
