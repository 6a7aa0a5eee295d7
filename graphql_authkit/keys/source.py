"""The protocol of key sources and the immutable set they hold; no I/O, no parsing of keys."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Protocol, runtime_checkable

from .._algorithms import VerificationKey
from .._flow import wait
from .._jws import Header
from ..errors import AuthError, KeysUnavailable, UnknownKey

__all__ = ["KeySet", "KeySource", "StaticSource", "await_keys", "find_key", "present_keys", "unavailable"]


class KeySet:
    """Verification keys, unchangeable; a refresh makes a new set.

    Args:
        keys: Already parsed and measured.
    """

    __slots__ = ("_by_kid", "keys")

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self.keys = tuple(keys)
        by_kid: dict[str | None, tuple[VerificationKey, ...]] = {}
        for key in self.keys:
            by_kid[key.kid] = (*by_kid.get(key.kid, ()), key)
        self._by_kid = by_kid

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, header: Header, algorithms: frozenset[str] | None) -> VerificationKey | None:
        """The one key that the header means. Signatures are never tried to find it.

        Args:
            header: Its `kid` picks the key, its `alg` must be the key's own. A set of one key that has
                no `kid` serves every `kid`.
            algorithms: Those configured, to which a key without `alg` is held; None leaves only keys that
                state their own.

        Returns:
            The key, or None where the `kid` is not in the set: a refresh may bring it.

        Raises:
            UnknownKey: The key does not serve the algorithm, or more than one fits.
        """
        named = self._named(header.kid)
        if named is None:
            return None
        algorithm = header.algorithm
        fitting = [
            key
            for key in named
            if key.serves(algorithm) and (key.alg is not None or (algorithms and algorithm.name in algorithms))
        ]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise UnknownKey(f"{len(fitting)} keys fit kid {header.kid!r:.80} and alg {algorithm.name}")
        if algorithms is None and any(key.alg is None and key.serves(algorithm) for key in named):
            raise UnknownKey(f"the key states no alg of its own: set algorithms=[{algorithm.name!r}]")
        raise UnknownKey(f"no key with kid {header.kid!r:.80} serves {algorithm.name}")

    def _named(self, kid: str | None) -> tuple[VerificationKey, ...] | None:
        if kid is None or (len(self.keys) == 1 and self.keys[0].kid is None):
            return self.keys
        return self._by_kid.get(kid)


@runtime_checkable
class KeySource(Protocol):
    """Where a verifier's keys come from. Both methods answer at once; neither may wait."""

    @property
    def timeout(self) -> float:
        """How long a caller waits for a refresh, in seconds."""
        ...  # pragma: no cover

    def key_set(self) -> KeySet | None:
        """The keys as known now, or None where there are none, or they are too old to use."""
        ...  # pragma: no cover

    def refresh(self, unknown_kid: str | None = None) -> Future[KeySet] | None:
        """Start fetching, or join the fetch under way.

        Args:
            unknown_kid: The `kid` that the present set lacks; None where there is no present set.

        Returns:
            A future that is marked running and ends in a set or KeysUnavailable; None where nothing
            is to be gained, since the keys never change or were asked for too recently.

        Raises:
            KeysUnavailable: The last fetch failed and it is too early to try again.
        """
        ...  # pragma: no cover


class StaticSource:
    """A source whose keys never change."""

    timeout: float = 0.0

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._set = KeySet(keys)

    def key_set(self) -> KeySet:
        """The keys."""
        return self._set

    def refresh(self, unknown_kid: str | None = None) -> Future[KeySet] | None:
        """Nothing to fetch: None."""
        return None


# ------------------------------------------------------------------------- asking a source, for callers


def present_keys(source: KeySource) -> KeySet | None:
    """What `key_set()` answers; a source may raise what it likes, to a caller it is out of reach."""
    try:
        return source.key_set()
    except Exception as error:
        raise unavailable(error) from error


async def await_keys(source: KeySource) -> KeySet:
    """The present keys, or those of a fetch.

    Raises:
        KeysUnavailable: They cannot be had.
    """
    keys = present_keys(source)
    if keys is not None:
        return keys
    flight = _refresh(source, None)
    if flight is None:
        raise KeysUnavailable("the key source has no keys and fetches none")
    return await _arrival(source, flight)


async def find_key(
    source: KeySource, header: Header, algorithms: frozenset[str] | None
) -> tuple[KeySet, VerificationKey]:
    """The key that a header means, after a fetch if need be, and the set it is of.

    Raises:
        UnknownKey: There is none.
        KeysUnavailable: Nobody can say.
    """
    keys = await await_keys(source)
    key = keys.select(header, algorithms)
    for _ in range(2):  # a fetch that was joined may have begun before the key was published
        if key is not None:
            break
        flight = _refresh(source, header.kid)
        # None: another caller's search may have landed since the look above.
        keys = await _arrival(source, flight) if flight is not None else present_keys(source) or keys
        key = keys.select(header, algorithms)
        if flight is None:
            break
    if key is None:
        raise UnknownKey(f"no key with kid {header.kid!r:.80}")
    return keys, key


def _refresh(source: KeySource, unknown_kid: str | None) -> Future[KeySet] | None:
    try:
        return source.refresh(unknown_kid)
    except Exception as error:
        raise unavailable(error) from error


async def _arrival(source: KeySource, flight: Future[KeySet]) -> KeySet:
    try:
        return await wait(flight, source.timeout)
    except TimeoutError:
        raise KeysUnavailable(f"no keys within {source.timeout:g} s") from None
    except Exception as error:  # the flight's own error object is everyone's: raise one of our own
        raise unavailable(error) from None


def unavailable(error: Exception) -> KeysUnavailable:
    """What a source's failure is to a caller."""
    if isinstance(error, KeysUnavailable):
        return KeysUnavailable(error.detail, retry_after=error.retry_after)
    return KeysUnavailable(
        error.detail if isinstance(error, AuthError) else f"{type(error).__name__} in the key source"
    )
