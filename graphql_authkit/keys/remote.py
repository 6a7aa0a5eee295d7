"""An issuer's key set over HTTP: fetched in a thread of its own; whoever needs none of it waits for nothing.

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
from typing import TypedDict

from typing_extensions import Unpack

from .._http import (
    Fetcher,
    FetchError,
    StandardFetcher,
    check_headers,
    check_url,
    fetch_document,
    is_same_origin,
    shown_url,
)
from ..errors import AuthError, ConfigurationError, KeysUnavailable
from ..events import KeysFetched, KeysFetchFailed, Listener, check_listener, emit, log_danger, log_event
from .discovery import discover, tenant_issuers
from .jwk import read_set
from .source import KeySet

__all__ = ["RemoteJWKS"]

FIRST_PAUSE = 1.0
OVERDUE = 3  # timeouts, after which a flight that does not end (a fetcher that hangs) is given up
MOST_HANGING = 3
LARGEST = 604_800  # a week, in seconds: keys that the issuer dropped are not believed for longer


class RemoteOptions(TypedDict, total=False):
    """RemoteJWKS's arguments, which document each."""

    timeout: float
    ttl: float
    cooldown: float
    max_bytes: int
    max_keys: int
    headers: Mapping[str, str] | None
    ssl_context: ssl.SSLContext | None
    fetcher: Fetcher | None
    insecure_allow_http: bool
    clock: Callable[[], float]
    on_event: Listener


@dataclass(frozen=True, slots=True)
class _Snapshot:
    keys: KeySet
    expires: float  # on the source's own clock


@dataclass(slots=True)
class _State:
    """What the lock guards. A forked child gets a new one: its parent's threads stayed behind."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    flight: Future[KeySet] | None = None
    overdue_at: float = math.inf
    hanging: int = 0
    searched_at: float = -math.inf
    retry_at: float = -math.inf
    pause: float = 0.0
    last_failure: str = ""


def _check_settings(**settings: float) -> None:
    for name, value in settings.items():
        if not isinstance(value, int | float) or not 0 < value <= LARGEST:
            raise ConfigurationError(f"{name} must be a positive number, at most {LARGEST}")


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
        _check_settings(timeout=timeout, ttl=ttl, max_bytes=max_bytes, max_keys=max_keys)
        if not 0 < cooldown <= ttl:
            raise ConfigurationError("cooldown must be positive and at most ttl")
        self.url = check_url(url, allow_http=insecure_allow_http)
        if insecure_allow_http:
            log_danger("insecure_allow_http", "whoever is on the way can give us keys of their own")
        self.timeout = timeout
        self._fetch_timeout = timeout
        self._locate: Callable[[], str] = lambda: self.url
        self._ttl = ttl
        self._cooldown = cooldown
        self._max_bytes = max_bytes
        self._max_keys = max_keys
        self._headers = check_headers(headers or {})
        self._fetch = StandardFetcher(ssl_context) if fetcher is None else fetcher
        self._clock = clock
        self._on_event = check_listener(on_event)
        self._snapshot: _Snapshot | None = None
        self._state = _State()
        _instances.add(self)

    @classmethod
    def from_issuer(cls, issuer: str, *, tenants: Sequence[str] = (), **options: Unpack[RemoteOptions]) -> RemoteJWKS:
        """The key set that an issuer's metadata points to, looked up with each fetch.

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
            now = self._clock()
            if state.flight is not None and now < state.overdue_at:
                return state.flight
            if state.flight is not None:  # a fetcher that hangs
                state.flight = None
                state.hanging += 1
                self._pause(state, now, "a fetch did not end and was given up")
            if now < state.retry_at:
                raise KeysUnavailable(f"{state.last_failure} (next try in {state.retry_at - now:.1f} s)")
            if state.hanging >= MOST_HANGING:
                raise KeysUnavailable(f"{state.hanging} fetches do not end")
            if unknown_kid is not None:
                if now < state.searched_at + self._cooldown:
                    return None
                state.searched_at = now
            flight: Future[KeySet] = Future()
            flight.set_running_or_notify_cancel()
            state.flight = flight
            state.overdue_at = now + OVERDUE * self.timeout
        try:
            threading.Thread(target=self._fly, args=(flight,), name="graphql-authkit-keys", daemon=True).start()
        except (RuntimeError, MemoryError) as error:  # shutting down, or there are no threads left
            self._land(flight, None, f"no thread: {error}")
        return flight

    def _fly(self, flight: Future[KeySet]) -> None:
        started = time.monotonic()
        fetched: tuple[KeySet, KeysFetched] | None = None
        failure = "the fetch failed"
        try:
            fetched = self._fetch_set(started)
        except (AuthError, FetchError, ValueError) as error:  # the last from what was read, and ours
            failure = error.detail if isinstance(error, AuthError) else str(error)
        except BaseException as error:  # SystemExit too: a flight that never ends would hold everyone
            failure = type(error).__name__
        finally:
            self._land(flight, None if fetched is None else fetched[0], failure)
        seconds = time.monotonic() - started
        event = KeysFetchFailed(shown_url(self.url), failure, seconds) if fetched is None else fetched[1]
        emit(self._on_event, event)

    def _fetch_set(self, started: float) -> tuple[KeySet, KeysFetched]:
        url = self._locate()
        # Metadata may name another host: what the configuration sends along is not for that one.
        headers = self._headers if is_same_origin(url, self.url) else {}
        answer = fetch_document(
            self._fetch, url, headers=headers, timeout=self._fetch_timeout, max_bytes=self._max_bytes
        )
        if answer.status != 200:
            raise FetchError(f"{shown_url(url)}: HTTP {answer.status}")
        keys, left_out = read_set(answer.body, symmetric=False)
        if len(keys) + len(left_out) > self._max_keys:
            raise FetchError(f"{shown_url(url)}: more than {self._max_keys} keys")
        if not keys:
            raise FetchError(f"{shown_url(url)}: no usable key: {left_out}")
        event = KeysFetched(shown_url(url), len(keys), tuple(left_out), time.monotonic() - started)
        return KeySet(keys), event

    def _land(self, flight: Future[KeySet], keys: KeySet | None, failure: str) -> None:
        state = self._state
        with state.lock:
            if state.flight is flight:
                state.flight = None
                now = self._clock()
                if keys is not None:
                    self._snapshot = _Snapshot(keys, now + self._ttl)
                    state.pause, state.retry_at = 0.0, -math.inf
                elif self.key_set() is None:  # a search that fails beside good keys has its cooldown
                    self._pause(state, now, failure)
            else:  # it was given up, and must not overwrite a newer one
                state.hanging -= 1
        if keys is not None:
            flight.set_result(keys)
        else:
            flight.set_exception(KeysUnavailable(failure))

    def _pause(self, state: _State, now: float, failure: str) -> None:
        state.pause = min(max(FIRST_PAUSE, state.pause * 2), self._cooldown)
        state.retry_at = now + state.pause
        state.last_failure = failure

    def __repr__(self) -> str:
        return f"RemoteJWKS({shown_url(self.url)!r})"


_instances: weakref.WeakSet[RemoteJWKS] = weakref.WeakSet()


def _after_fork() -> None:
    for source in tuple(_instances):
        source._state = _State()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
