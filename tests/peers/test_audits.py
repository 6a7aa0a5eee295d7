"""graphql-http's audits, the reference for GraphQL over HTTP: the middleware changes no framework's results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from graphql_authkit.testing import LocalIssuer
from tests.peers.conftest import Script
from tests.servers import SERVERS, Server

FRAMEWORKS = {
    "strawberry-fastapi": ("asgi", "strawberry_apps:bare", "strawberry_apps:guarded"),
    "ariadne-asgi": ("asgi", "ariadne_apps:bare_asgi", "ariadne_apps:asgi"),
    "ariadne-wsgi": ("wsgi", "ariadne_apps:bare_wsgi", "ariadne_apps:wsgi"),
}
MISSING = {
    "message": "Authentication is required.",
    "extensions": {"code": "UNAUTHENTICATED", "reason": "MISSING_CREDENTIAL"},
}


class Twins(NamedTuple):
    """One app, without the middleware and with it."""

    bare: Server
    guarded: Server


@pytest.fixture(scope="module", params=FRAMEWORKS)
def twins(request: pytest.FixtureRequest, packages: None, issuer: LocalIssuer) -> Iterator[Twins]:
    interface, *targets = FRAMEWORKS[request.param]
    with ExitStack() as stack:
        env = {"ISSUER": issuer.issuer}
        yield Twins(*(stack.enter_context(SERVERS[interface](f"tests.peers.{name}", env=env)) for name in targets))


def audited(script: Script, server: Server, token: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = script("audit.mjs", url=f"{server.url}/graphql", token=token)
    return found


def test_behind_the_middleware_every_audit_finds_what_it_finds_without_it(
    twins: Twins, script: Script, issuer: LocalIssuer
) -> None:
    token = issuer.token()
    bare, guarded = (audited(script, server, token) for server in twins)
    assert Counter(audit["status"] for audit in bare)["ok"] > 30
    assert [(audit["id"], audit["status"]) for audit in guarded] == [(audit["id"], audit["status"]) for audit in bare]
    assert guarded == bare  # with all that the server answered: status, header fields and body


def test_without_a_token_every_request_of_the_audits_is_refused_in_the_media_type_it_accepts(
    twins: Twins, script: Script
) -> None:
    answers = [answer for audit in audited(script, twins.guarded, None) for answer in audit["answers"]]
    assert len(answers) > 60
    assert {answer["status"] for answer in answers} == {401}
    assert all(json.loads(answer["body"]) == {"errors": [MISSING]} for answer in answers)
    types = {answer["fields"]["content-type"] for answer in answers}
    assert types == {"application/json; charset=utf-8", "application/graphql-response+json; charset=utf-8"}
