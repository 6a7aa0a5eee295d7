"""An issuer with its key set, in process and as a real HTTP server on loopback."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import Unpack

from .._algorithms import ALGORITHMS
from ..keys import JWKS, PrivateKey, SecretKey
from ..verifier import JWTVerifier, VerifierOptions

__all__ = ["LocalIssuer", "sign"]


def sign(header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes, key: PrivateKey | SecretKey) -> str:
    """Sign anything at all: the header and payload need not make sense.

    Args:
        header: A JSON object, or the very bytes of one.
        payload: Likewise.
        key: Signs with its own algorithm, whatever the header says.

    Returns:
        A compact token.
    """
    signing_input = f"{_segment(header)}.{_segment(payload)}"
    algorithm = ALGORITHMS[key.algorithm].implementation
    return f"{signing_input}.{_segment(algorithm.sign(signing_input.encode(), key._signing_material))}"


class LocalIssuer:
    """An issuer for tests: it makes tokens, good or with any defect, and publishes its keys.

    Args:
        issuer: `iss` of its tokens; while `serve()` runs, the server's own address.
        audience: `aud` of its tokens.
        key: Signs; a new RSA key where none is given.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        issuer: str = "https://issuer.test/",
        *,
        audience: str = "https://api.test/graphql",
        key: PrivateKey | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.key = PrivateKey.generate() if key is None else key
        self.retired: list[PrivateKey] = []
        self.requests: list[str] = []
        self._clock = clock

    def token(
        self,
        subject: str = "user-1",
        *,
        scopes: Iterable[str] = (),
        claims: Mapping[str, Any] | None = None,
        without: Iterable[str] = (),
        header: Mapping[str, Any] | None = None,
        lifetime: float = 300.0,
        key: PrivateKey | SecretKey | None = None,
    ) -> str:
        """Make a token.

        Args:
            subject: `sub`.
            scopes: `scope`.
            claims: Put over the good ones, whatever they say.
            without: Claims and header members to leave out.
            header: Put over the good header.
            lifetime: Seconds; negative for a token that has expired.
            key: Signs instead of the issuer's own; unless it is a retired one, under the `kid` of the present one.
        """
        now = int(self._clock())
        left_out = frozenset(without)
        signing_key = self.key if key is None else key
        kid = signing_key.key_id if signing_key in self.retired else self.key.key_id
        good_header = {"alg": signing_key.algorithm, "kid": kid, "typ": "at+jwt"}
        good_claims = {
            "iss": self.issuer,
            "sub": subject,
            "aud": self.audience,
            "iat": now,
            "exp": now + lifetime,
            "jti": base64.urlsafe_b64encode(f"{subject}-{time.monotonic_ns()}".encode()).decode(),
            "client_id": "test-client",
            "scope": scopes if isinstance(scopes, str) else " ".join(scopes),
        }
        return sign(
            {name: value for name, value in {**good_header, **(header or {})}.items() if name not in left_out},
            {name: value for name, value in {**good_claims, **(claims or {})}.items() if name not in left_out},
            signing_key,
        )

    def rotate(self, key: PrivateKey | None = None) -> None:
        """Sign with a new key from now on; the old one stays published until `retired` is cleared."""
        self.retired.append(self.key)
        self.key = PrivateKey.generate(self.key.algorithm) if key is None else key

    def jwks(self) -> dict[str, Any]:
        """Its JWK Set, as published."""
        return {"keys": [key.public_jwk() for key in (self.key, *self.retired)]}

    def verifier(self, **options: Unpack[VerifierOptions]) -> JWTVerifier:
        """A verifier for its tokens, by the keys it has now, that needs no server."""
        options.setdefault("audience", self.audience)
        options.setdefault("clock", self._clock)
        return JWTVerifier(keys=JWKS(self.jwks()), issuer=self.issuer, **options)

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Publish metadata and keys over HTTP on loopback, at a free port, until closed.

        While it runs, `issuer` is the server's address, which is also what it yields. Paths that were
        asked for are noted in `requests`.
        """
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        previous = self.issuer
        self.issuer = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self.issuer
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            self.issuer = previous


def _handler(issuer: LocalIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests.append(self.path)
            jwks_uri = issuer.issuer + "jwks.json"
            documents: dict[str, dict[str, Any]] = {
                "/.well-known/openid-configuration": {"issuer": issuer.issuer, "jwks_uri": jwks_uri},
                "/jwks.json": issuer.jwks(),
            }
            document = documents.get(self.path)
            body = json.dumps(document).encode()
            self.send_response(404 if document is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Tests are quiet."""

    return Handler


def _segment(value: Mapping[str, Any] | bytes) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
