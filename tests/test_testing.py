"""The testing kit does what it says: an issuer in process and over HTTP, and tokens with any defect."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from graphql_authkit import JWTVerifier, SecretKey
from graphql_authkit.errors import BadSignature, MalformedToken, TokenExpired, UnknownKey
from graphql_authkit.testing import LocalIssuer, sign
from tests.support import refused


def test_its_tokens_verify_in_process() -> None:
    issuer = LocalIssuer()
    token = issuer.verifier().verify(issuer.token("alice", scopes=["read", "write"]))
    assert (token.subject, sorted(token.scopes), token.issuer) == ("alice", ["read", "write"], "https://issuer.test/")


def test_its_tokens_verify_over_http_through_discovery_and_after_a_rotation() -> None:
    issuer = LocalIssuer()
    with issuer.serve() as url:
        subject = JWTVerifier.from_issuer(url, audience=issuer.audience)
        before = issuer.token("before")
        assert subject.verify(before).issuer == url
        issuer.rotate()
        assert subject.verify(issuer.token("after")).subject == "after"
        assert subject.verify(before).subject == "before"
        issuer.retired.clear()
        assert len(json.load(urllib.request.urlopen(url + "jwks.json"))["keys"]) == 1
    assert issuer.issuer == "https://issuer.test/"


def test_other_paths_are_not_found() -> None:
    with LocalIssuer().serve() as url, pytest.raises(urllib.error.HTTPError, match="404") as caught:
        urllib.request.urlopen(url + "other")
    caught.value.close()


def test_each_defect_is_had_for_the_asking() -> None:
    issuer = LocalIssuer()
    subject = issuer.verifier()
    assert type(refused(lambda: subject.verify(issuer.token(lifetime=-10)))) is TokenExpired
    assert type(refused(lambda: subject.verify(issuer.token(key=LocalIssuer().key)))) is BadSignature
    assert type(refused(lambda: subject.verify(issuer.token(header={"alg": "none"})))) is MalformedToken
    assert type(refused(lambda: subject.verify(issuer.token(header={"kid": "x"})))) is UnknownKey
    assert refused(lambda: subject.verify(issuer.token(without=["aud"]))).reason == "CLAIM_REJECTED"


def test_anything_can_be_signed() -> None:
    secret = SecretKey("s" * 32)
    assert sign(b"\xff", {"a": 1}, secret).startswith("_w.eyJhIjoxfQ.")
