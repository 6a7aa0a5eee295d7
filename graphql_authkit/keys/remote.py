"""An issuer's key set over HTTP: fetched in a thread of its own, read by everyone without waiting.

Rules:
- A flight belongs to a short-lived daemon thread, never to a caller's task, thread or loop. It is marked
  running before it is published, so that no waiter can cancel it.
- The lock guards reading and setting the flight and the times beside it; nothing waits while holding it.
- A failed fetch never replaces good keys; a set without a usable key is a failed fetch.
- One fetch for an unknown `kid` each `cooldown`; after a failure, a pause that doubles up to `cooldown`.
"""

from __future__ import annotations

import math
import os
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from .._http import Fetcher, StandardFetcher, check_url
from ..errors import AuthError, ConfigurationError, KeysUnavailable
from ..events import KeysFetched, KeysFetchFailed, Listener, emit, log_event
from .discovery import discover, tenant_issuers
from .jwk import read_set
from .source import KeySet

__all__ = ["RemoteJWKS"]

FIRST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class _Snapshot:
    keys: KeySet
    expires: float  # on the source's own clock


@dataclass(slots=True)
class _State:
    """What the lock guards. A forked child gets a new one: its parent's threads stayed behind."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    flight: Future[KeySet] | None = None
    searched_at: float = -math.inf
    retry_at: float = -math.inf
    pause: float = 0.0
    last_failure: str = ""


class RemoteJWKS:
    """A JWK Set at a URL (RFC 7517, section 5), for threads and event loops alike.

    Nothing is fetched before the first use.

    Args:
        url: https, or http on loopback.
        timeout: Seconds for a whole fetch, and for whoever waits for one.
        ttl: Seconds for which a fetched set is used.
        cooldown: Seconds between fetches that an unknown `kid` causes.
        max_bytes: The longest set that is read.
        max_keys: The most keys a set may have.
        headers: Sent along, for instance an API key.
        ssl_context: Instead of the system's defaults.
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
        max_bytes: int = 65_536,
        max_keys: int = 100,
        headers: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        fetcher: Fetcher | None = None,
        insecure_allow_http: bool = False,
        clock: Callable[[], float] = time.monotonic,
        on_event: Listener = log_event,
    ) -> None:
        if fetcher is not None and ssl_context is not None:
            raise ConfigurationError("ssl_context= is for the standard fetcher: give it to your own")
        for name, value in {"timeout": timeout, "ttl": ttl, "max_bytes": max_bytes, "max_keys": max_keys}.items():
            if not value > 0:
                raise ConfigurationError(f"{name} must be positive")
        if not 0 < cooldown <= ttl:
            raise ConfigurationError("cooldown must be positive and at most ttl")
        self.url = check_url(url, allow_http=insecure_allow_http)
        self.timeout = timeout
        self._locate: Callable[[], str] = lambda: self.url
        self._ttl = ttl
        self._cooldown = cooldown
        self._max_bytes = max_bytes
        self._max_keys = max_keys
        self._headers = dict(headers or {})
        self._fetch = StandardFetcher(ssl_context) if fetcher is None else fetcher
        self._clock = clock
        self._on_event = on_event
        self._snapshot: _Snapshot | None = None
        self._state = _State()
        _instances.add(self)

    @classmethod
    def from_issuer(
        cls,
        issuer: str,
        *,
        tenants: Sequence[str] = (),
        timeout: float = 5.0,
        ttl: float = 300.0,
        cooldown: float = 30.0,
        headers: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        fetcher: Fetcher | None = None,
        insecure_allow_http: bool = False,
        on_event: Listener = log_event,
    ) -> RemoteJWKS:
        """The key set that an issuer's metadata points to, looked up with the first fetch.

        Args:
            issuer: Exactly as the tokens' `iss` has it.
            tenants: Entra's tenant ids, where the issuer is a shared one.
            timeout: See RemoteJWKS; each document has it, a waiter has it twice.

        Raises:
            ConfigurationError: As RemoteJWKS, and where issuer and tenants do not go together.
        """
        tenant_issuers(issuer, tenants)
        source = cls(
            issuer,
            timeout=timeout,
            ttl=ttl,
            cooldown=cooldown,
            headers=headers,
            ssl_context=ssl_context,
            fetcher=fetcher,
            insecure_allow_http=insecure_allow_http,
            on_event=on_event,
        )

        def locate() -> str:
            return discover(
                issuer,
                tenants=tenants,
                timeout=timeout,
                headers=source._headers,
                fetcher=source._fetch,
                insecure_allow_http=insecure_allow_http,
            ).jwks_uri

        source._locate = locate
        source.timeout = 2 * timeout
        return source

    def key_set(self) -> KeySet | None:
        """The keys last fetched, or None where there are none or they are older than `ttl`."""
        snapshot = self._snapshot
        if snapshot is None or self._clock() >= snapshot.expires:
            return None
        return snapshot.keys

    def refresh(self, unknown_kid: str | None = None) -> Future[KeySet] | None:
        """Start a fetch, or join the one under way; see KeySource.

        Returns:
            A future, or None where an unknown `kid` was looked for less than `cooldown` ago.

        Raises:
            KeysUnavailable: The last fetch failed and the pause after it is not over.
        """
        state = self._state
        with state.lock:
            if state.flight is not None:
                return state.flight
            now = self._clock()
            if now < state.retry_at:
                raise KeysUnavailable(f"{self.url}: {state.last_failure} (next try in {state.retry_at - now:.1f} s)")
            if unknown_kid is not None:
                if now < state.searched_at + self._cooldown:
                    return None
                state.searched_at = now
            flight: Future[KeySet] = Future()
            flight.set_running_or_notify_cancel()
            state.flight = flight
        try:
            threading.Thread(target=self._fly, args=(flight,), name="graphql-authkit-keys", daemon=True).start()
        except RuntimeError as error:  # the interpreter is shutting down, or there are no threads left
            self._land(flight, None, f"no thread: {error}", 0.0)
        return flight

    def _fly(self, flight: Future[KeySet]) -> None:
        started = time.monotonic()
        keys: KeySet | None = None
        failure = ""
        try:
            keys = self._fetch_set(started)
        except AuthError as error:
            failure = error.detail
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        self._land(flight, keys, failure, time.monotonic() - started)

    def _fetch_set(self, started: float) -> KeySet:
        url = self._locate()
        answer = self._fetch(url, headers=self._headers, timeout=self.timeout, max_bytes=self._max_bytes)
        if answer.status != 200:
            raise KeysUnavailable(f"{url}: HTTP {answer.status}")
        if len(answer.body) > self._max_bytes:
            raise KeysUnavailable(f"{url}: longer than {self._max_bytes} bytes")
        keys, left_out = read_set(answer.body, symmetric=False)
        if len(keys) + len(left_out) > self._max_keys:
            raise KeysUnavailable(f"{url}: more than {self._max_keys} keys")
        if not keys:
            raise KeysUnavailable(f"{url}: no usable key: {left_out}")
        emit(self._on_event, KeysFetched(url, len(keys), tuple(left_out), time.monotonic() - started))
        return KeySet(keys)

    def _land(self, flight: Future[KeySet], keys: KeySet | None, failure: str, seconds: float) -> None:
        state = self._state
        with state.lock:
            now = self._clock()
            if keys is not None:
                self._snapshot = _Snapshot(keys, now + self._ttl)
                state.pause, state.retry_at = 0.0, -math.inf
            else:
                state.pause = min(max(FIRST_PAUSE, state.pause * 2), self._cooldown)
                state.retry_at = now + state.pause
                state.last_failure = failure
            state.flight = None
        if keys is not None:
            flight.set_result(keys)
        else:
            emit(self._on_event, KeysFetchFailed(self.url, failure, seconds))
            flight.set_exception(KeysUnavailable(f"{self.url}: {failure}"))

    def __repr__(self) -> str:
        return f"RemoteJWKS({self.url!r})"


_instances: weakref.WeakSet[RemoteJWKS] = weakref.WeakSet()


def _after_fork() -> None:
    for source in tuple(_instances):
        source._state = _State()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
