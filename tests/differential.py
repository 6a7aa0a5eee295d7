"""Odd tokens through this library, PyJWT, joserfc and Authlib; `python -m tests.differential` writes the table.

Each library is set up as its documentation shows for a resource server: the issuer's key set, one algorithm,
`iss` and `aud`. A row whose defect lies in the set-up brings a set-up of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import jwt as pyjwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwe as joserfc_jwe
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey, RSAKey

from graphql_authkit import JWKS, JWTVerifier, PublicKey, SecretKey
from graphql_authkit.errors import AuthError, ConfigurationError
from graphql_authkit.keys.jwk import public_jwk
from graphql_authkit.testing import sign
from tests.support import AUDIENCE, ISSUER, Clock, key, segment, unsegment

with warnings.catch_warnings():
    from authlib.deprecate import AuthlibDeprecationWarning

    # Of authlib.jose, which is deprecated and still what much of the field runs.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.common.errors import AuthlibBaseError
    from authlib.jose import JsonWebKey, JsonWebToken

TABLE = Path(__file__).resolve().parents[1] / "docs" / "differential.md"
LIBRARIES = ("graphql-authkit", "PyJWT", "joserfc", "Authlib")
OWN_ERRORS: dict[str, type[Exception] | tuple[type[Exception], ...]] = {
    "graphql-authkit": (AuthError, ConfigurationError),
    "PyJWT": pyjwt.PyJWTError,
    "joserfc": JoseError,
    "Authlib": AuthlibBaseError,
}

ABSENT = "n/a"

Check: TypeAlias = Callable[[str], object]
Jwk: TypeAlias = dict[str, Any]


# -------------------------------------------------------------------------------------- the set-ups


@dataclass(frozen=True, slots=True)
class Setting:
    """How each library is set up: called, it gives what checks a token. Without one it takes no part."""

    checks: Mapping[str, Callable[[], Check]]


class _Client(pyjwt.PyJWKClient):
    """PyJWT's client for key sets, with the set in memory instead of behind a URL."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(ISSUER + "jwks.json")
        self._document = document

    def fetch_data(self) -> Any:
        return self._document


def by_pyjwt(find: Callable[[str], Any], algorithms: Iterable[str], audience: Any = AUDIENCE) -> Check:
    def check(token: str) -> object:
        return pyjwt.decode(token, find(token), algorithms=list(algorithms), audience=audience, issuer=ISSUER)

    return check


def by_joserfc(found: Any, algorithms: Iterable[str], audience: Any = AUDIENCE) -> Check:
    wanted = {"values": audience} if isinstance(audience, list) else {"value": audience}
    options: dict[str, Any] = {"iss": {"essential": True, "value": ISSUER}, "aud": {"essential": True, **wanted}}
    claims = joserfc_jwt.JWTClaimsRegistry(**options)

    def check(token: str) -> object:
        verified = joserfc_jwt.decode(token, found, algorithms=list(algorithms)).claims
        claims.validate(verified)
        return verified

    return check


def by_authlib(found: Any, algorithms: Iterable[str], audience: Any = AUDIENCE) -> Check:
    wanted = {"values": audience} if isinstance(audience, list) else {"value": audience}
    options = {"iss": {"essential": True, "value": ISSUER}, "aud": {"essential": True, **wanted}}
    decoder = JsonWebToken(list(algorithms))

    def check(token: str) -> object:
        return decoder.decode(token, found, claims_options=options).validate()

    return check


def key_set(entries: list[Jwk], algorithms: tuple[str, ...] = ("RS256",), audience: Any = AUDIENCE) -> Setting:
    document: Any = {"keys": entries}

    def find(token: str) -> Any:
        return _Client(document).get_signing_key_from_jwt(token)

    def ours() -> Check:
        return JWTVerifier(keys=JWKS(document), issuer=ISSUER, audience=audience, algorithms=algorithms).verify

    return Setting(
        {
            "graphql-authkit": ours,
            "PyJWT": lambda: by_pyjwt(find, algorithms, audience),
            "joserfc": lambda: by_joserfc(KeySet.import_key_set(document), algorithms, audience),
            "Authlib": lambda: by_authlib(JsonWebKey.import_key_set(document), algorithms, audience),
        }
    )


def secret(material: bytes) -> Setting:
    """The bytes as an HMAC secret."""
    return Setting(
        {
            "graphql-authkit": lambda: JWTVerifier(keys=SecretKey(material), issuer=ISSUER, audience=AUDIENCE).verify,
            "PyJWT": lambda: by_pyjwt(lambda _token: material, ["HS256"]),
            "joserfc": lambda: by_joserfc(OctKey.import_key(material), ["HS256"]),
            "Authlib": lambda: by_authlib(material, ["HS256"]),
        }
    )


def two_families() -> Setting:
    """A public key in PEM, and RS256 and HS256 both permitted."""
    both, pem = ("RS256", "HS256"), public_pem()

    def ours() -> Check:
        keys = PublicKey(pem, algorithm="RS256")
        return JWTVerifier(keys=keys, issuer=ISSUER, audience=AUDIENCE, algorithms=both).verify

    return Setting(
        {
            "graphql-authkit": ours,
            "PyJWT": lambda: by_pyjwt(lambda _token: pem, both),
            "joserfc": lambda: by_joserfc(RSAKey.import_key(pem), both),
            "Authlib": lambda: by_authlib(pem, both),
        }
    )


def after_another(first: str, *, later: float = 0.0) -> Setting:
    """This library's cache: the first token is verified, time passes, and then comes the row's."""

    def ours() -> Check:
        clock = Clock(time.time())
        verifier = JWTVerifier(keys=JWKS({"keys": [issuer_jwk()]}), issuer=ISSUER, audience=AUDIENCE, clock=clock)

        def check(token: str) -> object:
            verifier.verify(first)
            clock.now += later
            return verifier.verify(token)

        return check

    return Setting({"graphql-authkit": ours})


def issuer_jwk() -> Jwk:
    return key().public_jwk()


def public_pem() -> bytes:
    return public_bytes(serialization.Encoding.PEM)


def public_bytes(encoding: serialization.Encoding) -> bytes:
    private: Any = serialization.load_pem_private_key(key().pem().encode(), password=None)
    formats = serialization.PublicFormat
    ssh = encoding is serialization.Encoding.OpenSSH
    data: bytes = private.public_key().public_bytes(encoding, formats.OpenSSH if ssh else formats.SubjectPublicKeyInfo)
    return data


# --------------------------------------------------------------------------------------- the tokens


@dataclass(frozen=True, slots=True)
class Row:
    """A token, what is wrong with it, and how the libraries are set up when it comes."""

    name: str
    description: str
    token: str
    setting: Setting


NOW = int(time.time())
HEADER = {"alg": "RS256", "kid": "RS256-1", "typ": "at+jwt"}
CLAIMS = {"iss": ISSUER, "sub": "user-1", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 3600, "jti": "1"}
DEFAULT = key_set([issuer_jwk()])
EVIL = "https://evil.test/"


def signed(header: Mapping[str, Any] | bytes | None = None, payload: Mapping[str, Any] | bytes | None = None) -> str:
    """Signed by the issuer; members and claims are put over the good ones, bytes stand for the whole."""
    return sign(
        header if isinstance(header, bytes) else {**HEADER, **(header or {})},
        payload if isinstance(payload, bytes) else {**CLAIMS, **(payload or {})},
        key(),
    )


def without(*names: str) -> str:
    return sign(
        {name: value for name, value in HEADER.items() if name not in names},
        {name: value for name, value in CLAIMS.items() if name not in names},
        key(),
    )


def members(text: str, good: Mapping[str, Any] | None = None) -> bytes:
    """The good claims as JSON text with members written behind them, duplicates and all."""
    return f"{json.dumps(CLAIMS if good is None else good)[:-1]},{text}}}".encode()


def nested(good: Mapping[str, Any], depth: int) -> bytes:
    return members('"x":' + "[" * depth + "]" * depth, good)


def dated(exp: str) -> bytes:
    return members(f'"exp":{exp}', {name: value for name, value in CLAIMS.items() if name != "exp"})


def mac(material: bytes, **header: Any) -> str:
    head = f"{segment({'alg': 'HS256', 'kid': 'RS256-1', 'typ': 'at+jwt', **header})}.{segment(CLAIMS)}"
    return f"{head}.{segment(hmac.new(material, head.encode(), hashlib.sha256).digest())}"


GOOD = signed()
HEAD, BODY, SIGNATURE = GOOD.split(".")
FORGED = segment({**CLAIMS, "sub": "admin"})


def signatures() -> list[Row]:
    other = sign(HEADER, {**CLAIMS, "sub": "admin"}, key("RS256", 2))
    es_key, es_head = key("ES256"), {"alg": "ES256", "kid": "ES256-1"}
    es_setting = key_set([es_key.public_jwk()], ("ES256",))
    es_good = sign(es_head, CLAIMS, es_key)
    raw = unsegment(es_good.rpartition(".")[2])
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    es_input = es_good.rpartition(".")[0]
    tokens = {
        "alg none, no signature": (
            "CVE-2026-28802",
            f"{segment({**HEADER, 'alg': 'none'})}.{FORGED}.",
        ),
        "alg none, some signature": (
            "bytes where the signature belongs",
            f"{segment({**HEADER, 'alg': 'none'})}.{FORGED}.AAAA",
        ),
        "alg nOnE": ("a spelling that a block list misses", f"{segment({**HEADER, 'alg': 'nOnE'})}.{FORGED}."),
        "no alg": ("the header names no algorithm", without("alg")),
        "alg is an array": ('`{"alg":["RS256"]}`', signed({"alg": ["RS256"]})),
        "alg is an object": ('`{"alg":{}}`', signed({"alg": {}})),
        "no signature": ("RS256 and an empty last segment", f"{HEAD}.{FORGED}."),
        "another key's signature": ("the kid is the issuer's, the signature is not", other),
        "another payload": ("the signature is of other claims", f"{HEAD}.{FORGED}.{SIGNATURE}"),
        "RS512 where RS256 is permitted": ("the issuer's key, not the algorithm", signed({"alg": "RS512"})),
        "HS256 keyed with the public key": ("CVE-2016-10555; only RS256 is permitted", mac(public_pem())),
    }
    return [
        *(Row(name, description, token, DEFAULT) for name, (description, token) in tokens.items()),
        Row("ECDSA, all zeros", "CVE-2022-21449", f"{es_input}.{segment(bytes(64))}", es_setting),
        Row(
            "ECDSA, DER",
            "the signature in another encoding: a second spelling",
            f"{es_input}.{segment(der)}",
            es_setting,
        ),
    ]


def serializations() -> list[Row]:
    plain = next(
        token for number in itertools.count() if "-" in (token := signed(None, {"jti": str(number)})).rpartition(".")[2]
    )
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    flattened = {"payload": BODY, "protected": HEAD, "signature": SIGNATURE}
    polyglot = f'{{"  {HEAD}.{FORGED}.":"","protected":"{HEAD}","payload":"{BODY}","signature":"{SIGNATURE}"}}'
    public, jwe_header = RSAKey.import_key(public_pem()), {"alg": "RSA-OAEP", "enc": "A128GCM", "kid": "RS256-1"}
    encrypted = joserfc_jwe.encrypt_compact(jwe_header, json.dumps({**CLAIMS, "sub": "admin"}), public)
    bomb = joserfc_jwe.encrypt_compact({**jwe_header, "zip": "DEF"}, json.dumps({"x": "y" * 2**20}), public)
    tokens = {
        "stray bits in the signature": (
            "non-canonical base64url: a second spelling",
            GOOD[:-1] + alphabet[alphabet.index(GOOD[-1]) + 1],
        ),
        "padding": ("`==` behind the signature: a second spelling (CVE-2026-62995)", GOOD + "=="),
        "junk behind": ("`!!!!` behind the signature: a second spelling (CVE-2026-102269)", GOOD + "!!!!"),
        "a line feed behind": ("a second spelling", GOOD + "\n"),
        "a space within": ("in the signature: a second spelling", f"{GOOD[:-9]} {GOOD[-9:]}"),
        "the other alphabet": (
            "`+` and `/` for `-` and `_` in the signature: a second spelling",
            plain.rpartition(".")[0] + "." + plain.rpartition(".")[2].replace("-", "+").replace("_", "/"),
        ),
        "a fourth segment": ("another signature behind the first", f"{GOOD}.{SIGNATURE}"),
        "two segments": ("no signature and no dot for it", f"{HEAD}.{BODY}"),
        "a letter é within": ("a character that is not ASCII", GOOD + "é"),
        "a lone surrogate within": ("a str that no encoding takes", GOOD + "\ud800"),
        "JSON serialization": ("flattened, with a good signature", json.dumps(flattened)),
        "JSON, no signatures": (
            "a loop over nothing finds nothing wrong (CVE-2026-96760, CVE-2026-102946)",
            json.dumps({"payload": FORGED, "signatures": []}),
        ),
        "compact and JSON at once": ("one part is verified, another read (CVE-2022-39227)", polyglot),
        "JWE, compressed": ("a MiB in a KiB (CVE-2025-62706, CVE-2024-33664)", bomb),
        "JWE": ("anybody can encrypt to a public key (CVE-2022-3102)", encrypted),
    }
    return [Row(name, description, token, DEFAULT) for name, (description, token) in tokens.items()]


def headers() -> list[Row]:
    mallory = key("RS256", 2)
    embedded = {**HEADER, "jwk": mallory.public_jwk()}
    tokens = {
        "unknown crit": ("CVE-2026-32597, CVE-2025-59420", signed({"crit": ["x"], "x": 1})),
        "crit: []": ("RFC 7515, section 4.1.11 forbids an empty list", signed({"crit": []})),
        "crit: [alg]": ("a registered name may not be listed", signed({"crit": ["alg"]})),
        "crit: 5": ("no array at all", signed({"crit": 5})),
        "b64: false": ("without crit", signed({"b64": False})),
        "b64: false, crit": (
            "RFC 7797: the payload is the text as it stands (CVE-2026-48990)",
            signed({"crit": ["b64"], "b64": False}),
        ),
        "zip": ("compression, which a JWS does not know", signed({"zip": "DEF"})),
        "embedded jwk": (
            "signed by the key that the header brings (CVE-2026-27962)",
            sign(embedded, {**CLAIMS, "sub": "admin"}, mallory),
        ),
        "jku": (
            "the header says where to find the key",
            sign({**HEADER, "jku": EVIL, "x5u": EVIL}, {**CLAIMS, "sub": "admin"}, mallory),
        ),
        "duplicate alg": (
            "none, then RS256",
            signed(b'{"alg":"none","alg":"RS256","kid":"RS256-1","typ":"at+jwt"}'),
        ),
        "duplicate kid": ("one reader's kid is not another's", signed(b'{"alg":"RS256","kid":"evil","kid":"RS256-1"}')),
        "kid is a path": ("`../../dev/null`", signed({"kid": "../../dev/null"})),
        "kid is SQL": ("`' OR 1=1 --`", signed({"kid": "' OR 1=1 --"})),
        "kid is an array": ('`{"kid":["RS256-1"]}`', signed({"kid": ["RS256-1"]})),
        "kid is an object": ('`{"kid":{}}`', signed({"kid": {}})),
        "typ is a number": ('`{"typ":1}`', signed({"typ": 1})),
        "header is an array": ("`[]`", signed(b"[]")),
        "header nested 100 000 deep": ("CVE-2026-102265", signed(nested(HEADER, 100_000))),
        "header nested 45 000 deep": ("the same in a token of 120 KiB", signed(nested(HEADER, 45_000))),
    }
    return [Row(name, description, token, DEFAULT) for name, (description, token) in tokens.items()]


def kinds() -> list[Row]:
    backchannel: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    tokens = {
        "typ: logout+jwt": ("a logout token as access token (RFC 8725, section 3.11)", signed({"typ": "logout+jwt"})),
        "typ: dpop+jwt": ("a DPoP proof", signed({"typ": "dpop+jwt"})),
        "typ: secevent+jwt": ("a security event", signed({"typ": "secevent+jwt"})),
        "events": ("a logout token without its typ", signed({"typ": "JWT"}, {"events": backchannel})),
        "payload typ: ID": ("Keycloak's ID token", signed({"typ": "JWT"}, {"typ": "ID"})),
        "payload typ: Refresh": ("Keycloak's refresh token", signed({"typ": "JWT"}, {"typ": "Refresh"})),
        "token_use: id": ("Cognito's ID token", signed({"typ": "JWT"}, {"token_use": "id"})),
        "cnf": ("bound to a key (RFC 9449), sent as Bearer", signed(None, {"cnf": {"jkt": "x" * 43}})),
    }
    return [Row(name, description, token, DEFAULT) for name, (description, token) in tokens.items()]


def payloads() -> list[Row]:
    text = json.dumps(CLAIMS)
    tokens = {
        "duplicate aud": ("evil, then good", signed(None, b'{"aud":"' + EVIL.encode() + b'",' + text[1:].encode())),
        "duplicate sub": ("the good one, then admin", signed(None, members('"sub":"admin"'))),
        "a claim NaN": ("no JSON", signed(None, members('"x":NaN'))),
        "a claim Infinity": ("no JSON", signed(None, members('"x":Infinity'))),
        "a claim 1e999": ("JSON, and infinite when read", signed(None, members('"x":1e999'))),
        "UTF-16": ("JSON on the wire is UTF-8 (RFC 8259, section 8.1)", signed(None, text.encode("utf-16"))),
        "a byte order mark": ("RFC 8259, section 8.1 forbids it", signed(None, b"\xef\xbb\xbf" + text.encode())),
        "not UTF-8": ("a byte 0xff", signed(None, text.encode()[:-1] + b',"x":"\xff"}')),
        "an array": ("every check of a claim skipped (CVE-2026-107723)", signed(None, f"[{text}]".encode())),
        "a string": ('`"x"`', signed(None, b'"x"')),
        "no JSON": ("`hello`", signed(None, b"hello")),
        "nested 100 000 deep": ("CVE-2026-101918", signed(None, nested(CLAIMS, 100_000))),
        "nested 45 000 deep": ("the same in a token of 120 KiB", signed(None, nested(CLAIMS, 45_000))),
        "forged and nested 45 000 deep": (
            "the same, by anybody",
            f"{HEAD}.{segment(nested(CLAIMS, 45_000))}.{SIGNATURE}",
        ),
        "1 MiB": ("CVE-2025-61920", signed(None, {"x": "y" * 2**20})),
        "sub with a lone surrogate": ("breaks logs and databases later", signed(None, members('"sub":"\\ud800"'))),
        "sub with a NUL": ("`admin\\u0000`", signed(None, {"sub": "admin\x00"})),
        "sub is a number": ("`1`", signed(None, {"sub": 1})),
        "no sub": ("nobody in particular", without("sub")),
    }
    return [Row(name, description, token, DEFAULT) for name, (description, token) in tokens.items()]


def dates() -> list[Row]:
    tokens = {
        "expired": ("an hour ago", signed(None, {"exp": NOW - 3600})),
        "no exp": ("good for ever", without("exp")),
        "exp: null": ("there, and no date", signed(None, dated("null"))),
        "exp: true": ("a bool counts as 1 in Python", signed(None, dated("true"))),
        "exp is a string": (f'`"{"9" * 10}"`', signed(None, dated(f'"{"9" * 10}"'))),
        "exp is an array": ("a good date in it", signed(None, dated(f"[{NOW + 3600}]"))),
        "exp: NaN": ("compares as neither past nor future", signed(None, dated("NaN"))),
        "exp: Infinity": ("good for ever", signed(None, dated("Infinity"))),
        "exp: 1e999": ("good for ever, in JSON's own spelling", signed(None, dated("1e999"))),
        "exp of 400 digits": ("more than a float holds", signed(None, dated("9" * 400))),
        "exp of 5000 digits": ("more than `int` takes from text", signed(None, dated("9" * 5000))),
        "exp in the year 33658": ("milliseconds taken for seconds", signed(None, dated(str(10**12)))),
        "nbf in an hour": ("not yet good", signed(None, {"nbf": NOW + 3600})),
        "nbf: true": ("a bool counts as 1 in Python", signed(None, {"nbf": True})),
        "nbf is a string": ('`"1"`', signed(None, {"nbf": "1"})),
        "iat in an hour": ("dated ahead: outlives a revocation of all before now", signed(None, {"iat": NOW + 3600})),
        "iat: true": ("a bool counts as 1 in Python", signed(None, {"iat": True})),
        "iat is a string": ('`"1"`', signed(None, {"iat": "1"})),
    }
    return [Row(name, description, token, DEFAULT) for name, (description, token) in tokens.items()]


def parties() -> list[Row]:
    tokens = {
        "another iss": ("somebody else's token", signed(None, {"iss": EVIL})),
        "no iss": ("nobody's token", without("iss")),
        "iss is a list": ("good and evil (CVE-2026-75509)", signed(None, {"iss": [ISSUER, EVIL]})),
        "iss is a part": ("a prefix of the expected one (CVE-2024-53861)", signed(None, {"iss": ISSUER[:-1]})),
        "iss: null": ("there, and nobody", signed(None, {"iss": None})),
        "another aud": ("meant for another server", signed(None, {"aud": EVIL})),
        "no aud": ("meant for no server in particular", without("aud")),
        "aud is a part": ("a prefix of the expected one", signed(None, {"aud": AUDIENCE[:-3]})),
        "aud is two in one string": (
            "the expected one, a space and another",
            signed(None, {"aud": f"{AUDIENCE} {EVIL}"}),
        ),
        "aud: []": ("meant for nobody", signed(None, {"aud": []})),
        "aud is an object": ("the expected one as a member's name", signed(None, {"aud": {AUDIENCE: True}})),
        "aud holds a number": ("the expected one and 1", signed(None, {"aud": [AUDIENCE, 1]})),
    }
    return [Row(name, description, token, DEFAULT) for name, (description, token) in tokens.items()]


def set_ups() -> list[Row]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        small_token = pyjwt.encode(CLAIMS, small, "RS256", {"kid": "RS256-1", "typ": "at+jwt"})
    small_jwk = {**public_jwk(small.public_key()), "kid": "RS256-1", "alg": "RS256", "use": "sig"}
    pem, der = public_pem(), public_bytes(serialization.Encoding.DER)
    bom, ssh = b"\xef\xbb\xbf" + pem, public_bytes(serialization.Encoding.OpenSSH)
    jwk_text, set_text = json.dumps(issuer_jwk()).encode(), json.dumps({"keys": [issuer_jwk()]}).encode()
    twin = {**key("RS256", 2).public_jwk(), "kid": "RS256-1"}
    encryption = {**issuer_jwk(), "use": "enc"}
    other_alg = key_set([issuer_jwk()], ("PS256",))
    return [
        Row("RS256 and HS256 permitted", "HMAC with the PEM public key (CVE-2022-29217)", mac(pem), two_families()),
        Row("PEM as secret", "CVE-2017-11424", mac(pem), secret(pem)),
        Row("indented PEM as secret", "CVE-2026-34950, CVE-2026-102268", mac(b"\n  " + pem), secret(b"\n  " + pem)),
        Row("DER as secret", "CVE-2026-85394", mac(der), secret(der)),
        Row("PEM behind a byte order mark as secret", "CVE-2026-102268", mac(bom), secret(bom)),
        Row("OpenSSH key as secret", "CVE-2024-33663", mac(ssh), secret(ssh)),
        Row("JWK as secret", "CVE-2026-48526", mac(jwk_text), secret(jwk_text)),
        Row("JWK Set as secret", "CVE-2026-102273", mac(set_text), secret(set_text)),
        Row("empty secret", "CVE-2026-102266, CVE-2026-114616", mac(b""), secret(b"")),
        Row("secret of 5 bytes", "RFC 7518, section 3.2 asks for 32", mac(b"short"), secret(b"short")),
        Row("RSA key of 1024 bits", "RFC 7518, section 3.3 asks for 2048", small_token, key_set([small_jwk])),
        Row("key for encryption", "its use is enc", GOOD, key_set([encryption])),
        Row(
            "PS256 permitted, key says RS256", "signed with RS256 (CVE-2026-48523)", signed({"alg": "PS256"}), other_alg
        ),
        Row("two keys with one kid", "which one is meant?", GOOD, key_set([issuer_jwk(), twin])),
        Row(
            "empty list of audiences",
            "CVE-2026-114618",
            signed(None, {"aud": EVIL}),
            key_set([issuer_jwk()], audience=[]),
        ),
    ]


def remembered() -> list[Row]:
    no_iat = without("iat")
    changed = f"{HEAD}.{BODY}.{segment(bytes(reversed(unsegment(SIGNATURE))))}"
    return [
        Row(
            "expired since it was cached",
            "CVE-2026-107719: the token has no iat",
            no_iat,
            after_another(no_iat, later=7200),
        ),
        Row("another signature than the cached", "CVE-2026-35039: a cache's key", changed, after_another(GOOD)),
        Row("another payload than the cached", "CVE-2026-35039", f"{HEAD}.{FORGED}.{SIGNATURE}", after_another(GOOD)),
        Row("another spelling of the cached", "padding", GOOD + "==", after_another(GOOD)),
    ]


BROKEN = {"kty": "RSA", "kid": "broken", "alg": "RS256", "use": "sig", "n": "AQAB", "e": "!"}
CONTROLS = [
    Row("a good token", "nothing", GOOD, DEFAULT),
    Row(
        "a good token, a broken key in the set",
        "one entry of many (CVE-2026-102274)",
        GOOD,
        key_set([BROKEN, issuer_jwk()]),
    ),
]
SECTIONS: dict[str, list[Row]] = {
    "Signature and algorithm": signatures(),
    "Serialization": serializations(),
    "Header": headers(),
    "Kind of token": kinds(),
    "Payload": payloads(),
    "Dates": dates(),
    "Issuer and audience": parties(),
    "Set-up": set_ups(),
    "Cache": remembered(),
}
ROWS = [row for rows in SECTIONS.values() for row in rows]


# -------------------------------------------------------------------------------------- the outcome


def outcome(library: str, row: Row) -> str:
    """`accepted`, `refused: ` its own error, `refused at set-up: `, `crashed: ` anybody's error, or n/a."""
    make = row.setting.checks.get(library)
    if make is None:
        return ABSENT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            check = make()
        except Exception as error:
            return f"refused at set-up: {_name(error)}"
        try:
            check(row.token)
        except OWN_ERRORS[library] as error:
            return f"refused: {type(error).__name__}"
        except Exception as error:
            return f"crashed: {_name(error)}"
    return "accepted"


def _name(error: Exception) -> str:
    """A class of the standard library or of somebody else's goes by its module too."""
    module, name = type(error).__module__, type(error).__name__
    own = module == "builtins" or isinstance(error, (AuthError, ConfigurationError, pyjwt.PyJWTError, JoseError))
    return name if own else f"{module}.{name}"


@cache
def outcomes(row_name: str) -> tuple[str, ...]:
    """Of every library, in their order."""
    row = next(row for row in (*CONTROLS, *ROWS) if row.name == row_name)
    return tuple(outcome(library, row) for library in LIBRARIES)


def versions() -> str:
    shown = [f"{name} {version(name)}" for name in ("PyJWT", "joserfc", "Authlib", "cryptography")]
    return f"Versions: {', '.join(shown)}, Python {platform.python_version()}."


def table() -> str:
    """The page, the same in every run with the same versions."""
    heading = ["| Token | What is wrong |", *(f" {library} |" for library in LIBRARIES)]
    head = ["".join(heading), "|---|---|" + "---|" * len(LIBRARIES)]
    lines = [_INTRODUCTION, versions(), "", _summary(), "", *head, *map(_line, CONTROLS)]
    for title, rows in SECTIONS.items():
        lines += ["", f"## {title}", "", *head, *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _summary() -> str:
    counts = []
    for index, library in enumerate(LIBRARIES):
        found = [outcomes(row.name)[index].partition(":")[0] for row in ROWS]
        run = len(found) - found.count(ABSENT)
        counts.append(f"| {library} | {run} | {found.count('accepted')} | {found.count('crashed')} |")
    return "\n".join(["| Library | Odd tokens | accepted | crashed |", "|---|---|---|---|", *counts])


def _line(row: Row) -> str:
    cells = [row.name, row.description, *map(_shown, outcomes(row.name))]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(cell: str) -> str:
    word, colon, name = cell.partition(": ")
    loud = word in ("accepted", "crashed")
    return (f"**{word}**" if loud else word) + (f": {name}" if colon else "")


_INTRODUCTION = """\
# Odd tokens, four libraries

The same token goes to this library, PyJWT, joserfc and Authlib. Each has something wrong with it, and no resource
server should act on one; the first table alone holds good ones. Most are signed by the issuer's own key, as an issuer
with a fault would sign them; the others are what anybody can make without it.
`python -m tests.differential` writes this page, and a test compares it with what the installed versions do now.

Each library is set up as its documentation shows: the issuer's key set, RS256 alone, the expected `iss` and `aud`
(PyJWT: `PyJWKClient` and `jwt.decode`; joserfc: `jwt.decode` and `JWTClaimsRegistry`; Authlib: `JsonWebToken.decode`
and `validate`). What an application could add, such as a list of required claims or a look at `typ`, is not added.
Under "Set-up" the defect lies in the set-up itself, and each row has its own; a library that looks at a key only when
a token comes can refuse it only then.

*refused* names the library's own error. *crashed* names a foreign one, which `except` around the library's errors
does not catch, and which is a 500 where a 401 belongs. *refused at set-up* means that no verifier came to be.
"""


def main() -> None:
    """Write the page and show it."""
    text = table()
    TABLE.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
