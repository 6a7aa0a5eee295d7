"""Keys that are fetched: how often, and who waits for it: `python -m benchmarks.keys`

An issuer on loopback, a process of its own, publishes two RSA keys. It counts the fetches, and answers late or with
errors when told to. PyJWKClient has its defaults, but for a TLS context made beforehand where that changes no count.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jwt

from benchmarks.harness import check
from benchmarks.material import AUDIENCE, ISSUER, KEY_ID, forged, token, verifier
from benchmarks.results import Bar, Row, Table, arguments, report
from benchmarks.servers import Issuer, issuer
from graphql_authkit import JWTVerifier, PrivateKey, RemoteJWKS
from graphql_authkit._jws import read_header

REQUESTS = 1_000
THREADS = 64
HANG_SECONDS = 10.0
SLOW_SECONDS = 0.5
LOOKUP_BAR = 50.0  # microseconds

Verify = Callable[[str], object]


@dataclass
class World:
    """What every measurement needs.

    Args:
        issuer: The process.
        key: Signs.
        other: Published beside it.
    """

    issuer: Issuer
    key: PrivateKey
    other: PrivateKey
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def behave(self, status: int = 200, seconds: float = 0.0) -> None:
        self.issuer.behave([self.key.public_jwk(), self.other.public_jwk()], status=status, seconds=seconds)

    def good(self, number: int = 0) -> str:
        return token(self.key, number)

    def unknown(self, number: int = 0) -> str:
        """A token of a key that the issuer never had."""
        return token(self.key, number, key_id=f"unknown-{number}")

    def source(self, **options: Any) -> RemoteJWKS:
        return RemoteJWKS(self.issuer.url, **options)

    def ours(self, **options: Any) -> JWTVerifier:
        """It remembers no token, so that each asks for its key."""
        return verifier(self.source(**options), None)

    def theirs(self, **options: Any) -> Verify:
        client = jwt.PyJWKClient(self.issuer.url, ssl_context=self.tls, **options)

        def verify(token: str) -> object:
            key = client.get_signing_key_from_jwt(token)
            return jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER)

        return verify


def attempt(verify: Verify, token: str) -> bool:
    """Whether it verifies; what went wrong does not matter here."""
    try:
        verify(token)
    except Exception:
        return False
    return True


def at_once(verify: Verify, given: Sequence[str]) -> list[tuple[bool, float]]:
    """All of them at the same moment, a thread each: whether it verified, and the seconds it took."""
    barrier = threading.Barrier(len(given))

    def one(token: str) -> tuple[bool, float]:
        barrier.wait()
        started = time.perf_counter()
        verified = attempt(verify, token)
        return verified, time.perf_counter() - started

    with ThreadPoolExecutor(len(given)) as pool:
        return list(pool.map(one, given))


# -------------------------------------------------------------------------------------------- counts


def unknown_kids(world: World, verify: Verify, given: Sequence[str]) -> int:
    """Tokens with a `kid` each that nobody knows."""
    world.behave()
    if sum(attempt(verify, strange) for strange in given):
        raise SystemExit("a token with an unknown kid was taken")
    return world.issuer.fetches()


def server_errors(world: World, verify: Verify, given: Sequence[str]) -> int:
    """Good tokens, one each millisecond, and an issuer that answers 500."""
    world.behave(status=500)
    started = time.monotonic()
    for number, good in enumerate(given):
        time.sleep(max(0.0, started + number / len(given) - time.monotonic()))
        attempt(verify, good)
    return world.issuer.fetches()


def herd_of_threads(world: World, verify: Verify) -> int:
    """Threads that all come first."""
    world.behave(seconds=0.2)
    if not all(verified for verified, _ in at_once(verify, [world.good()] * THREADS)):
        raise SystemExit("a thread of the herd was refused")
    return world.issuer.fetches()


def herd_of_tasks(world: World) -> int:
    """Tasks that all come first."""
    world.behave(seconds=0.2)
    ours, given = world.ours(), world.good()

    async def herd() -> None:
        await asyncio.gather(*(ours.averify(given) for _ in range(REQUESTS)))

    asyncio.run(herd())
    return world.issuer.fetches()


def counts(world: World) -> list[Table]:
    """How often the key set is fetched."""
    strange = [world.unknown(number) for number in range(REQUESTS)]
    good = [world.good()] * REQUESTS
    contests: list[tuple[str, Callable[[Verify], int], float]] = [
        ("1,000 tokens with 1,000 unknown kids", lambda verify: unknown_kids(world, verify, strange), 2),
        ("1,000 requests in a second, the issuer answers 500", lambda verify: server_errors(world, verify, good), 3),
        ("64 threads at once, no keys yet", lambda verify: herd_of_threads(world, verify), 1),
    ]
    tables = []
    for name, count, bar in contests:
        ours = Row("graphql-authkit", count(world.ours().verify), bar=Bar(bar, of="value"))
        tables.append(Table(name, "fetches", [ours, Row("PyJWKClient", count(world.theirs()))]))
    tasks = Row("graphql-authkit", herd_of_tasks(world), bar=Bar(1, of="value"))
    return [*tables, Table("1,000 asyncio tasks at once, no keys yet", "fetches", [tasks])]


# ------------------------------------------------------------------------------------------- waiting


@dataclass
class Latencies:
    """Microseconds of each key lookup and of each whole verification, and how many of these failed."""

    lookup: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    failed: int = 0


def sample(source: RemoteJWKS, verify: Verify, given: str, seconds: float) -> Latencies:
    """Verify one token again and again, looking its key up once more beside."""
    found = Latencies()
    header = read_header(given.partition(".")[0].encode())
    algorithms = frozenset({"RS256"})
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        keys = source.key_set()
        key = None if keys is None else keys.select(header, algorithms)
        looked_up = time.perf_counter()
        verified = attempt(verify, given)
        found.whole.append((time.perf_counter() - looked_up) * 1e6)
        found.lookup.append((looked_up - started) * 1e6)
        found.failed += not verified or key is None
    return found


def hanging(world: World, name: str, source: RemoteJWKS, seconds: float) -> list[Table]:
    """Known keys, while the issuer does not answer, and is asked for an unknown one."""
    world.behave()
    ours = verifier(source, None)
    ours.warm()
    world.behave(seconds=HANG_SECONDS)
    given, strange = world.good(), world.unknown()
    threading.Thread(target=attempt, args=(ours.verify, strange), daemon=True).start()
    time.sleep(0.05)
    found = sample(source, ours.verify, given, seconds)
    if world.issuer.fetches() == 0:
        raise SystemExit("nothing was fetched while the issuer hung")
    rows = [
        Row("key lookup, median", statistics.median(found.lookup)),
        Row("key lookup, p99", percentile(found.lookup), bar=Bar(LOOKUP_BAR, of="value")),
        Row("key lookup, the slowest", max(found.lookup)),
        Row("verification, median", statistics.median(found.whole)),
        Row("verification, p99", percentile(found.whole)),
        Row("verification, the slowest", max(found.whole)),
    ]
    failed = Row("failed", found.failed, bar=Bar(0, of="value"))
    everything = Row("in all", len(found.whole))
    return [Table(name, "µs", rows), Table(f"{name}: how many fail", "verifications", [failed, everything])]


def percentile(values: Sequence[float], share: float = 0.99) -> float:
    return sorted(values)[int(len(values) * share)]


def slow_issuer(world: World) -> Table:
    """63 threads with known kids, the moment after one with an unknown kid had the keys fetched."""
    rows = []
    contests: list[tuple[str, Verify]] = [
        ("graphql-authkit", world.ours().verify),
        ("PyJWKClient, cooldown 0", world.theirs(cooldown_duration=0)),
    ]
    for name, verify in contests:
        world.behave()
        given = world.good()
        check(name, partial(attempt, verify, given), partial(attempt, verify, forged(given)))
        time.sleep(0.05)
        world.behave(seconds=SLOW_SECONDS)
        with ThreadPoolExecutor(1) as pool:
            searching: Future[bool] = pool.submit(attempt, verify, world.unknown())
            time.sleep(0.05)
            found = at_once(verify, [given] * (THREADS - 1))
            if searching.result() or not all(verified for verified, _ in found) or world.issuer.fetches() != 1:
                raise SystemExit(f"{name}: a known kid was refused, or nothing was fetched")
        seconds = [took for _, took in found]
        rows += [
            Row(f"{name}, median", statistics.median(seconds) * 1e3),
            Row(f"{name}, p99", percentile(seconds) * 1e3),
        ]
    return Table("63 known kids at once, while a fetch takes 500 ms", "ms", rows)


# ----------------------------------------------------------------------------------------------- CPU


def cpu(world: World, rounds: int) -> Table:
    """What a fetch costs this process, whoever does it: 200 in all, over plain HTTP."""
    world.behave()
    source = RemoteJWKS(world.issuer.url)
    plain, ready = jwt.PyJWKClient(world.issuer.url), jwt.PyJWKClient(world.issuer.url, ssl_context=world.tls)

    def ours() -> None:
        flight = source.refresh()
        if flight is None:
            raise SystemExit("no fetch was started")
        flight.result(5.0)

    functions: dict[str, Callable[[], object]] = {
        "graphql-authkit": ours,
        "PyJWKClient.fetch_data": plain.fetch_data,
        "PyJWKClient.fetch_data, TLS context given": ready.fetch_data,
    }
    times: dict[str, list[float]] = {name: [] for name in functions}
    calls = 200 // rounds
    for _ in range(rounds):
        for name, function in functions.items():
            started = time.process_time()
            for _ in range(calls):
                function()
            times[name].append((time.process_time() - started) / calls * 1e3)
    if world.issuer.fetches() != len(functions) * rounds * calls:
        raise SystemExit("some calls fetched nothing")
    found = times["graphql-authkit"]
    rows = [
        Row(
            name,
            statistics.median(its),
            statistics.median(of_ours / of_it for of_ours, of_it in zip(found, its, strict=True)),
            Bar(1.0, of="value") if its is found else None,
        )
        for name, its in times.items()
    ]
    return Table("CPU time of one fetch of two keys over loopback", "ms", rows, "ours ÷ this")


def main() -> None:
    given = arguments(__doc__, "keys", rounds=10)
    logging.getLogger("graphql_authkit").setLevel(logging.CRITICAL)  # fetches fail here on purpose
    key, other = PrivateKey.generate("RS256", key_id=KEY_ID), PrivateKey.generate("RS256", key_id="key-2")
    with issuer([key.public_jwk(), other.public_jwk()]) as process:
        world = World(process, key, other)
        tables = [
            *counts(world),
            *hanging(world, "The issuer hangs, asked for an unknown kid", world.source(timeout=15.0), 4.0),
            *hanging(
                world, "The issuer hangs while a ttl of 2 s ends", world.source(ttl=2.0, timeout=1.5, cooldown=1.0), 9.0
            ),
            slow_issuer(world),
            cpu(world, given.rounds),
        ]
    report(tables, given.json, ("pyjwt", "cryptography"))


if __name__ == "__main__":
    main()
