"""The main job, end to end, on embedded defaults: `make demo`.

Two real HTTP servers on loopback: a token issuer that publishes its keys, and a GraphQL server that
wraps its app. Then requests to the latter, printed as they go over the wire.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from graphql import build_schema, parse

from graphql_authkit import (
    Authenticator,
    JWTVerifier,
    MemoryRevocationStore,
    Revocations,
    TokenIssuer,
)
from graphql_authkit.graphql import execute_sync, require_auth
from graphql_authkit.testing import LocalIssuer
from graphql_authkit.wsgi import AuthMiddleware

AUDIENCE = "https://api.example/graphql"
SCHEMA = build_schema("type Query { me: String  everything: String }")
ROOT = {"me": lambda info: require_auth(info).subject, "everything": lambda info: "the crown jewels"}


def graphql_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """A GraphQL server of a few lines. It never sees a request that was refused."""
    query = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))["query"]
    result = execute_sync(SCHEMA, parse(query), root_value=ROOT)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(result.formatted).encode()]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def serve(app: Any) -> Iterator[int]:
    with make_server("127.0.0.1", 0, app, Server, Quiet) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(port: int, step: str, query: str, token: str | None, expected: int) -> None:
    """Send one query, print both sides, and stop the demo if the answer is not the one promised."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/graphql", json.dumps({"query": query}), headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    print(f"\n== {step}\n> POST /graphql   {query}")
    print(f"> Authorization: {f'Bearer {token[:12]}… ({len(token)} characters)' if token else '(none)'}")
    print(f"< {answer.status} {answer.reason}")
    if answer.headers["WWW-Authenticate"]:
        print(f"< WWW-Authenticate: {answer.headers['WWW-Authenticate']}")
    print(f"< {body}")
    if answer.status != expected:
        raise SystemExit(f"expected {expected}")


def main() -> None:
    idp = LocalIssuer(audience=AUDIENCE)
    with idp.serve() as issuer:
        print(f"A token issuer with its keys: {issuer}jwks.json")
        revocations = Revocations(MemoryRevocationStore())
        tokens = TokenIssuer(keys=idp.key, issuer=issuer, audience=AUDIENCE, lifetime=600, revocations=revocations)
        verifier = JWTVerifier.from_issuer(issuer, audience=AUDIENCE)
        guarded = AuthMiddleware(graphql_app, Authenticator(verifier, revocations=revocations))
        with serve(guarded) as port:
            print(f"A GraphQL server that trusts it:  http://127.0.0.1:{port}/graphql")
            good = tokens.issue("alice", scopes=["read"])
            ask(port, "1. Without a token nothing of GraphQL runs", "{ me }", None, 401)
            ask(port, "2. With one, resolvers know who is calling", "{ me }", good, 200)
            ask(port, "3. A name that the client chose opens nothing", "query Login { everything }", None, 401)
            revocations.revoke(verifier.verify(good))
            ask(port, "4. A token taken back is refused at once", "{ me }", good, 401)
            ask(port, "5. An expired one is refused", "{ me }", idp.token("alice", lifetime=-60), 401)
            ask(port, "6. A new login works", "{ me }", tokens.issue("alice", scopes=["read"]), 200)
    print("\nAll six went as promised.")


if __name__ == "__main__":
    main()
