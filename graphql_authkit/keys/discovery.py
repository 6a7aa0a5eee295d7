"""Finding an issuer's endpoints: OpenID Connect Discovery 1.0 and RFC 8414. The issuer must be the one asked for.

The one exception is Entra's multi-tenant document, whose issuer is a template, and only with a list of
tenants that may sign in.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from .._http import Fetched, Fetcher, FetchError, StandardFetcher, check_headers, check_url, fetch_document
from .._jws import parse_object
from ..errors import ConfigurationError, KeysUnavailable, MalformedToken
from ..events import log_danger

__all__ = ["ServerMetadata", "discover", "tenant_issuers"]

MAX_DOCUMENT_BYTES = 65_536
_TEMPLATE = "{tenantid}"
_TENANT = re.compile(r"(?!(?:common|organizations|consumers)$)[A-Za-z0-9][A-Za-z0-9.-]*", re.ASCII)
_SHARED_TENANTS = ("common", "organizations", "consumers")


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """What an authorization server says about itself (RFC 8414, section 2).

    Args:
        issuer: Equal to the one asked for; of Entra's shared tenants, the template.
        jwks_uri: Where its keys are.
        document: All of it, read-only.
    """

    issuer: str
    jwks_uri: str
    document: Mapping[str, Any]


def discover(
    issuer: str,
    *,
    tenants: Sequence[str] = (),
    timeout: float = 5.0,
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    fetcher: Fetcher | None = None,
    insecure_allow_http: bool = False,
) -> ServerMetadata:
    """Fetch an issuer's metadata. It blocks; `JWTVerifier.from_issuer` does it lazily in a thread.

    Args:
        issuer: Exactly as the tokens' `iss` has it, trailing slash included.
        tenants: Entra's tenant ids, where the issuer is its `common` or `organizations`.
        timeout: Seconds for each document.
        headers: Sent along.
        ssl_context: Instead of the system's defaults.
        fetcher: Instead of the standard library's HTTP client.
        insecure_allow_http: Let an issuer that is not loopback be plain http.

    Raises:
        ConfigurationError: The issuer is no https URL, or its document names another issuer.
        KeysUnavailable: No document could be had, or it is not one.
    """
    check_url(issuer, allow_http=insecure_allow_http)
    if insecure_allow_http:
        log_danger("insecure_allow_http", "whoever is on the way can give us keys of their own")
    tenant_issuers(issuer, tenants)  # raises where the two do not go together
    expected = _with_tenant(issuer, _TEMPLATE) if tenants else issuer
    fetch = StandardFetcher(ssl_context) if fetcher is None else fetcher
    failure = ""
    for url in _well_known(issuer):
        try:
            answer = fetch_document(
                fetch, url, headers=check_headers(headers or {}), timeout=timeout, max_bytes=MAX_DOCUMENT_BYTES
            )
        except FetchError as error:
            raise KeysUnavailable(str(error)) from error
        if answer.status == 200:
            return _read(answer, url, expected, allow_http=insecure_allow_http or issuer.startswith("http:"))
        failure = f"{url}: HTTP {answer.status}"
        if answer.status >= 500:
            break  # the server is ill, and no other place would say otherwise
    raise KeysUnavailable(failure)


def tenant_issuers(issuer: str, tenants: Sequence[str]) -> frozenset[str]:
    """The issuers that tokens may name: the one given, or of Entra's shared one, one for each tenant.

    Raises:
        ConfigurationError: Tenants for an issuer that is not shared, or that are not tenant ids.
    """
    if isinstance(tenants, str) or not all(isinstance(name, str) and _TENANT.fullmatch(name) for name in tenants):
        raise ConfigurationError("tenants must be a list of tenant ids")
    if not tenants:
        return frozenset({issuer})
    return frozenset(_with_tenant(issuer, tenant) for tenant in tenants)


def _with_tenant(issuer: str, tenant: str) -> str:
    parts = urlsplit(issuer)
    first, *rest = parts.path.removeprefix("/").split("/")
    if first not in _SHARED_TENANTS:
        raise ConfigurationError("tenants= goes with Entra's common, organizations or consumers issuer only")
    return urlunsplit(parts._replace(path="/".join(("", tenant, *rest))))


def _well_known(issuer: str) -> tuple[str, ...]:
    """OpenID Connect appends to the issuer's path (section 4); RFC 8414 inserts before it (section 3.1)."""
    parts = urlsplit(issuer)
    base = f"{parts.scheme}://{parts.netloc}"
    path = parts.path.rstrip("/")
    return (
        f"{base}{path}/.well-known/openid-configuration",
        f"{base}/.well-known/oauth-authorization-server{path}",
    )


def _read(answer: Fetched, url: str, expected: str, *, allow_http: bool) -> ServerMetadata:
    try:
        document = parse_object(answer.body, "metadata document")
    except MalformedToken as error:
        raise KeysUnavailable(f"{url}: {error.detail}") from None
    stated, jwks_uri = document.get("issuer"), document.get("jwks_uri")
    if stated != expected:
        hint = "; its tenants need tenants=[…]" if _TEMPLATE in str(stated) else ""
        raise ConfigurationError(f"{url} is the document of issuer {stated!r:.200}, not of {expected!r}{hint}")
    if not isinstance(jwks_uri, str):
        raise KeysUnavailable(f"{url}: no jwks_uri")
    try:
        check_url(jwks_uri, allow_http=True)
    except ConfigurationError as error:
        raise KeysUnavailable(f"{url}: jwks_uri: {error}") from None
    scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
    allowed = allow_http and (scheme, host) == (urlsplit(jwks_uri).scheme, urlsplit(jwks_uri).hostname)
    if not jwks_uri.startswith("https:") and not allowed:
        raise KeysUnavailable(f"{url}: its jwks_uri is not https")  # nor loopback: that is this machine's
    return ServerMetadata(expected, jwks_uri, MappingProxyType(document))
