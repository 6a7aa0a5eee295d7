"""Full verification of a token never seen before: signature, `iss`, `aud`, dates. `python -m benchmarks.verify`

Twelve claims, a header with `kid`, RSA of 2048 bits; 256 different tokens in turn. Every library is given its key
ready made and checks issuer, audience and dates. The memory of verified tokens is off.
"""

from __future__ import annotations

import hmac
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import joserfc.errors
import joserfc.jwk
import joserfc.jwt
import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from benchmarks.harness import Case, Group, check, measure
from benchmarks.material import AUDIENCE, ISSUER, KEY_ID, TOKENS, forged, tokens
from benchmarks.results import arguments, report
from graphql_authkit import JWKS, JWTVerifier, PrivateKey, SecretKey
from graphql_authkit._jws import ParsedToken, parse
from graphql_authkit.keys import KeySource

warnings.simplefilter("ignore", joserfc.errors.SecurityWarning)  # of the name EdDSA
with warnings.catch_warnings():
    from authlib.deprecate import AuthlibDeprecationWarning

    warnings.simplefilter("ignore", AuthlibDeprecationWarning)  # of authlib.jose
    from authlib.jose import JsonWebKey, JsonWebToken

SECRET = b"a secret of 64 bytes, which is as much as HS512 would ask of it."


def bare(key: PrivateKey | SecretKey, parsed: list[ParsedToken]) -> Callable[[int], object]:
    """The signature check alone, by `cryptography` or `hmac`, of what is already taken apart."""
    if isinstance(key, SecretKey):
        return lambda n: hmac.compare_digest(
            hmac.digest(SECRET, parsed[n].signing_input, "sha256"), parsed[n].signature
        )
    public: Any = key._signing_material.public_key()
    if key.algorithm == "RS256":
        scheme, digest = padding.PKCS1v15(), hashes.SHA256()
        return lambda n: public.verify(parsed[n].signature, parsed[n].signing_input, scheme, digest)
    if key.algorithm == "ES256":
        raw = [token.signature for token in parsed]
        der = [encode_dss_signature(int.from_bytes(s[:32]), int.from_bytes(s[32:])) for s in raw]
        ecdsa = ec.ECDSA(hashes.SHA256())
        return lambda n: public.verify(der[n], parsed[n].signing_input, ecdsa)
    return lambda n: public.verify(parsed[n].signature, parsed[n].signing_input)


def group(algorithm: str, bars: dict[str, float]) -> Group:
    """One algorithm, all libraries."""
    key = SecretKey(SECRET, key_id=KEY_ID) if algorithm == "HS256" else PrivateKey.generate(algorithm, key_id=KEY_ID)
    source: KeySource = key if isinstance(key, SecretKey) else JWKS({"keys": [key.public_jwk()]})
    verifier = JWTVerifier(keys=source, issuer=ISSUER, audience=AUDIENCE, algorithms=[algorithm], cache=None)
    given = tokens(key)
    given.append(forged(given[0]))  # the last one is for checking that every case refuses it
    material: Any = SECRET if isinstance(key, SecretKey) else key._signing_material.public_key()

    def pyjwt(number: int) -> object:
        return jwt.decode(given[number], material, algorithms=[algorithm], audience=AUDIENCE, issuer=ISSUER)

    jose_key: Any = joserfc.jwk.import_key(
        SECRET if isinstance(key, SecretKey) else key.public_jwk(), "oct" if isinstance(key, SecretKey) else None
    )
    registry = joserfc.jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}
    )

    def by_joserfc(number: int) -> object:
        decoded = joserfc.jwt.decode(given[number], jose_key, algorithms=[algorithm])
        registry.validate(decoded.claims)
        return decoded

    authlib = JsonWebToken([algorithm])
    authlib_key = SECRET if isinstance(key, SecretKey) else JsonWebKey.import_key(key.public_jwk())
    options = {"iss": {"essential": True, "value": ISSUER}, "aud": {"essential": True, "value": AUDIENCE}}

    def by_authlib(number: int) -> object:
        claims = authlib.decode(given[number], authlib_key, claims_options=options)
        claims.validate()
        return claims

    cases = [
        Case("graphql-authkit, cold", lambda n: verifier.verify(given[n])),
        Case("jwt.decode", pyjwt),
        Case("joserfc decode and validate", by_joserfc),
        Case("Authlib decode and validate", by_authlib),
        Case("the signature check alone", bare(key, [parse(token, max_bytes=16_384) for token in given])),
    ]
    for case in cases:
        check(f"{case.name}, {algorithm}", partial(case.run, 0), partial(case.run, TOKENS))
    return Group(f"{algorithm}: a token never seen before", cases, bars)


def main() -> None:
    given = arguments(__doc__, "verify", rounds=40)
    groups = [
        group("HS256", {"jwt.decode": 0.25}),
        group("RS256", {"jwt.decode": 0.45, "the signature check alone": 1.65}),
        group("ES256", {"the signature check alone": 1.25}),
        group("EdDSA", {"the signature check alone": 1.15}),
    ]
    tables = [measure(g, rounds=given.rounds, calls=TOKENS) for g in groups]
    report(tables, given.json, ("pyjwt", "cryptography", "joserfc", "authlib"))


if __name__ == "__main__":
    main()
