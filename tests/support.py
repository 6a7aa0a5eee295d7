"""What many tests need: a clock that is set by hand, both drivers, and keys that are made once."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
from collections.abc import Callable
from typing import Any

from graphql_authkit import JWTVerifier, PrivateKey
from graphql_authkit.errors import AuthError
from graphql_authkit.testing import LocalIssuer

NOW = 1_800_000_000.0
ISSUER = "https://issuer.test/"
AUDIENCE = "https://api.test/graphql"


class Clock:
    """Time that moves when told to."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Driver:
    """Calls a verb, or on asyncio its a-twin: every pipeline test runs through both."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, owner: object, verb: str, *args: Any, **kwargs: Any) -> Any:
        if self.name == "sync":
            return getattr(owner, verb)(*args, **kwargs)
        return asyncio.run(getattr(owner, "a" + verb)(*args, **kwargs))

    def error(self, owner: object, verb: str, *args: Any, **kwargs: Any) -> AuthError:
        """The AuthError that the verb raises."""
        return refused(self, owner, verb, *args, **kwargs)


def refused(call: Callable[..., object], *args: Any, **kwargs: Any) -> AuthError:
    """The AuthError that the call raises; anything else, or nothing, fails the test."""
    try:
        result = call(*args, **kwargs)
    except AuthError as error:
        return error
    raise AssertionError(f"not refused: {result!r}")


def key(algorithm: str = "RS256", number: int = 1) -> PrivateKey:
    """A key pair, the same for the whole run."""
    return _key(algorithm, number)


@functools.cache
def _key(algorithm: str, number: int) -> PrivateKey:
    return PrivateKey.generate(algorithm, key_id=f"{algorithm}-{number}")


def local_issuer(algorithm: str = "RS256", *, clock: Clock | None = None) -> LocalIssuer:
    """An issuer whose clock stands still."""
    return LocalIssuer(ISSUER, audience=AUDIENCE, key=key(algorithm), clock=clock or Clock())


def verifier(**options: Any) -> JWTVerifier:
    """A verifier for that issuer's RS256 tokens."""
    return local_issuer().verifier(**options)


def segment(data: bytes | str | dict[str, Any]) -> str:
    """base64url without padding."""
    if isinstance(data, dict):
        data = json.dumps(data)
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsegment(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
