"""What the benchmarks verify, and by what: tokens of twelve claims, no two alike, and forged ones."""

from __future__ import annotations

import time

from cryptography.hazmat.primitives import serialization

from graphql_authkit import JWKS, Authenticator, JWTVerifier, MemoryRevocationStore, PrivateKey, Revocations, SecretKey
from graphql_authkit.keys import KeySource
from graphql_authkit.testing import sign

ISSUER, AUDIENCE, KEY_ID = "https://issuer.example/", "https://api.example/graphql", "key-1"
TOKENS = 256
REVOKED = 1_000
DAY = 86_400.0


def token(key: PrivateKey | SecretKey, number: int, *, key_id: str = KEY_ID) -> str:
    """One token, good for two hours."""
    now = int(time.time())
    header = {"alg": key.algorithm, "kid": key_id, "typ": "at+jwt"}
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now + 7200,
        "iat": now,
        "nbf": now,
        "client_id": "web-app",
        "scope": "read write profile",
        "sid": "7a8b0c1d2e3f40516273",
        "roles": ["staff", "editor"],
        "tenant": "example-tenant-0001",
        "sub": f"user-{number}",
        "jti": f"token-{number:032}",
    }
    return sign(header, claims, key)


def tokens(key: PrivateKey | SecretKey, count: int = TOKENS) -> list[str]:
    """Tokens that differ in `sub` and `jti`."""
    return [token(key, number) for number in range(count)]


def forged(good: str) -> str:
    """The token with another signature."""
    signed, _, signature = good.rpartition(".")
    return f"{signed}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def pem(key: PrivateKey) -> str:
    """The public key."""
    public = key._signing_material.public_key()
    encoded: bytes = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode()


def key_set(key: PrivateKey) -> JWKS:
    return JWKS({"keys": [key.public_jwk()]})


def verifier(keys: KeySource, cache: int | bool | None = True) -> JWTVerifier:
    return JWTVerifier(keys=keys, issuer=ISSUER, audience=AUDIENCE, algorithms=["RS256"], cache=cache)


def pipeline(verifier: JWTVerifier) -> Authenticator:
    """The verifier, and 1,000 live revocations that are about other tokens."""
    revocations = Revocations(MemoryRevocationStore())
    for number in range(REVOKED):
        revocations.revoke_token(ISSUER, f"revoked-{number}", expires_at=time.time() + DAY)
    return Authenticator(verifier, revocations=revocations)
