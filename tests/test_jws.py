"""The strict parser and the signature check: one spelling of each token, and nothing but AuthErrors."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from hypothesis import example, given
from hypothesis import strategies as st

from graphql_authkit import JWKS, JWTVerifier, PrivateKey, SecretKey
from graphql_authkit._algorithms import ALGORITHMS, VerificationKey, make_check
from graphql_authkit._jws import _STRING_OR_BRACKET, parse, parse_object, split
from graphql_authkit.errors import AuthError, BadSignature, MalformedToken, UnknownKey
from graphql_authkit.keys import KeySet
from graphql_authkit.testing import sign
from graphql_authkit.verifier.jwt import _Known
from tests.support import AUDIENCE, ISSUER, NOW, key, local_issuer, refused, segment, unsegment

GOOD = local_issuer().token()
HEADER, PAYLOAD, SIGNATURE = GOOD.split(".")
CLAIMS = json.loads(unsegment(PAYLOAD))
VERIFIER = local_issuer().verifier(cache=None)


def detail(token: Any) -> str:
    error = refused(lambda: VERIFIER.verify(token))
    assert type(error) is MalformedToken, error.detail
    return error.detail


def with_header(**members: Any) -> str:
    return sign({"alg": "RS256", "kid": "RS256-1", **members}, CLAIMS, key())


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_algorithm_of_the_table_verifies_and_refuses_a_flipped_signature(name: str) -> None:
    if name.startswith("HS"):
        secret = SecretKey("s" * 64, algorithm=name)
        token = local_issuer().token(key=secret, header={"kid": None}, without=["kid"])
        subject = JWTVerifier(keys=secret, issuer=ISSUER, audience=AUDIENCE, clock=lambda: NOW)
    else:
        issuer = local_issuer(name)
        token, subject = issuer.token(), issuer.verifier()
    assert subject.verify(token).subject == "user-1"
    head, _, signature = token.rpartition(".")
    flipped = bytearray(unsegment(signature))
    flipped[10] ^= 1
    assert type(refused(lambda: subject.verify(f"{head}.{segment(bytes(flipped))}"))) is BadSignature


def test_the_table_holds_exactly_the_algorithms_promised() -> None:
    assert set(ALGORITHMS) == {
        *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        *("ES256", "ES384", "ES512", "EdDSA"),
    }


# ------------------------------------------------------------------------------------------- shape


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "1 segments"),
        ("abcd", "1 segments"),
        (f"{HEADER}.{PAYLOAD}", "2 segments"),
        (f"{GOOD}.", "4 segments"),
        (f"{GOOD}.{SIGNATURE}", "4 segments"),
        (f"{HEADER}.{HEADER}.{PAYLOAD}.{PAYLOAD}.{SIGNATURE}", "5 segments"),  # a JWE's shape
        (f".{PAYLOAD}.{SIGNATURE}", "the header is empty"),
        (f"{HEADER}..{SIGNATURE}", "the payload is empty"),
        (f"{HEADER}.{PAYLOAD}.", "the signature is empty"),
        ("..", "the payload is empty"),
        (f"{GOOD}=", "base64url"),
        (f"{GOOD}==", "base64url"),
        (f"{HEADER}=.{PAYLOAD}.{SIGNATURE}", "base64url"),
        (f"{GOOD}!!!!", "base64url"),
        (f" {GOOD}", "base64url"),
        (f"{GOOD}\n", "base64url"),
        (f"{GOOD[:40]} {GOOD[40:]}", "base64url"),
        (f"{GOOD[:40]}\x00{GOOD[40:]}", "base64url"),
        (f"{GOOD[:-4]}+/+/", "base64url"),
        (f"{GOOD}é", "not ASCII"),
        (f"{GOOD}\ud800", "not ASCII"),
        ('{"payload":"","signatures":[]}', "1 segments"),  # JSON serialization
        ("Bearer " + GOOD, "base64url"),
        (GOOD.encode(), "not a str"),
        (None, "not a str"),
        (17, "not a str"),
    ],
)
def test_another_shape_is_refused(token: Any, why: str) -> None:
    assert why in detail(token)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_segment_with_stray_bits_or_an_impossible_length_is_refused(part: int) -> None:
    parts = ["e30", "e30", "e30"]
    parts[part] = "e31"  # decodes to the same bytes as e30 where stray bits are forgiven
    assert "not canonical" in detail(".".join([segment(unsegment(HEADER)), *parts[1:]]) if part else ".".join(parts))
    parts[part] = "e30e3"
    assert "not canonical" in detail(".".join([segment(unsegment(HEADER)), *parts[1:]]) if part else ".".join(parts))


def test_every_other_spelling_of_the_last_character_is_refused() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same = [c for c in alphabet if c != GOOD[-1] and unsegment(SIGNATURE[:-1] + c) == unsegment(SIGNATURE)]
    assert len(same) == 15  # a 256-byte signature leaves four bits unused
    assert all("not canonical" in detail(GOOD[:-1] + character) for character in same)


def test_a_token_over_the_limit_is_refused_before_any_work() -> None:
    assert detail("x" * 16_385) == "not a str, or longer than max_token_bytes=16384"
    assert "segments" in detail("x" * 16_384)


def test_the_limit_is_configurable() -> None:
    small = local_issuer().verifier(max_token_bytes=len(GOOD) - 1)
    exact = local_issuer().verifier(max_token_bytes=len(GOOD))
    assert refused(lambda: small.verify(GOOD)).detail == f"not a str, or longer than max_token_bytes={len(GOOD) - 1}"
    assert exact.verify(GOOD).subject == "user-1"


# ------------------------------------------------------------------------------------------ header


@pytest.mark.parametrize(
    "alg", ["none", "None", "nOnE", "NONE", "", "rs256", "RS256 ", "HS1", "ES256K", None, 1, ["RS256"], {}]
)
def test_an_algorithm_outside_the_table_is_refused(alg: Any) -> None:
    assert "is not one that is verified here" in detail(with_header(alg=alg))


def test_alg_none_with_any_signature_or_without_one_is_refused() -> None:
    for header in ('{"alg":"none"}', '{"alg":"nOnE","typ":"JWT"}'):
        assert "is not one that is verified here" in detail(f"{segment(header)}.{PAYLOAD}.{SIGNATURE}")
        assert "is not one that is verified here" in detail(f"{segment(header)}.{PAYLOAD}.{segment(b'x')}")
        assert detail(f"{segment(header)}.{PAYLOAD}.")


@pytest.mark.parametrize("crit", [[], ["exp"], ["alg"], ["b64"], ["kid"], "exp", None, {}, 0])
def test_every_crit_is_refused(crit: Any) -> None:
    assert "critical header" in detail(with_header(crit=crit))


@pytest.mark.parametrize("b64", [False, 0, None, "false", "true", 1])
def test_an_unencoded_payload_is_refused(b64: Any) -> None:
    assert "b64" in detail(with_header(b64=b64))


@pytest.mark.parametrize("member", ["zip", "enc"])
def test_compression_and_encryption_are_refused(member: str) -> None:
    assert detail(with_header(**{member: "DEF"}))


@pytest.mark.parametrize("member", ["kid", "typ"])
@pytest.mark.parametrize("value", [1, ["a"], {}, True])
def test_kid_and_typ_are_strings(member: str, value: Any) -> None:
    assert detail(with_header(**{member: value})) == "kid or typ is not a string"


def test_keys_in_the_header_are_neither_used_nor_fetched() -> None:
    mallory = key("RS256", 2)
    with local_issuer().serve():  # an address that would answer
        elsewhere = local_issuer()
        with elsewhere.serve() as url:
            jku = url + "jwks.json"
            for members in (
                {"jwk": mallory.public_jwk()},
                {"jku": jku},
                {"x5u": jku},
                {"x5c": ["MIIB"]},
                {"jku": jku, "kid": mallory.key_id},
            ):
                token = sign({"alg": "RS256", "kid": "RS256-1", **members}, CLAIMS, mallory)
                assert isinstance(refused(VERIFIER.verify, token), BadSignature | UnknownKey)
        assert elsewhere.requests == []


# -------------------------------------------------------------------------------------------- JSON

BAD_JSON = {
    "not UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "UTF-8 of a surrogate": b'{"a":"\xed\xa0\x80"}',
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-32": '{"a":1}'.encode("utf-32"),
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b'{"a":-Infinity}',
    "an overflowing number": b'{"a":1e999}',
    "a negative overflowing number": b'{"a":-1e999}',
    "an integer of 21 digits": b'{"a":' + b"9" * 21 + b"}",
    "an integer of 21 digits within": b'{"a":[[1,{"b":[' + b"9" * 21 + b"]}]]}",
    "an integer of 21 digits in an array": b'{"a":[[-' + b"9" * 21 + b"]]}",
    "an integer of 4000 digits": b'{"a":-' + b"9" * 4000 + b"}",
    "an integer of 5000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "a duplicate member": b'{"a":1,"a":1}',
    "a duplicate member, escaped": b'{"a":1,"\\u0061":1}',
    "a duplicate member within": b'{"b":{"a":1,"a":2}}',
    "a duplicate member in an array": b'{"b":[[{"a":1,"a":2}]]}',
    "17 levels": b'{"a":' + b"[" * 16 + b"]" * 16 + b"}",
    "5000 levels": b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "1500 objects": b'{"a":' * 1500 + b"1" + b"}" * 1500,
    "unclosed levels": b"[" * 10_000,
    "a lone surrogate": b'{"a":"\\ud800"}',
    "a lone surrogate as a name": b'{"\\udfff":1}',
    "a lone surrogate within": b'{"a":[{"b":"x\\uDC00"}]}',
    "an array": b"[]",
    "a string": b'"x"',
    "null": b"null",
    "true": b"true",
    "a number": b"1",
    "nothing": b" ",
    "a trailing comma": b'{"a":1,}',
    "a missing value": b'{"a":}',
    "a missing value within": b'{"a":[1,]}',
    "an object behind another": b'{"a":1}{"a":2}',
    "two values": b"{}{}",
    "junk behind": b"{}x",
    "a NUL behind": b"{}\x00",
    "a raw control character": b'{"a":"\x01"}',
    "single quotes": b"{'a':1}",
    "a comment": b'{"a":1/**/}',
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_a_payload_or_header_that_is_no_strict_json_object_is_refused(name: str) -> None:
    payload = sign({"alg": "RS256", "kid": "RS256-1"}, BAD_JSON[name], key())
    header = sign(BAD_JSON[name], CLAIMS, key())
    assert detail(payload).startswith("the payload is not")
    assert detail(header).startswith("the header is not")


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":' + b"[" * 15 + b"]" * 15 + b"}",
        b'{"a":"' + b"[{" * 500 + b'"}',
        b'{"a":"\\ud83d\\ude00"}',
        b'{"a":"\\\\ud800"}',
    ],
)
def test_depth_sixteen_brackets_in_strings_and_whole_surrogate_pairs_are_fine(data: bytes) -> None:
    assert parse_object(data, "payload") == json.loads(data)


def test_an_unterminated_string_is_scanned_once_and_not_from_every_escaped_quote() -> None:
    hostile = "[" * 17 + '"' + '\\"' * 6000
    assert len(list(_STRING_OR_BRACKET.finditer(hostile))) == 18
    refused(lambda: parse_object(hostile.encode(), "payload"))


def test_an_error_never_quotes_the_token() -> None:
    for name, data in BAD_JSON.items():
        error = refused(parse_object, data, "payload")
        assert len(error.detail) < 100, name


# ---------------------------------------------------------------------------------- key and header


def test_the_headers_alg_must_be_the_keys_own() -> None:
    keys = JWKS({"keys": [key().public_jwk()]})
    subject = JWTVerifier(keys=keys, issuer=ISSUER, audience=AUDIENCE, clock=lambda: NOW)
    for alg in ("RS512", "PS256", "ES256", "HS256", "EdDSA"):
        assert type(refused(subject.verify, with_header(alg=alg))) is UnknownKey


def test_a_public_key_is_never_an_hmac_secret() -> None:
    jwk = key().public_jwk()
    subject = JWTVerifier(keys=JWKS({"keys": [jwk]}), issuer=ISSUER, audience=AUDIENCE, clock=lambda: NOW)
    for secret in (json.dumps(jwk).encode(), jwk["n"].encode(), unsegment(jwk["n"])):
        signing_input = f"{segment({'alg': 'HS256', 'kid': jwk['kid']})}.{PAYLOAD}"
        forged = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
        assert type(refused(subject.verify, f"{signing_input}.{segment(forged)}")) is UnknownKey


@pytest.mark.parametrize(
    "signature", [b"\0" * 64, b"\0" * 63, b"\xff" * 64, b"\0", b"\x30\x06\x02\x01\x01\x02\x01\x01"]
)
def test_a_hostile_ecdsa_signature_is_refused(signature: bytes) -> None:
    issuer = local_issuer("ES256")
    head = issuer.token().rpartition(".")[0]
    assert type(refused(lambda: issuer.verifier().verify(f"{head}.{segment(signature)}"))) is BadSignature


# --------------------------------------------------------------------------------------- any bytes


@given(st.integers(0, len(GOOD) - 1), st.characters(codec="ascii"))
def test_any_character_of_a_good_token_changed_is_refused(position: int, character: str) -> None:
    changed = GOOD[:position] + character + GOOD[position + 1 :]
    if changed != GOOD:
        refused(lambda: VERIFIER.verify(changed))


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_any_byte_of_a_good_token_flipped_is_refused(position: int, mask: int) -> None:
    changed = bytearray(GOOD.encode())
    changed[position] ^= mask
    refused(lambda: VERIFIER.verify(changed.decode("latin-1")))


@given(st.sampled_from([0, 1, 2]), st.integers(0, 2**16), st.integers(1, 255))
def test_any_byte_of_a_decoded_segment_flipped_is_refused(part: int, position: int, mask: int) -> None:
    parts = [HEADER, PAYLOAD, SIGNATURE]
    data = bytearray(unsegment(parts[part]))
    data[position % len(data)] ^= mask
    parts[part] = segment(bytes(data))
    refused(lambda: VERIFIER.verify(".".join(parts)))


ANYTHING = st.one_of(
    st.text(),
    st.text(alphabet=st.characters(exclude_categories=())),
    st.binary(),
    st.from_regex(r"[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}"),
    st.tuples(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40)).map(
        lambda parts: ".".join(map(segment, parts))
    ),
)


@given(ANYTHING)
@example("\ud800")
@example(".\ud800.")
def test_anything_at_all_is_an_auth_error_or_a_token(anything: Any) -> None:
    with contextlib.suppress(AuthError):
        VERIFIER.verify(anything)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CLAIM_NAMES = st.sampled_from(
    [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "sid",
        "scope",
        "scp",
        "typ",
        "token_use",
        "cnf",
        "client_id",
        "azp",
    ]
)


@given(
    st.dictionaries(CLAIM_NAMES, JSON),
    st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "zip"]), JSON),
)
def test_any_signed_claims_and_any_header_are_an_auth_error_or_a_token(
    claims: dict[str, Any], header: dict[str, Any]
) -> None:
    token = sign({"alg": "RS256", "kid": "RS256-1", **header}, {**CLAIMS, **claims}, key())
    with contextlib.suppress(AuthError):
        VERIFIER.verify(token)


@given(st.binary(max_size=200))
def test_parsing_json_from_any_bytes_is_an_object_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedToken):
        assert isinstance(parse_object(data, "payload"), dict)


def test_what_is_parsed_is_what_was_sent() -> None:
    parsed = parse(GOOD, max_bytes=16_384)
    assert (parsed.header.algorithm.name, parsed.header.kid, parsed.header.typ) == ("RS256", "RS256-1", "at+jwt")
    assert (parsed.payload, parsed.signature) == (unsegment(PAYLOAD), unsegment(SIGNATURE))
    assert parsed.signing_input == f"{HEADER}.{PAYLOAD}".encode()


# ------------------------------------------------------------------------------ the check by itself


@pytest.mark.parametrize("verdict", [False, True, 1, "yes", RuntimeError("x"), TypeError("x"), LookupError("x")])
def test_a_check_says_yes_by_returning_nothing_and_anything_else_is_no(verdict: Any) -> None:
    def check(_signature: bytes, _signing_input: bytes) -> Any:
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    header, some_key = parse(GOOD, max_bytes=16_384).header, VerificationKey("k", None, "RSA", None, 2048, None)
    known = _Known(header, KeySet([some_key]), some_key, check)
    assert type(refused(VERIFIER._accept, b"", 0, split(GOOD.encode()), known)) is BadSignature


@pytest.mark.parametrize(
    "wrong",
    [
        VerificationKey(None, "PS256", "RSA", None, 2048, None),
        VerificationKey(None, None, "EC", None, 2048, None),
        VerificationKey(None, None, "RSA", "P-256", 2048, None),
        VerificationKey(None, None, "RSA", None, 2047, None),
    ],
)
def test_a_key_that_does_not_serve_the_algorithm_checks_nothing(wrong: VerificationKey) -> None:
    assert "does not serve" in refused(make_check, ALGORITHMS["RS256"], wrong).detail


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_check_takes_what_pyjwt_signs_and_nothing_that_differs_by_a_bit(algorithm: str) -> None:
    row = ALGORITHMS[algorithm]
    if row.kty == "oct":
        private: Any = b"s" * 64
        public = private
    else:
        private = PrivateKey.generate(algorithm)._signing_material
        public = private.public_key()
    check = row.make_check(public)
    signature = row.implementation.sign(b"signed", private)
    assert check(signature, b"signed") is None
    flipped = bytes([signature[0], *signature[1:-1], signature[-1] ^ 1])
    for forged in ((flipped, b"signed"), (signature, b"signeD"), (signature[:-1], b"signed"), (b"", b"signed")):
        with pytest.raises((InvalidSignature, ValueError)):
            check(*forged)
    with pytest.raises((InvalidSignature, ValueError)):
        check(signature + b"\0", b"signed")


def test_the_identity_of_a_token_without_id_is_the_digest_of_header_and_payload() -> None:
    token = local_issuer().token(without=["jti"])
    digest = hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()
    assert VERIFIER.verify(token).token_key == "sha256:" + digest
