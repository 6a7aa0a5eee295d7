"""Keys held here: what each may verify, and every way of giving a wrong one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519

from graphql_authkit import JWKS, ConfigurationError, JWTVerifier, PrivateKey, PublicKey, SecretKey
from graphql_authkit.errors import UnknownKey
from graphql_authkit.keys import thumbprint
from graphql_authkit.testing import LocalIssuer
from tests.support import AUDIENCE, ISSUER, NOW, key, local_issuer, refused

PUBLIC = key()._signing_material.public_key()
PEM = PUBLIC.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
DER = PUBLIC.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
JWK = key().public_jwk()


def pem_of(private: Any) -> bytes:
    data: bytes = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return data


def public_pem_of(private: Any) -> bytes:
    data: bytes = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return data


WEAK_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)


def verifier(keys: Any, **options: Any) -> JWTVerifier:
    return JWTVerifier(keys=keys, issuer=ISSUER, audience=AUDIENCE, clock=lambda: NOW, **options)


def signed_by(private: PrivateKey | SecretKey, **options: Any) -> str:
    return local_issuer().token(key=private, **options)


@pytest.mark.parametrize("given", [PEM, PEM.decode(), b"\n" + PEM, DER])
def test_a_public_key_is_read_from_pem_and_der(given: Any) -> None:
    assert verifier(PublicKey(given, algorithm="RS256")).verify(signed_by(key())).subject == "user-1"


@pytest.mark.parametrize(
    ("given", "algorithm"),
    [
        (PEM, "HS256"),
        (PEM, "ES256"),
        (PEM, "none"),
        (PEM, "RS1"),
        (PEM, None),
        (key().pem(), "RS256"),
        (b"", "RS256"),
        (b"junk", "RS256"),
        ("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", "RS256"),
        (17, "RS256"),
        (None, "RS256"),
        (public_pem_of(WEAK_RSA), "RS256"),
        (public_pem_of(ec.generate_private_key(ec.SECP384R1())), "ES256"),
        (public_pem_of(ec.generate_private_key(ec.SECP256K1())), "ES256"),
        (public_pem_of(ed448.Ed448PrivateKey.generate()), "EdDSA"),
        (public_pem_of(x25519.X25519PrivateKey.generate()), "EdDSA"),
        (public_pem_of(dsa.generate_private_key(2048)), "RS256"),
    ],
)
def test_a_wrong_public_key_is_refused_while_building(given: Any, algorithm: Any) -> None:
    with pytest.raises(ConfigurationError):
        PublicKey(given, algorithm=algorithm)


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_is_as_long_as_its_hash(algorithm: str, size: int) -> None:
    assert SecretKey("s" * size, algorithm=algorithm).algorithm == algorithm
    with pytest.raises(ConfigurationError, match="at least"):
        SecretKey("s" * (size - 1), algorithm=algorithm)


@pytest.mark.parametrize(
    "given",
    [
        PEM,
        PEM.decode(),
        b" " + PEM,
        DER,
        json.dumps(JWK),
        json.dumps({"keys": [JWK]}),
        key().pem(),
        "",
        b"",
        None,
        5,
        ["s" * 32],
    ],
)
def test_a_secret_is_no_key_of_another_kind(given: Any) -> None:
    with pytest.raises(ConfigurationError):
        SecretKey(given)


@pytest.mark.parametrize("algorithm", ["RS256", "none", "EdDSA", "hs256", ""])
def test_a_secret_serves_hmac_only(algorithm: str) -> None:
    with pytest.raises(ConfigurationError):
        SecretKey("s" * 64, algorithm=algorithm)


@pytest.mark.parametrize(
    "given",
    [
        pem_of(WEAK_RSA),
        PEM,
        b"junk",
        17,
        pem_of(ec.generate_private_key(ec.SECP256R1())),
        pem_of(x25519.X25519PrivateKey.generate()),
    ],
)
def test_a_wrong_private_key_is_refused_while_building(given: Any) -> None:
    with pytest.raises(ConfigurationError):
        PrivateKey(given)


def test_a_private_key_goes_by_its_thumbprint_and_shows_only_its_public_half() -> None:
    private = PrivateKey(key().pem())
    jwk = private.public_jwk()
    assert (private.key_id, set(jwk)) == (thumbprint(JWK), {"kty", "n", "e", "kid", "alg", "use"})


@pytest.mark.parametrize("thing", [key(), SecretKey("tell-nobody-" * 4), PublicKey(PEM, algorithm="RS256")])
def test_no_repr_shows_a_secret(thing: object) -> None:
    assert ("tell-nobody" in repr(thing), "PRIVATE" in repr(thing), len(repr(thing)) < 100) == (False, False, True)


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    jwk = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF"
        "V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0z"
        "gdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCu"
        "r-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }
    assert thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


# ---------------------------------------------------------------------------------------- key sets

BAD_ENTRIES: dict[str, Any] = {
    "null": None,
    "a string": "key",
    "an array": [],
    "nothing in it": {},
    "unknown type": {**JWK, "kty": "LWE"},
    "type of a list": {**JWK, "kty": ["RSA"]},
    "for encryption": {**JWK, "use": "enc"},
    "use of a list": {**JWK, "use": ["sig"]},
    "may not verify": {**JWK, "key_ops": ["encrypt"]},
    "key_ops of a string": {**JWK, "key_ops": "verify"},
    "an encryption algorithm": {**JWK, "alg": "RSA-OAEP"},
    "alg none": {**JWK, "alg": "none"},
    "alg of a list": {**JWK, "alg": ["RS256"]},
    "another type's algorithm": {**JWK, "alg": "ES256"},
    "a public key's alg HS256": {**JWK, "alg": "HS256"},
    "kid of a number": {**JWK, "kid": 1},
    "issuer of a list": {**JWK, "issuer": [ISSUER]},
    "private": {**JWK, "d": "AQAB"},
    "no modulus": {"kty": "RSA", "e": "AQAB"},
    "modulus of a number": {**JWK, "n": 5},
    "modulus not base64url": {**JWK, "n": "!!"},
    "a weak modulus": {**PrivateKey.generate().public_jwk(), "n": "AQAB"},
    "exponent one": {**JWK, "e": "AQ"},
    "exponent even": {**JWK, "e": "Ag"},
    "a point off the curve": {"kty": "EC", "crv": "P-256", "x": "AAAA" * 10 + "AAA", "y": "AAAA" * 10 + "AAA"},
    "an unknown curve": {"kty": "EC", "crv": "secp256k1", "x": "AQ", "y": "AQ"},
    "a short Ed25519": {"kty": "OKP", "crv": "Ed25519", "x": "AQ"},
    "X25519": {"kty": "OKP", "crv": "X25519", "x": "AQ" * 21 + "A"},
    "an empty secret": {"kty": "oct", "k": ""},
    "a short secret": {"kty": "oct", "k": "c2hvcnQ"},
    "no secret": {"kty": "oct"},
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_one_bad_entry_never_spoils_the_set_and_is_named(name: str) -> None:
    keys = JWKS({"keys": [BAD_ENTRIES[name], JWK]})
    assert (len(keys.key_set()), len(keys.left_out)) == (1, 1)
    assert verifier(keys).verify(signed_by(key())).subject == "user-1"


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_a_set_of_nothing_usable_is_refused_while_building(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no usable key"):
        JWKS({"keys": [BAD_ENTRIES[name]]})


@pytest.mark.parametrize(
    "document",
    [{}, {"keys": None}, {"keys": {}}, "", "[]", "{", b"\xff", "null", '{"keys":[],"keys":[]}', {"keys": []}],
)
def test_what_is_no_key_set_is_refused_while_building(document: Any) -> None:
    with pytest.raises(ConfigurationError):
        JWKS(document)


def test_a_key_set_is_read_from_text_too() -> None:
    assert len(JWKS(json.dumps({"keys": [JWK]})).key_set()) == 1


def test_a_symmetric_key_of_ones_own_set_serves() -> None:
    from tests.support import segment

    secret = SecretKey("s" * 32, key_id="s1")
    keys = JWKS({"keys": [{"kty": "oct", "k": segment("s" * 32), "kid": "s1", "alg": "HS256"}]})
    assert verifier(keys).verify(signed_by(secret, header={"kid": "s1"})).subject == "user-1"


# ------------------------------------------------------------------------------- choosing the key


def jwk(number: int, algorithm: str = "RS256", **changes: Any) -> dict[str, Any]:
    members = {**key(algorithm, number).public_jwk(), **changes}
    return {name: value for name, value in members.items() if value is not None}


def test_the_kid_picks_the_key() -> None:
    subject = verifier(JWKS({"keys": [jwk(1), jwk(2)]}))
    assert subject.verify(signed_by(key(number=2), header={"kid": "RS256-2"})).subject == "user-1"


def test_an_unknown_kid_of_a_set_is_refused() -> None:
    subject = verifier(JWKS({"keys": [jwk(1), jwk(2)]}))
    for kid in ("RS256-3", "", "../RS256-1", "rs256-1", "RS256-1\x00", "x" * 5000):
        assert type(refused(subject.verify, signed_by(key(), header={"kid": kid}))) is UnknownKey


def test_without_kid_a_key_is_used_only_if_exactly_one_fits() -> None:
    one = verifier(JWKS({"keys": [jwk(1), jwk(1, "ES256")]}))
    assert one.verify(signed_by(key(), without=["kid"])).subject == "user-1"
    two = verifier(JWKS({"keys": [jwk(1), jwk(2)]}))
    error = refused(lambda: two.verify(signed_by(key(), without=["kid"])))
    assert (type(error), "2 keys fit" in error.detail) == (UnknownKey, True)


def test_two_keys_of_one_kid_are_told_apart_by_alg_or_refused() -> None:
    apart = verifier(JWKS({"keys": [jwk(1, kid="k"), jwk(1, "ES256", kid="k")]}))
    assert apart.verify(signed_by(key(), header={"kid": "k"})).subject == "user-1"
    assert apart.verify(signed_by(key("ES256"), header={"kid": "k"})).subject == "user-1"
    alike = verifier(JWKS({"keys": [jwk(1, kid="k"), jwk(2, kid="k")]}))
    assert type(refused(lambda: alike.verify(signed_by(key(), header={"kid": "k"})))) is UnknownKey


def test_a_single_key_without_kid_serves_every_kid() -> None:
    subject = verifier(JWKS({"keys": [jwk(1, kid=None)]}))
    assert subject.verify(signed_by(key(), header={"kid": "anything"})).subject == "user-1"


def test_a_key_with_a_kid_serves_no_other() -> None:
    subject = verifier(PublicKey(PEM, algorithm="RS256", key_id="mine"))
    assert subject.verify(signed_by(key(), header={"kid": "mine"})).subject == "user-1"
    assert type(refused(lambda: subject.verify(signed_by(key(), header={"kid": "other"})))) is UnknownKey


def test_a_key_without_alg_serves_the_configured_algorithms_of_its_type() -> None:
    nameless = JWKS({"keys": [jwk(1, alg=None)]})
    pss = PrivateKey(key().pem(), algorithm="PS256", key_id="RS256-1")
    both = verifier(nameless, algorithms=["RS256", "PS256"])
    assert both.verify(signed_by(key())).subject == "user-1"
    assert both.verify(signed_by(pss)).subject == "user-1"
    only = verifier(nameless, algorithms=["RS256"])
    assert type(refused(lambda: only.verify(signed_by(pss)))) is UnknownKey


def test_a_key_with_alg_serves_only_that_one() -> None:
    subject = verifier(JWKS({"keys": [jwk(1), jwk(2, alg="PS256")]}), algorithms=["RS256", "PS256"])
    pss = PrivateKey(key().pem(), algorithm="PS256", key_id="RS256-1")
    assert type(refused(lambda: subject.verify(signed_by(pss)))) is UnknownKey


@pytest.mark.parametrize(
    ("keys", "algorithms"),
    [
        (JWKS({"keys": [jwk(1, alg=None)]}), None),
        (JWKS({"keys": [jwk(1)]}), ["HS256", "RS256"]),
        (JWKS({"keys": [jwk(1)]}), ["ES256"]),
        (JWKS({"keys": [jwk(1)]}), ["none"]),
        (JWKS({"keys": [jwk(1)]}), []),
        (JWKS({"keys": [jwk(1)]}), "RS256"),
        (PublicKey(PEM, algorithm="RS256"), ["HS256"]),
        (PublicKey(PEM, algorithm="RS256"), ["PS256"]),
        (SecretKey("s" * 64), ["HS256", "RS256"]),
        (SecretKey("s" * 64), ["HS512"]),
        ({"keys": [jwk(1)]}, None),
        ("s" * 64, None),
        (None, None),
    ],
)
def test_keys_and_algorithms_that_do_not_go_together_are_refused_while_building(keys: Any, algorithms: Any) -> None:
    with pytest.raises(ConfigurationError):
        verifier(keys, algorithms=algorithms)


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_key_is_generated_for_each_asymmetric_algorithm(algorithm: str) -> None:
    issuer = LocalIssuer(ISSUER, audience=AUDIENCE, key=PrivateKey.generate(algorithm))
    assert issuer.verifier().verify(issuer.token("made")).subject == "made"


@pytest.mark.parametrize("algorithm", ["HS256", "none", "", None])
def test_no_private_key_is_generated_for_anything_else(algorithm: Any) -> None:
    with pytest.raises(ConfigurationError):
        PrivateKey.generate(algorithm)


@pytest.mark.parametrize("wrap", [lambda text: b"\n" + text, lambda text: text + b"  ", lambda text: b"\t" + text])
def test_space_around_a_key_makes_it_no_secret(wrap: Any) -> None:
    ssh = PUBLIC.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    for text in (PEM, DER, ssh, json.dumps(JWK).encode()):
        with pytest.raises(ConfigurationError):
            SecretKey(wrap(text))


def test_a_secret_that_is_no_text_never_shows_in_the_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        SecretKey("topsecret" * 5 + "\ud800")
    assert ("topsecret" in repr(caught.value), caught.value.__cause__) == (False, None)


@pytest.mark.parametrize("algorithm", [["RS256"], {}, 5, None])
def test_an_algorithm_is_a_name(algorithm: Any) -> None:
    for make in (
        lambda: PublicKey(PEM, algorithm=algorithm),
        lambda: SecretKey("s" * 32, algorithm=algorithm),
        lambda: PrivateKey(key().pem(), algorithm=algorithm),
    ):
        with pytest.raises(ConfigurationError):
            make()


def test_a_curve_must_be_the_algorithms() -> None:
    p384 = {name: value for name, value in key("ES384").public_jwk().items() if name != "alg"}
    subject = verifier(JWKS({"keys": [p384, key("ES256").public_jwk()]}), algorithms=["ES256", "ES384"])
    es256_by_p384 = local_issuer("ES256").token(header={"kid": "ES384-1"})
    assert type(refused(subject.verify, es256_by_p384)) is UnknownKey


@pytest.mark.parametrize("thing", [SecretKey, JWKS, PublicKey, 5, "x"])
def test_keys_are_given_and_not_their_class(thing: Any) -> None:
    with pytest.raises(ConfigurationError):
        verifier(thing)


@pytest.mark.parametrize(
    ("stated", "accepted"),
    [
        (None, True),
        (ISSUER, True),
        ("https://{tenantid}.test/", True),
        ("https://issuer.{tenantid}/", True),
        ("https://other.test/", False),
        ("https:/{tenantid}/", False),  # a tenant is one segment
        ("https://issuer.test/{tenantid}", False),
        ("https://issuer.test{tenantid}/", False),
        ("", False),
    ],
)
def test_a_key_that_states_its_issuer_signs_for_no_other(stated: str | None, accepted: bool) -> None:
    subject = verifier(JWKS({"keys": [jwk(1, issuer=stated)]}))
    if accepted:
        assert subject.verify(signed_by(key())).issuer == ISSUER
    else:
        assert refused(subject.verify, signed_by(key())).reason == "CLAIM_REJECTED"


@pytest.mark.parametrize(
    ("given", "cure"), [("topsecret" * 5, "SecretKey"), (b"topsecret" * 5, "SecretKey"), ({"topsecret": 1}, "JWKS")]
)
def test_what_must_be_wrapped_is_told_so_and_never_shown(given: Any, cure: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        verifier(given)
    assert (cure in str(caught.value), "topsecret" in str(caught.value)) == (True, False)
