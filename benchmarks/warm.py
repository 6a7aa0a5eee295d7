"""A token that was verified before, and what is near to it: `python -m benchmarks.warm`

RS256, twelve claims. "authenticate_token" is the whole pipeline: the token is found in memory, its dates are checked
again, and so are 1,000 live revocations. PyJWT remembers nothing; fast-jwt (Node.js) does, and knows no revocation.
"""

from __future__ import annotations

import http.server
import json
import random
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import jwt

from benchmarks import javascript
from benchmarks.harness import Case, Each, Group, Timed, check, measure
from benchmarks.material import (
    AUDIENCE,
    ISSUER,
    KEY_ID,
    TOKENS,
    forged,
    key_set,
    pem,
    pipeline,
    token,
    tokens,
    verifier,
)
from benchmarks.results import Row, Table, arguments, report
from graphql_authkit import (
    Fetched,
    JWTVerifier,
    PrivateKey,
    RemoteJWKS,
    SecretKey,
)

FAST_JWT = "fast-jwt, cache on (Node.js)"
MANY = 10_000
ROOM = 16_384
DISTINCT = 100_000


def pyjwt(key: PrivateKey) -> Callable[[str], object]:
    public: Any = key._signing_material.public_key()
    return lambda token: jwt.decode(token, public, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER)


def cases_of(functions: Mapping[str, Callable[[str], object]], given: list[str]) -> list[Timed]:
    """Each function over the tokens, once it has shown that it takes a good one and refuses a forged one."""
    for label, function in functions.items():
        check(label, partial(function, given[0]), partial(function, forged(given[0])))
    return [Each(label, function, given) for label, function in functions.items()]


def warm(group: Group, key: PrivateKey, given: list[str], *, cache: int | bool, rounds: int) -> Table:
    """The group, and fast-jwt, over the tokens in the order given, each of them seen before."""
    absent = javascript.missing()
    if absent is not None:
        print(absent, file=sys.stderr)
        return measure(group, rounds=rounds, calls=len(given))
    with javascript.fast_jwt(pem(key), given, issuer=ISSUER, audience=AUDIENCE, cache=cache) as worker:
        check(FAST_JWT, partial(worker.verifies, given[0]), partial(worker.verifies, forged(given[0])))
        cases = [*group.cases, javascript.NodeCase(FAST_JWT, worker)]
        return measure(replace(group, cases=cases), rounds=rounds, calls=len(given))


def in_turn(key: PrivateKey, hot: list[str], rounds: int) -> Table:
    """Few tokens, again and again, by the default cache."""
    given = hot * 8
    functions: dict[str, Callable[[str], object]] = {
        "graphql-authkit, authenticate_token": pipeline(verifier(key_set(key))).authenticate_token,
        "graphql-authkit, JWTVerifier.verify": verifier(key_set(key)).verify,
        "jwt.decode": pyjwt(key),
    }
    group = Group("256 tokens in turn", cases_of(functions, given), {"jwt.decode": 1 / 30, FAST_JWT: 1.0})
    return warm(group, key, given, cache=True, rounds=rounds)


def at_random(key: PrivateKey, rounds: int) -> Table:
    """Many tokens, in random order."""
    given = tokens(key, MANY)
    random.shuffle(given)
    functions: dict[str, Callable[[str], object]] = {
        "graphql-authkit, authenticate_token, cache=16384": pipeline(verifier(key_set(key), ROOM)).authenticate_token,
        "graphql-authkit, JWTVerifier.verify, cache=16384": verifier(key_set(key), ROOM).verify,
        "graphql-authkit, JWTVerifier.verify, cache=32768": verifier(key_set(key), 2 * ROOM).verify,
        "jwt.decode": pyjwt(key),
    }
    group = Group("10,000 tokens in random order", cases_of(functions, given), {"jwt.decode": 1 / 25})
    return warm(group, key, given, cache=ROOM, rounds=rounds)


@contextmanager
def jwks_server(document: bytes) -> Iterator[str]:
    """A key set on loopback, until closed."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/jwks.json"
        server.shutdown()


def fetched_keys(key: PrivateKey, given: list[str], rounds: int) -> Table:
    """The first time that a token comes: keys that were fetched beside the same key in hand."""
    document = {"keys": [key.public_jwk()]}

    def fetch(url: str, *, headers: Mapping[str, str], timeout: float, max_bytes: int) -> Fetched:
        return Fetched(200, {}, json.dumps(document).encode())

    remote = verifier(RemoteJWKS("https://issuer.example/jwks.json", fetcher=fetch), None)
    remote.warm()
    in_hand = verifier(key_set(key), None)
    decode = pyjwt(key)
    with jwks_server(json.dumps(document).encode()) as url:
        client = jwt.PyJWKClient(url)

        def by_client(token: str) -> object:
            found = client.get_signing_key_from_jwt(token)
            return jwt.decode(token, found, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER)

        functions: dict[str, Callable[[str], object]] = {
            "graphql-authkit, RemoteJWKS": remote.verify,
            "graphql-authkit, key in hand": in_hand.verify,
            "PyJWKClient and jwt.decode": by_client,
            "jwt.decode, key in hand": decode,
        }
        cases = cases_of(functions, given)
        group = Group("Keys fetched, and a token never seen before", cases, {"graphql-authkit, key in hand": 1.03})
        return measure(group, rounds=rounds, calls=len(given))


def oversized(key: PrivateKey, rounds: int) -> Table:
    """A token of 64 kB, whose signature is bad: how soon it is refused."""
    signed, _, signature = forged(token(key, 0)).rpartition(".")
    header, _, payload = signed.partition(".")
    long = f"{header}.{payload * (65_536 // len(payload))}.{signature}"
    ours, theirs = verifier(key_set(key)).verify, pyjwt(key)
    check("jwt.decode", partial(theirs, token(key, 0)), partial(theirs, long))
    check("graphql-authkit", partial(ours, token(key, 0)), partial(ours, long))

    def refused(function: Callable[[str], object]) -> Callable[[int], None]:
        def run(_number: int) -> None:
            try:
                function(long)
            except Exception:
                return

        return run

    cases = [Case("graphql-authkit, JWTVerifier.verify", refused(ours)), Case("jwt.decode", refused(theirs))]
    group = Group("A token of 64 kB is refused (the bar is absolute)", cases, {}, {cases[0].name: 1.0})
    return measure(group, rounds=rounds, calls=TOKENS)


def memory() -> Table:
    """What the default memory of verified tokens holds, in MB: HS256, for the signature makes no difference to it."""
    key = SecretKey(b"a secret of thirty-two bytes is the least", key_id=KEY_ID)
    remembering = JWTVerifier(keys=key, issuer=ISSUER, audience=AUDIENCE)
    remembering.verify(token(key, DISTINCT))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    most, early = 0, 0
    for number in range(DISTINCT):
        remembering.verify(token(key, number))
        if number % 64 == 0 or number == 4_094:
            most = max(most, tracemalloc.get_traced_memory()[0] - before)
        if number == 4_094:
            early = most
    tracemalloc.stop()
    rows = [
        Row("after 4,095 distinct tokens", early / 1e6),
        Row("the most while 100,000 distinct tokens come", most / 1e6),
    ]
    return Table("Memory of the default cache of 4,096 tokens", "MB", rows)


def main() -> None:
    given = arguments(__doc__, "warm", rounds=25)
    key = PrivateKey.generate("RS256", key_id=KEY_ID)
    hot = tokens(key)
    tables = [
        in_turn(key, hot, given.rounds),
        at_random(key, max(given.rounds // 4, 1)),
        fetched_keys(key, hot, 2 * given.rounds),
        oversized(key, max(given.rounds // 3, 1)),
        memory(),
    ]
    others = javascript.versions("fast-jwt") if javascript.missing() is None else {}
    report(tables, given.json, ("pyjwt", "cryptography"), others)


if __name__ == "__main__":
    main()
