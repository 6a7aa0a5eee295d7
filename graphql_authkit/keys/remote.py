"""An issuer's key set over HTTP: what is fetched, from where, and who is told. When is `renewal`'s to say."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Self, TypedDict

from typing_extensions import Unpack

from .._flow import arun, run
from .._http import Fetcher, StandardFetcher, check_headers, check_url, is_same_origin, shown_url
from ..errors import ConfigurationError
from ..events import KeysFetched, KeysFetchFailed, Listener, check_listener, emit, log_danger, log_event
from .discovery import discover, tenant_issuers
from .document import Document, fetch_keys
from .renewal import KeysHealth, Renewal, Times
from .source import KeySet, await_keys

__all__ = ["RemoteJWKS"]

LARGEST = 604_800  # a week, in seconds: keys that the issuer dropped are not believed for longer
LOCATED_FOR = 3600.0  # seconds for which metadata's `jwks_uri` is taken as said, unless a fetch fails there


class RemoteOptions(TypedDict, total=False):
    """RemoteJWKS's arguments, which document each."""

    timeout: float
    ttl: float
    cooldown: float
    stale_if_error: float
    max_bytes: int
    max_keys: int
    headers: Mapping[str, str] | None
    ssl_context: ssl.SSLContext | None
    trust_env: bool
    fetcher: Fetcher | None
    insecure_allow_http: bool
    clock: Callable[[], float]
    on_event: Listener


def _check_settings(**settings: float) -> None:
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LARGEST:
            raise ConfigurationError(f"{name} must be a positive number, at most {LARGEST}")


class RemoteJWKS:
    """A JWK Set at a URL (RFC 7517, section 5), for threads, event loops and forked workers alike.

    Nothing is fetched before the first use or `warm()`. From then on a lookup of a known key never waits:
    the set is renewed in the background before its time is over, and while it cannot be, the last good
    one is used for up to `stale_if_error` seconds more.

    Args:
        url: https, or http on loopback.
        timeout: Seconds for a whole fetch, and for whoever waits for one.
        ttl: Seconds for which a fetched set is taken as fresh, at most; a shorter `Cache-Control` is
            honoured down to `cooldown`.
        cooldown: Seconds between fetches that an unknown `kid` causes, in the long run; two may follow
            each other. Also the longest pause between failed fetches, but for chance: up to a quarter.
        stale_if_error: Seconds beyond that for which the last good set is used while it cannot be renewed
            (RFC 5861's term); 0 for none. Also what a key that the issuer dropped may outlive a quiet spell
            by, until the next token comes: its arrival starts a fetch, which ends it.
        max_bytes: The longest set that is read.
        max_keys: The most keys a set may have.
        headers: Sent along, for instance an API key.
        ssl_context: Instead of the system's defaults.
        trust_env: Go through the proxies that the environment names (HTTPS_PROXY, NO_PROXY).
        fetcher: Instead of the standard library's HTTP client.
        insecure_allow_http: Allow plain http beyond loopback.
        clock: Monotonic seconds.
        on_event: Told of each fetch; logs by default.

    Raises:
        ConfigurationError: A URL that may not be fetched, or numbers that contradict each other.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 5.0,
        ttl: float = 300.0,
        cooldown: float = 30.0,
        stale_if_error: float = 3600.0,
        max_bytes: int = 65_536,
        max_keys: int = 100,
        headers: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        trust_env: bool = False,
        fetcher: Fetcher | None = None,
        insecure_allow_http: bool = False,
        clock: Callable[[], float] = time.monotonic,
        on_event: Listener = log_event,
    ) -> None:
        if fetcher is not None and (ssl_context is not None or trust_env):
            raise ConfigurationError("ssl_context= and trust_env= are for the standard fetcher: give them to your own")
        _check_settings(timeout=timeout, ttl=ttl, cooldown=cooldown, max_bytes=max_bytes, max_keys=max_keys)
        if not isinstance(max_bytes, int) or not isinstance(max_keys, int):
            raise ConfigurationError("max_bytes and max_keys are whole numbers")
        if cooldown > ttl or timeout >= ttl:
            raise ConfigurationError("cooldown must be at most ttl, and timeout less: a set must outlive its fetch")
        if stale_if_error != 0:
            _check_settings(stale_if_error=stale_if_error)
        self.url = check_url(url, allow_http=insecure_allow_http)
        if insecure_allow_http:
            log_danger("insecure_allow_http", "whoever is on the way can give us keys of their own")
        self.timeout = timeout
        self._fetch_timeout = timeout
        self._locate: Callable[[], str] = lambda: self.url
        self._max_bytes = max_bytes
        self._max_keys = max_keys
        self._headers = check_headers(headers or {})
        self._fetch = StandardFetcher(ssl_context, trust_env=trust_env) if fetcher is None else fetcher
        self._on_event = check_listener(on_event)
        self._ttl = ttl
        times = Times(timeout, ttl, cooldown, stale_if_error)
        self._renewal = Renewal(self._fetch_document, self._tell, times, clock)

    @classmethod
    def from_issuer(cls, issuer: str, *, tenants: Sequence[str] = (), **options: Unpack[RemoteOptions]) -> RemoteJWKS:
        """The key set that an issuer's metadata points to, looked up again each hour and after a fetch in vain.

        Args:
            issuer: Exactly as the tokens' `iss` has it.
            tenants: Entra's tenant ids, where the issuer is a shared one.
            **options: See RemoteJWKS. `headers` go to the issuer's own origin alone. Each document has the
                `timeout`, and who waits for up to three of them three times as much.

        Raises:
            ConfigurationError: As RemoteJWKS, and where issuer and tenants do not go together.
        """
        tenant_issuers(issuer, tenants)
        source = cls(issuer, **options)

        def locate() -> str:
            return discover(
                issuer,
                tenants=tenants,
                timeout=source._fetch_timeout,
                headers=source._headers,
                fetcher=source._fetch,
                insecure_allow_http=options.get("insecure_allow_http", False),
            ).jwks_uri

        source._locate = locate
        source.timeout = 3 * source._fetch_timeout  # two places for the metadata, and the keys
        if source.timeout >= source._ttl:
            raise ConfigurationError("three times timeout must be less than ttl: a set must outlive its fetch")
        source._renewal.allow(source.timeout)
        return source

    # --------------------------------------------------------------------------------- for callers

    def key_set(self) -> KeySet | None:
        """The keys as last fetched, at once; None where there are none, or they are too old to use."""
        return self._renewal.lookup()

    def refresh(self, unknown_kid: str | None = None) -> Future[KeySet] | None:
        """Start a fetch, or join the one under way; see KeySource.

        Returns:
            A future, or None where the unknown `kid` is not worth a fetch now.

        Raises:
            KeysUnavailable: The last fetch failed and the pause after it is not over, or the source is closed.
        """
        return self._renewal.refresh(unknown_kid)

    def warm(self) -> None:
        """Have the keys, for instance at start-up, so that no request waits for them.

        Raises:
            KeysUnavailable: They cannot be had.
        """
        run(await_keys(self), "warm")

    async def awarm(self) -> None:
        """`warm` on asyncio."""
        await arun(await_keys(self))

    def health(self) -> KeysHealth:
        """How the source is doing, for a readiness probe or a dashboard. Nothing is fetched."""
        return self._renewal.health()

    def close(self) -> None:
        """Fetch nothing more, end the fetch under way, and give no keys. It returns when its thread is gone.

        A fetcher of your own is waited for, up to `timeout`.
        """
        self._renewal.close(self._fetch.close if isinstance(self._fetch, StandardFetcher) else lambda: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _fetch_document(self, previous: Document | None, now: float, relocate: bool) -> Document:
        if previous is None or relocate or now >= previous.located_until:
            url, located_until = self._locate(), now + LOCATED_FOR
        else:
            url, located_until = previous.url, previous.located_until
        return fetch_keys(
            self._fetch,
            url,
            # Metadata may name another host: what the configuration sends along is not for that one.
            headers=self._headers if is_same_origin(url, self.url) else {},
            timeout=self._fetch_timeout,
            max_bytes=self._max_bytes,
            max_keys=self._max_keys,
            previous=previous,
            located_until=located_until,
        )

    def _tell(self, document: Document | None, is_new: bool, failure: str, seconds: float) -> None:
        event: KeysFetched | KeysFetchFailed
        if document is None:
            event = KeysFetchFailed(shown_url(self.url), failure, seconds)
        else:
            event = KeysFetched(shown_url(document.url), len(document.keys), document.left_out, seconds, is_new)
        emit(self._on_event, event)

    def __repr__(self) -> str:
        return f"RemoteJWKS({shown_url(self.url)!r})"
