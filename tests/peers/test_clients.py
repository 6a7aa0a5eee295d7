"""urql and Apollo Client, as applications use them: what they show of a refusal, and that a refresh mends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

import pytest

from graphql_authkit.testing import LocalIssuer
from tests.peers.conftest import Script
from tests.peers.loopback import Handler, serving
from tests.servers import SERVERS, Server

TARGETS = {"asgi": "tests.peers.strawberry_apps:guarded", "wsgi": "tests.peers.ariadne_apps:wsgi"}
EXPIRED = {
    "message": "The access token expired.",
    "extensions": {"code": "UNAUTHENTICATED", "reason": "TOKEN_EXPIRED"},
}
SHOWN = {
    # urql reads the body of any answer that is JSON, and keeps the response beside it.
    "urql": {"name": "CombinedError", "status": 401, "errors": [EXPIRED], "networkError": None},
    # Apollo Client shows a body in GraphQL's own media type as GraphQL's errors, without the status …
    "apollo": {"name": "CombinedGraphQLErrors", "status": None, "errors": [EXPIRED], "body": None},
}
# … and leaves the parsing of any other to the application.
UNREAD = {
    "name": "ServerError",
    "status": 401,
    "errors": [],
    "body": json.dumps({"errors": [EXPIRED]}, separators=(",", ":")),
}


@pytest.fixture(scope="module", params=TARGETS)
def api(request: pytest.FixtureRequest, issuer: LocalIssuer) -> Iterator[Server]:
    with SERVERS[request.param](TARGETS[request.param], env={"ISSUER": issuer.issuer}) as server:
        yield server


@pytest.fixture(params=SHOWN)
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class TokenEndpoint:
    """Answers the refresh grant (RFC 6749, section 6) with one access token, and notes what it was asked."""

    def __init__(self, access_token: str) -> None:
        self.access_token = access_token
        self.asked: list[dict[str, str]] = []
        self.url = ""

    @contextmanager
    def serve(self) -> Iterator[TokenEndpoint]:
        endpoint = self

        class Grant(Handler):
            def do_POST(self) -> None:
                endpoint.asked.append(dict(parse_qsl(self.body().decode())))
                grant = {"access_token": endpoint.access_token, "token_type": "Bearer"}
                self.answer(200, "application/json", json.dumps(grant).encode())

        with serving(Grant) as origin:
            self.url = f"{origin}/token"
            yield self


REFRESHED = [{"grant_type": "refresh_token", "refresh_token": "kept-by-the-client"}]


def asks(script: Script, client: str, api: Server, token: str, endpoint: TokenEndpoint, accept: str = "") -> Any:
    return script(
        f"{client}.mjs", url=f"{api.url}/graphql", token=token, tokenEndpoint=endpoint.url, accept=accept or None
    )


def test_a_client_reads_why_its_token_is_refused_refreshes_it_and_gets_the_data_by_its_one_retry(
    client: str, api: Server, script: Script, issuer: LocalIssuer
) -> None:
    with TokenEndpoint(issuer.token("alice")).serve() as endpoint:
        found = asks(script, client, api, issuer.token("alice", lifetime=-3600), endpoint)
    assert found == {"refusal": SHOWN[client], "data": {"me": "alice"}, "error": None, "statuses": [401, 200]}
    assert endpoint.asked == REFRESHED


def test_a_client_whose_new_token_is_refused_too_stops_and_shows_its_caller_why(
    client: str, api: Server, script: Script, issuer: LocalIssuer
) -> None:
    expired = issuer.token("alice", lifetime=-3600)
    with TokenEndpoint(expired).serve() as endpoint:
        found = asks(script, client, api, expired, endpoint)
    assert found == {"refusal": SHOWN[client], "data": None, "error": SHOWN[client], "statuses": [401, 401]}
    assert endpoint.asked == REFRESHED


def test_a_client_with_a_good_token_never_sees_a_refusal(
    client: str, api: Server, script: Script, issuer: LocalIssuer
) -> None:
    with TokenEndpoint(issuer.token("mallory")).serve() as endpoint:
        found = asks(script, client, api, issuer.token("alice"), endpoint)
    assert found == {"refusal": None, "data": {"me": "alice"}, "error": None, "statuses": [200]}
    assert endpoint.asked == []


def test_a_client_told_to_accept_plain_json_alone_is_shown_the_reason_by_urql_and_the_raw_body_by_apollo(
    api: Server, script: Script, issuer: LocalIssuer
) -> None:
    expired = issuer.token("alice", lifetime=-3600)
    with TokenEndpoint(issuer.token("alice")).serve() as endpoint:
        urql, apollo = (
            asks(script, client, api, expired, endpoint, "application/json") for client in ("urql", "apollo")
        )
    assert urql == {"refusal": SHOWN["urql"], "data": {"me": "alice"}, "error": None, "statuses": [401, 200]}
    assert apollo == {"refusal": UNREAD, "data": None, "error": UNREAD, "statuses": [401]}
    assert endpoint.asked == REFRESHED
