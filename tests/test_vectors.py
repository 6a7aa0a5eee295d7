"""Every published vector is judged as its label says, or as `vectors/disagreements.json` says and why.

The vectors are signatures over payloads that are rarely claims, so they meet the parser, the choice of key
and the signature check; the claims policy has tests of its own. An encrypted token is no JWS: whatever its
authors say of its decryption, here it must be refused.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graphql_authkit import JWKS
from graphql_authkit._algorithms import ALGORITHMS, make_check
from graphql_authkit._jws import parse
from graphql_authkit.errors import AuthError, BadSignature, ConfigurationError, MalformedToken
from graphql_authkit.keys import thumbprint
from graphql_authkit.keys.jwk import read_set
from tests.support import segment, unsegment

FOLDER = Path(__file__).parent / "vectors"
MAX_BYTES = 16_384
PUBLIC_MEMBERS = {
    "oct": ("k",),
    "RSA": ("n", "e"),
    "EC": ("crv", "x", "y"),
    "OKP": ("crv", "x"),
}
COMMON_MEMBERS = ("kty", "kid", "use", "key_ops", "alg")


@dataclass(frozen=True, slots=True)
class Vector:
    """One token, or where there is none one key, and what its authors say of it."""

    file: str
    name: str
    valid: bool
    token: str | None
    keys: tuple[dict[str, Any], ...]
    encrypted: bool = False

    @property
    def id(self) -> str:
        return f"{self.file}:{self.name}"


@dataclass(frozen=True, slots=True)
class Verdict:
    accepted: bool
    detail: str = ""
    error: type[Exception] | None = None


# ------------------------------------------------------------------------------------ reading files


def public_half(jwk: dict[str, Any]) -> dict[str, Any]:
    members = (*COMMON_MEMBERS, *PUBLIC_MEMBERS[jwk["kty"]])
    return {name: value for name, value in jwk.items() if name in members}


def as_token(value: Any) -> str:
    """A JSON serialization reaches a server as text."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def as_keys(value: Any) -> tuple[dict[str, Any], ...]:
    if isinstance(value, list):
        return tuple(value)
    return tuple(value["keys"]) if "keys" in value else (value,)


def wycheproof(path: Path) -> Iterator[Vector]:
    document = json.loads(path.read_text())
    file = str(path.relative_to(FOLDER))
    for group in document["testGroups"]:
        keys = as_keys(group["public"] if "public" in group else group["private"])
        for test in group["tests"]:
            assert test["result"] in ("valid", "invalid")
            if "jws" in test:
                yield Vector(file, str(test["tcId"]), test["result"] == "valid", as_token(test["jws"]), keys)
            else:
                mine = tuple(public_half(key) for key in keys)
                yield Vector(file, str(test["tcId"]), False, as_token(test["jwe"]), mine, encrypted=True)


def key_vectors(file: str, entries: tuple[dict[str, Any], ...]) -> Iterator[Vector]:
    for number, jwk in enumerate(entries):
        yield Vector(file, f"key {number}", True, None, (jwk,))
        if "d" in jwk:
            yield Vector(file, f"key {number}, public half", True, None, (public_half(jwk),))


def rfc7515(path: Path) -> Iterator[Vector]:
    """RFC 7515's and 7517's appendices: a token in one file, its key in the file of the same name."""
    file = str(path.relative_to(FOLDER))
    if path.suffix in (".jwk", ".jwkset"):
        yield from key_vectors(file, as_keys(json.loads(path.read_text())))
    elif path.suffix in (".jwsc", ".jwsg", ".jwsf"):
        beside = next((p for p in (path.with_suffix(".jwk"), path.with_suffix(".jwkset")) if p.exists()), None)
        keys = as_keys(json.loads((beside or path.with_name("rfc7515_A.1.jwk")).read_text()))
        yield Vector(file, "token", True, path.read_text().strip(), tuple(map(public_half, keys)))


def cookbook(path: Path) -> Iterator[Vector]:
    document = json.loads(path.read_text())
    file = str(path.relative_to(FOLDER))
    if "kty" in document:
        yield from key_vectors(file, (document,))
        return
    parts = {"": document} if "input" in document else {"sign ": document["sign"], "encrypt ": document["encrypt"]}
    for prefix, part in parts.items():
        keys = tuple(map(public_half, as_keys(part["input"].get("key", []))))
        encrypted = "enc" in part["input"]
        for form, value in part["output"].items():
            if form in ("compact", "json", "json_flat"):
                yield Vector(file, prefix + form, not encrypted, as_token(value), keys, encrypted)


def vectors() -> list[Vector]:
    return [
        *(vector for path in sorted((FOLDER / "wycheproof").glob("*.json")) for vector in wycheproof(path)),
        *(vector for path in sorted((FOLDER / "rfc7515").iterdir()) for vector in rfc7515(path)),
        *(vector for path in sorted((FOLDER / "cookbook").rglob("*.json")) for vector in cookbook(path)),
    ]


def disagreements() -> dict[str, dict[str, Any]]:
    entries = json.loads((FOLDER / "disagreements.json").read_text())
    listed = [(f"{entry['file']}:{name}", entry) for entry in entries for name in entry["vectors"]]
    assert [name for name, count in Counter(name for name, _ in listed).items() if count > 1] == []
    return dict(listed)


VECTORS = vectors()
DISAGREEMENTS = disagreements()

# ------------------------------------------------------------------------------------------ judging


def judge(vector: Vector) -> Verdict:
    """Our own verdict. Anything but an error of ours passes through and fails the test."""
    if vector.token is None:
        usable, left_out = read_set({"keys": list(vector.keys)}, symmetric=True)
        return Verdict(bool(usable), "".join(left_out))
    try:
        check(vector.token, vector.keys)
    except (AuthError, ConfigurationError) as error:
        detail = error.detail if isinstance(error, AuthError) else str(error)
        return Verdict(False, detail, type(error))
    return Verdict(True)


def check(token: str, entries: tuple[dict[str, Any], ...]) -> None:
    parsed = parse(token, max_bytes=MAX_BYTES)
    keys = JWKS({"keys": list(entries)}).key_set()
    # A key that states no algorithm serves those configured; here, to be lenient, all that its type has.
    nameless = {key.kty for key in keys.keys if key.alg is None}
    permitted = {row.name for row in ALGORITHMS.values() if row.kty in nameless}
    stated = {key.alg for key in keys.keys if key.alg is not None}
    chosen = keys.select(parsed.header, frozenset(permitted | stated) if nameless else None)
    if chosen is None:
        raise BadSignature(f"no key with kid {parsed.header.kid!r}")
    check_signature = make_check(parsed.header.algorithm, chosen)
    try:
        check_signature(parsed.signature, parsed.signing_input)
    except Exception as error:
        raise BadSignature(type(error).__name__) from error


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.id)
def test_a_vector_is_judged_as_labelled_or_as_a_listed_disagreement_says(vector: Vector) -> None:
    verdict = judge(vector)
    listed = DISAGREEMENTS.get(vector.id)
    if listed is None:
        assert verdict.accepted == vector.valid, verdict.detail
    else:
        assert listed["label"] == ("valid" if vector.valid else "invalid")
        assert verdict.accepted != vector.valid, "it no longer disagrees: take it off the list"
        assert listed["reason"]
        assert verdict.accepted or listed["detail"] in verdict.detail


def test_every_listed_disagreement_names_a_vector_and_what_the_library_says() -> None:
    assert sorted(set(DISAGREEMENTS) - {vector.id for vector in VECTORS}) == []
    assert all(entry["detail"] for entry in DISAGREEMENTS.values() if entry["label"] == "valid")


def test_no_vector_of_any_file_is_left_out() -> None:
    counted = Counter(vector.file for vector in VECTORS)
    for path in FOLDER.rglob("*"):
        file = str(path.relative_to(FOLDER))
        if path.is_dir() or path.name.startswith("LICENSE") or path.name in ("README.md", "disagreements.json"):
            continue
        if path.parent.name == "wycheproof":
            assert counted[file] == json.loads(path.read_text())["numberOfTests"]
        elif path.suffix != ".thp":
            assert counted[file] > 0, file
    assert len({vector.id for vector in VECTORS}) == len(VECTORS)


def test_an_encrypted_token_is_refused_by_the_parser_whatever_keys_there_are() -> None:
    encrypted = [vector for vector in VECTORS if vector.encrypted]
    assert len(encrypted) > 150
    assert {judge(vector).error for vector in encrypted} == {MalformedToken}


def test_an_accepted_vector_with_any_one_bit_of_its_signature_flipped_is_refused() -> None:
    accepted = [vector for vector in VECTORS if vector.token is not None and judge(vector).accepted]
    assert len(accepted) > 40
    for number, vector in enumerate(accepted):
        head, _, signature = str(vector.token).rpartition(".")
        data = bytearray(unsegment(signature))
        data[number % len(data)] ^= 1 << number % 8
        with pytest.raises(BadSignature):
            check(f"{head}.{segment(bytes(data))}", vector.keys)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("rfc7515/rfc7638_3.1.jwk", (FOLDER / "rfc7515/rfc7638_3.1.thp").read_text().strip()),
        ("cookbook/curve25519/jws.json", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),  # RFC 8037, appendix A.3
    ],
)
def test_a_thumbprint_is_the_rfcs(file: str, expected: str) -> None:
    document = json.loads((FOLDER / file).read_text())
    jwk = document if "kty" in document else document["input"]["key"]
    assert thumbprint(jwk) == expected
    assert thumbprint(public_half(jwk)) == expected
