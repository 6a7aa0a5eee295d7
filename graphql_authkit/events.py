"""What happened, as frozen facts: logs, metrics and audit hang on these. No event holds a token.

A listener is any callable that takes an Event. Its failures are logged and never reach a request.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .errors import AuthError, ConfigurationError, Unavailable

__all__ = [
    "Event",
    "KeysFetchFailed",
    "KeysFetched",
    "Listener",
    "LogoutReceived",
    "LogoutRefused",
    "OperationRestricted",
    "RequestAdmitted",
    "RequestRefused",
    "RevocationRecorded",
    "check_listener",
    "emit",
    "log_danger",
    "log_event",
]

_log = logging.getLogger("graphql_authkit")
_log.addHandler(logging.NullHandler())
_dangers: set[str] = set()


@dataclass(frozen=True, slots=True)
class RequestAdmitted:
    """A token was accepted and its caller is known."""

    subject: str
    issuer: str
    client_id: str | None
    token_key: str


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A request was answered before GraphQL ran. `error.detail` says why, for the log."""

    error: AuthError


@dataclass(frozen=True, slots=True)
class KeysFetched:
    """An issuer's key set arrived: `usable` keys, why the rest were left out, and whether the keys are new."""

    url: str
    usable: int
    left_out: tuple[str, ...]
    seconds: float
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class KeysFetchFailed:
    """An issuer's key set could not be had."""

    url: str
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RevocationRecorded:
    """A revocation is in the store: what was taken back, by whom, and why.

    `scope` is token, session, subject, client, issuer or all; `value` the identifier, or a token's key.
    """

    scope: str
    issuer: str
    value: str
    not_before: float | None
    by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LogoutReceived:
    """A provider ended a session, or all of a subject's, by Back-Channel Logout."""

    issuer: str
    subject: str | None
    session_id: str | None


@dataclass(frozen=True, slots=True)
class LogoutRefused:
    """What was sent as a logout token is none. `error.detail` says why, for the log."""

    error: AuthError


@dataclass(frozen=True, slots=True)
class OperationRestricted:
    """Something of a GraphQL operation is kept from its caller, or would be if `mode` weren't dry_run.

    `coordinates` are at most a hundred: of fields as Type.field, and of types.
    """

    subject: str | None
    issuer: str | None
    coordinates: tuple[str, ...]
    mode: str


Event: TypeAlias = (
    RequestAdmitted
    | RequestRefused
    | KeysFetched
    | KeysFetchFailed
    | RevocationRecorded
    | LogoutReceived
    | LogoutRefused
    | OperationRestricted
)
Listener: TypeAlias = Callable[[Event], None]


def log_event(event: Event) -> None:
    """The default listener: the logger `graphql_authkit`, refusals at INFO, trouble at WARNING."""
    if type(event) is RequestAdmitted:  # by far the most frequent
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("admitted: %r", event)
        return
    match event:
        case RequestRefused(error):
            level = logging.WARNING if isinstance(error, Unavailable) else logging.INFO
            _log.log(level, "refused: %s (%s): %s", error.reason, type(error).__name__, error.detail)
        case LogoutReceived(issuer, subject, session_id):
            _log.info("logout by %s: subject %r, session %r", issuer, subject, session_id)
        case LogoutRefused(error):
            _log.warning("logout refused (%s): %s", type(error).__name__, error.detail)
        case OperationRestricted(subject, issuer, coordinates, mode):
            level = logging.WARNING if mode == "dry_run" else logging.DEBUG
            _log.log(level, "restricted (%s): %r of %r may not see %s", mode, subject, issuer, ", ".join(coordinates))
        case KeysFetchFailed(url, detail, seconds):
            _log.warning("keys of %s could not be fetched (%.2f s): %s", url, seconds, detail)
        case KeysFetched(url, usable, left_out, seconds, is_new):
            level = logging.INFO if is_new else logging.DEBUG
            _log.log(level, "keys of %s: %d usable, left out: %s (%.2f s)", url, usable, list(left_out), seconds)
        case RevocationRecorded(scope, issuer, value, not_before, by, reason):
            what = "revoked: %s %r of %r, issued at or before %s, by %r: %r"
            _log.info(what, scope, value, issuer, not_before, by, reason)


def check_listener(listener: Listener) -> Listener:
    """Return the listener if events can be told to it.

    Raises:
        ConfigurationError: It is not callable, or asynchronous: nobody would await it.
    """
    if not callable(listener) or inspect.iscoroutinefunction(listener):
        raise ConfigurationError("on_event takes a callable that is not asynchronous")
    return listener


def emit(listener: Listener, event: Event) -> None:
    """Tell the listener; what it raises is logged and goes no further."""
    try:
        listener(event)
    except Exception:
        _log.exception("the event listener failed on %s", type(event).__name__)


def log_danger(option: str, consequence: str) -> None:
    """Say once, as a warning, that somebody chose an `insecure_…` option."""
    if option not in _dangers:
        _dangers.add(option)
        _log.warning("%s=True: %s", option, consequence)
