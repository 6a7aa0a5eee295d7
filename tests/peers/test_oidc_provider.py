"""oidc-provider, a certified OpenID provider: its tokens, through both adapters, between real HTTP servers.

Node.js runs it; npm fetches it once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from tests.servers import SERVERS, Server, free_port, running
from tests.support import segment, unsegment

HERE = Path(__file__).parent
CLIENT = ("robot-1", "a-fixed-secret-that-guards-nothing")
API, OTHER = "https://api.test/graphql", "https://other.test/graphql"
GRANTED = (200, {"data": {"me": "robot-1"}})

Serve = Callable[..., AbstractContextManager[Server]]
Ask = Callable[..., httpx2.Response]


class Provider:
    """A running oidc-provider, as a client of it sees it."""

    def __init__(self, server: Server, http: httpx2.Client) -> None:
        self.issuer = server.url
        self._http = http

    def token(self, resource: str | None = API) -> str:
        """An access token by the client credentials grant (RFC 6749, section 4.4; RFC 8707)."""
        form = {"grant_type": "client_credentials", "scope": "read"} | ({"resource": resource} if resource else {})
        response = self._http.post(f"{self.issuer}/token", data=form, auth=CLIENT).raise_for_status()
        token: str = response.json()["access_token"]
        return token

    def rotate(self, *, drop: bool = False) -> None:
        """Sign with a new key from now on; the old one stays published unless dropped."""
        self._http.post(f"{self.issuer}/control/rotate{'?drop' if drop else ''}").raise_for_status()

    def fetched(self) -> list[str]:
        """The paths that anyone fetched from it so far."""
        paths: list[str] = self._http.get(f"{self.issuer}/control/fetched").json()
        return paths


def provider_at(port: int) -> AbstractContextManager[Server]:
    return running(["node", HERE / "provider.mjs", str(port)], port=port)


@pytest.fixture(scope="module")
def steady(packages: None, http: httpx2.Client) -> Iterator[Provider]:
    """A provider that is never rotated."""
    with provider_at(free_port()) as server:
        yield Provider(server, http)


@pytest.fixture
def provider(packages: None, http: httpx2.Client) -> Iterator[Provider]:
    """A provider for one test, to do with as it likes."""
    with provider_at(free_port()) as server:
        yield Provider(server, http)


class Absent(NamedTuple):
    """A provider that has gone: its place, and a token it left behind."""

    port: int
    issuer: str
    token: str


@pytest.fixture(scope="module")
def absent(packages: None, http: httpx2.Client) -> Absent:
    port = free_port()
    with provider_at(port) as server:
        return Absent(port, server.url, Provider(server, http).token())


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def interface(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def serve(interface: str) -> Serve:
    """Starts the API for an issuer, by uvicorn or by gunicorn."""

    def start(issuer: str, **env: str) -> AbstractContextManager[Server]:
        return SERVERS[interface](f"tests.peers.apps:{interface}", env={"ISSUER": issuer, **env})

    return start


@pytest.fixture(scope="module")
def api(serve: Serve, steady: Provider) -> Iterator[Server]:
    """The API, for the provider that is never rotated."""
    with serve(steady.issuer) as server:
        yield server


@pytest.fixture(scope="session")
def ask(http: httpx2.Client) -> Ask:
    """Asks an API who is calling."""

    def post(api: Server, token: str | None = None) -> httpx2.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return http.post(f"{api.url}/graphql", json={"query": "{ me }"}, headers=headers)

    return post


def seen(response: httpx2.Response) -> tuple[int, object]:
    """The status, and what was answered: the body of a success, the challenges of a refusal."""
    return response.status_code, response.json() if response.is_success else challenges(response)


def challenges(response: httpx2.Response) -> list[str]:
    return response.headers.get_list("WWW-Authenticate")


def invalid_token(description: str) -> tuple[int, list[str]]:
    """What `seen` gives for a token that is refused (RFC 6750, section 3)."""
    return 401, [f'Bearer realm="GraphQL", error="invalid_token", error_description="{description}"']


def with_subject(token: str, subject: str) -> str:
    """The token with another subject, under the signature it had."""
    header, payload, signature = token.split(".")
    return f"{header}.{segment({**json.loads(unsegment(payload)), 'sub': subject})}.{signature}"


def with_bit_flipped(token: str) -> str:
    """The token with one bit of its signature the other way round."""
    signed, _, signature = token.rpartition(".")
    first, *rest = unsegment(signature)
    return f"{signed}.{segment(bytes([first ^ 1, *rest]))}"


def test_no_token_is_answered_with_the_bare_challenge(api: Server, ask: Ask) -> None:
    assert seen(ask(api)) == (401, ['Bearer realm="GraphQL"'])


def test_the_providers_token_says_who_is_calling(api: Server, ask: Ask, steady: Provider) -> None:
    assert seen(ask(api, steady.token())) == GRANTED


def test_a_token_for_another_resource_is_invalid(api: Server, ask: Ask, steady: Provider) -> None:
    assert seen(ask(api, steady.token(OTHER))) == invalid_token("The access token is not acceptable here.")


def test_an_opaque_token_of_the_provider_is_invalid(api: Server, ask: Ask, steady: Provider) -> None:
    assert seen(ask(api, steady.token(resource=None))) == invalid_token("The access token is invalid.")


def test_a_tampered_payload_is_invalid(api: Server, ask: Ask, steady: Provider) -> None:
    tampered = with_subject(steady.token(), "robot-2")
    assert seen(ask(api, tampered)) == invalid_token("The access token is invalid.")


def test_a_tampered_signature_is_invalid_also_once_the_true_token_is_known(
    api: Server, ask: Ask, steady: Provider
) -> None:
    token = steady.token()
    answers = [seen(ask(api, token)), seen(ask(api, with_bit_flipped(token))), seen(ask(api, token))]
    assert answers == [GRANTED, invalid_token("The access token is invalid."), GRANTED]


def test_servers_that_log_everything_print_no_part_of_a_token(api: Server, ask: Ask, steady: Provider) -> None:
    tokens = [steady.token(), steady.token(OTHER), with_bit_flipped(steady.token())]
    assert [ask(api, token).status_code for token in tokens] == [200, 401, 401]
    output = api.output()
    assert "graphql_authkit" in output
    assert [part for token in tokens for part in token.split(".") if part in output] == []


def test_the_rfc9068_profile_accepts_the_providers_token(serve: Serve, ask: Ask, steady: Provider) -> None:
    with serve(steady.issuer, PROFILE="rfc9068") as api:
        assert seen(ask(api, steady.token())) == GRANTED


def test_after_a_rotation_old_and_new_tokens_pass_and_all_callers_share_one_refetch(
    serve: Serve, ask: Ask, provider: Provider
) -> None:
    old = provider.token()
    with serve(provider.issuer) as api, ThreadPoolExecutor(8) as callers:
        first = seen(ask(api, old))
        provider.rotate()
        new = provider.token()
        answers = list(callers.map(lambda token: seen(ask(api, token)), [new, old] * 8))
        assert [first, *answers] == [GRANTED] * 17
        assert provider.fetched() == ["/.well-known/openid-configuration", "/jwks", "/jwks"]


def test_a_token_whose_key_was_dropped_is_invalid_once_the_new_keys_are_known(
    serve: Serve, ask: Ask, provider: Provider
) -> None:
    old = provider.token()
    with serve(provider.issuer) as api:
        first = seen(ask(api, old))
        provider.rotate(drop=True)
        answers = [first, seen(ask(api, provider.token())), seen(ask(api, old))]
        assert answers == [GRANTED, GRANTED, invalid_token("The access token is invalid.")]


def test_while_the_provider_was_never_reached_nobody_is_called_invalid(serve: Serve, ask: Ask, absent: Absent) -> None:
    with serve(absent.issuer) as api:
        response = ask(api, absent.token)
        fields = response.headers
        assert (response.status_code, fields.get("Retry-After"), challenges(response)) == (503, "5", [])


def test_servers_that_started_before_the_provider_find_it_by_themselves(
    serve: Serve, ask: Ask, absent: Absent, http: httpx2.Client
) -> None:
    with serve(absent.issuer) as api:
        before = ask(api, absent.token).status_code
        with provider_at(absent.port) as server:
            token = Provider(server, http).token()
            deadline = time.monotonic() + 15
            while (after := ask(api, token)).status_code == 503 and time.monotonic() < deadline:
                time.sleep(0.02)  # the pause after a failed fetch is the server's own, in its own process
        assert (before, seen(after)) == (503, GRANTED)
