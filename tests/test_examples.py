"""The examples do what they say, on real servers, with a real issuer on loopback."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from graphql_authkit.testing import LocalIssuer
from tests.servers import Server, gunicorn_server, uvicorn_server

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
AUDIENCE = "https://api.example/graphql"
PREFLIGHT = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.fields = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(server: Server, query: str = "{ me }", token: str | None = None, method: str = "POST", **fields: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Content-Type": "application/json", **fields}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection.request(method, "/graphql", json.dumps({"query": query}), headers)
    answer = Answer(connection.getresponse())
    connection.close()
    return answer


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    issuer = LocalIssuer(audience=AUDIENCE)
    with issuer.serve():
        yield issuer


def served(name: str, issuer: LocalIssuer) -> AbstractContextManager[Server]:
    run = gunicorn_server if name == "plain_wsgi" else uvicorn_server
    return run(f"examples.{name}:app", env={"AUTHKIT_ISSUER": issuer.issuer, "AUTHKIT_AUDIENCE": AUDIENCE})


@pytest.mark.parametrize(
    ("name", "shown"), [("strawberry_fastapi", "alice"), ("ariadne_asgi", "Alice"), ("plain_wsgi", "alice")]
)
def test_an_example_guards_its_graphql_and_tells_resolvers_who_is_calling(
    name: str, shown: str, issuer: LocalIssuer
) -> None:
    with served(name, issuer) as server:
        refused = ask(server, "query Login { me }")
        assert (refused.status, refused.fields["www-authenticate"]) == (401, 'Bearer realm="GraphQL"')
        assert ask(server, token=issuer.token("alice")).json == {"data": {"me": shown}}
        assert ask(server, token=issuer.token("alice", lifetime=-60)).status == 401
        assert ask(server, token=issuer.token("alice", claims={"aud": "https://other/"})).status == 401


def test_a_browser_on_another_origin_gets_past_the_preflight_and_can_read_the_401(issuer: LocalIssuer) -> None:
    with served("strawberry_fastapi", issuer) as server:
        preflight = ask(
            server, method="OPTIONS", **PREFLIGHT, **{"Access-Control-Request-Headers": "authorization,content-type"}
        )
        assert (preflight.status, preflight.fields["access-control-allow-origin"]) == (200, "https://app.example")
        refused = ask(server, Origin="https://app.example")
        assert (refused.status, refused.fields["access-control-allow-origin"]) == (401, "https://app.example")
        assert refused.fields["access-control-expose-headers"] == "www-authenticate"


def test_a_field_that_a_known_caller_may_not_see_is_null_and_no_401(issuer: LocalIssuer) -> None:
    with served("strawberry_fastapi", issuer) as server:
        assert ask(server, "{ salary }", issuer.token("a")).json == {"data": {"salary": None}}
        allowed = issuer.token("a", scopes=["read:salary"])
        assert ask(server, "{ salary }", allowed).json == {"data": {"salary": 100_000}}


def test_the_wsgi_example_answers_a_bad_body_and_a_bad_query(issuer: LocalIssuer) -> None:
    with served("plain_wsgi", issuer) as server:
        token = issuer.token("a")
        assert ask(server, "{ nothing }", token).json["errors"][0]["message"].startswith("Cannot query field")
        assert ask(server, "{", token).json["errors"][0]["message"].startswith("Syntax Error")
        assert ask(server, "x" * 200_000, token).status == 400


def test_the_demo_prints_each_step_and_ends_well() -> None:
    shown = subprocess.run(
        [sys.executable, str(EXAMPLES / "quickstart.py")], capture_output=True, text=True, timeout=60, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    statuses = [line[2:5] for line in shown.stdout.splitlines() if line.startswith("< ") and line[2:5].isdigit()]
    assert statuses == ["401", "200", "401", "401", "401", "200"]
    assert "the crown jewels" not in shown.stdout


@pytest.mark.parametrize("name", ["strawberry_fastapi", "ariadne_asgi", "plain_wsgi"])
def test_an_example_app_stays_under_eighty_lines(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 80
