"""Requests that go on while servers fail: by threads, or by tasks of an event loop, with all that came of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from graphql_authkit import Revocations, VerifiedToken
from graphql_authkit.errors import StoreUnavailable, TokenRevoked
from tests.stores.contract import like
from tests.stores.proxy import wait_until

THREADS = 3
PAUSE = 0.002


class Outcome(NamedTuple):
    """What came of one check."""

    token_key: str
    began: float  # monotonic
    took: float
    answer: str  # "active", "revoked", "unavailable", or the name of what should never have come out


class Load:
    """Checks by turns tokens that are revoked and tokens that are not.

    Args:
        revocations: What is asked.
        revoked: Tokens revoked before the load began.
        valid: Tokens that nobody revokes.
    """

    def __init__(
        self, revocations: Revocations, revoked: Sequence[VerifiedToken], valid: Sequence[VerifiedToken]
    ) -> None:
        self._revocations = revocations
        self.revoked_keys = {token.token_key for token in revoked}
        self.valid_keys = {token.token_key for token in valid}
        self._tokens = [token for pair in itertools.zip_longest(revoked, valid) for token in pair if token is not None]
        self.outcomes: list[Outcome] = []  # append is atomic
        self._stop = threading.Event()
        self._started = threading.Semaphore(0)

    # --------------------------------------------------------------------------- while it goes on

    def wait_for(self, answer: str, count: int = 1, seconds: float = 15.0) -> None:
        """Wait until so many checks, begun from now on, had this answer."""
        since = time.monotonic()
        seen = len(self.outcomes)

        def has_come() -> bool:
            new = self.outcomes[seen:]
            return sum(outcome.answer == answer and outcome.began >= since for outcome in new) >= count

        wait_until(has_come, f"{count} answers {answer!r}, of {self.answers()}", seconds)

    def answers(self) -> set[str]:
        return {outcome.answer for outcome in self.outcomes}

    # -------------------------------------------------------------------------------- afterwards

    def wrong(self) -> list[Outcome]:
        """Revoked tokens that were accepted, valid ones that were not, and errors that escaped."""
        right = {"unavailable"}
        return [
            outcome
            for outcome in self.outcomes
            if outcome.answer not in right | {"revoked" if outcome.token_key in self.revoked_keys else "active"}
            and outcome.token_key in self.revoked_keys | self.valid_keys
        ]

    def longest(self) -> float:
        return max(outcome.took for outcome in self.outcomes)

    # ----------------------------------------------------------------------------------- its work

    def _note(self, token: VerifiedToken, began: float, error: BaseException | None) -> None:
        answer = "active"
        if error is not None:
            known = {TokenRevoked: "revoked", StoreUnavailable: "unavailable"}
            answer = known.get(type(error), repr(error))
        self.outcomes.append(Outcome(token.token_key, began, time.monotonic() - began, answer))

    def work(self) -> None:
        for token in itertools.cycle(self._tokens):
            if self._stop.wait(PAUSE):
                return
            began = time.monotonic()
            try:
                self._revocations.check(token)
            except Exception as error:
                self._note(token, began, error)
            else:
                self._note(token, began, None)

    async def awork(self) -> None:
        for token in itertools.cycle(self._tokens):
            if self._stop.is_set():
                return
            await asyncio.sleep(PAUSE)
            began = time.monotonic()
            try:
                await self._revocations.acheck(token)
            except Exception as error:
                self._note(token, began, error)
            else:
                self._note(token, began, None)

    def loop(self, close: Callable[[], object] | None) -> None:
        async def whole() -> None:
            await asyncio.gather(*(self.awork() for _ in range(THREADS)))
            if close is not None:
                await close()  # type: ignore[misc]

        asyncio.run(whole())

    def end(self) -> None:
        self._stop.set()


@contextmanager
def under_load(
    revocations: Revocations,
    revoked: Sequence[VerifiedToken],
    valid: Sequence[VerifiedToken],
    *,
    drivers: Sequence[str] = ("sync", "asyncio"),
    close: Callable[[], object] | None = None,
) -> Iterator[Load]:
    """Requests by threads and by tasks, until closed; `close` is awaited in the loop at its end."""
    load = Load(revocations, revoked, valid)
    threads = []
    if "sync" in drivers:
        threads += [threading.Thread(target=load.work, name="test-load", daemon=True) for _ in range(THREADS)]
    if "asyncio" in drivers:
        threads.append(threading.Thread(target=load.loop, args=(close,), name="test-loop", daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.end()
        for thread in threads:
            thread.join(15)
        stuck = [thread.name for thread in threads if thread.is_alive()]
    assert stuck == []


def tokens(prefix: str, count: int = 5) -> list[VerifiedToken]:
    return [like(token_key=f"jti:{prefix}-{number}") for number in range(count)]


@contextmanager
def ending(*closes: Callable[[], object]) -> Iterator[None]:
    """Call these at the end, in turn, whatever happened."""
    with contextlib.ExitStack() as stack:
        for close in reversed(closes):
            stack.callback(close)
        yield


async def close_in_loop(store: Any) -> None:
    """What a Redis store opened for the running event loop has to be closed in it."""
    aclose = getattr(store, "aclose", None)
    if aclose is not None:
        await aclose()
        return
    client = store._loops.get(asyncio.get_running_loop())
    if client is not None:
        await client.connection_pool.disconnect()
