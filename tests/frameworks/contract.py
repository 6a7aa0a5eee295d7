"""What every framework must do on a real server behind the middleware: one class of tests, run for each."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest

from graphql_authkit.testing import LocalIssuer
from tests.frameworks.parts import ASYNC_PARTIES
from tests.servers import Server
from tests.support import AUDIENCE, ISSUER, key

IDP = LocalIssuer(ISSUER, audience=AUDIENCE, key=key("ES256"))
ENV = {"AUTHKIT_JWKS": json.dumps(IDP.jwks()), "AUTHKIT_ISSUER": ISSUER, "AUTHKIT_AUDIENCE": AUDIENCE}
CONCURRENT = ASYNC_PARTIES
FROZEN = "the context is frozen"
CONTEXT_WRITES = ("replace item", "replace attribute", "add item", "add attribute", "delete item")

BAD_TOKENS = {
    "expired": (IDP.token("alice", lifetime=-60), "TOKEN_EXPIRED"),
    "for another audience": (IDP.token("alice", claims={"aud": "https://other.test/"}), "CLAIM_REJECTED"),
    "of another issuer": (IDP.token("alice", claims={"iss": "https://other.test/"}), "CLAIM_REJECTED"),
    "signed by someone else": (IDP.token("alice", key=key("ES256", 2)), "INVALID_TOKEN"),
}


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.fields = {name.lower(): value for name, value in response.getheaders()}
        self.json = json.loads(response.read())

    @property
    def data(self) -> Any:
        """What the resolvers said; an answer that has errors instead fails the test."""
        assert (self.status, self.json.get("errors")) == (200, None)
        return self.json["data"]

    @property
    def message(self) -> str:
        """The one error of an operation whose field is null."""
        assert (self.status, set((self.json["data"] or {}).values()) - {None}) == (200, set())
        (error,) = self.json["errors"]
        return str(error["message"])


def exchange(server: Server, method: str, path: str, body: str | None, token: str | None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, path, body, headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


class FrameworkContract:
    """Subclass it, and give `serve` and what is to be expected at `/bare`.

    `/graphql` gives the framework a frozen context that it is asked for (a context getter, or whatever it is
    called there); `/bare` leaves the framework its own. Both are guarded.

    Attributes:
        bare_kind: The type of context that resolvers get at `/bare`.
        bare_writes: What becomes there of each write: part of the error's message, or who is calling after
            it went through.
    """

    bare_kind: str
    bare_writes: Mapping[str, str]

    @staticmethod
    def serve() -> AbstractContextManager[Server]:
        raise AssertionError("a subclass says what to serve")

    def is_frozen(self, server: Server, path: str) -> None:
        """Fail unless the context that resolvers get at the path refuses every write."""
        assert self.ask(server, path, "{ kind }", IDP.token("alice")).data == {"kind": "FrozenContext"}
        for what in CONTEXT_WRITES:
            assert FROZEN in self.write(server, path, what).message, what

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[Server]:
        with cls.serve() as server:
            yield server

    def ask(self, server: Server, path: str, query: str, token: str | None = None, **variables: str) -> Answer:
        body = json.dumps({"query": query, "variables": variables})
        return exchange(server, "POST", path, body, token)

    def write(self, server: Server, path: str, what: str) -> Answer:
        return self.ask(server, path, "query ($what: String!) { write(what: $what) }", IDP.token("alice"), what=what)

    def count(self, server: Server) -> int:
        """How many requests got past the middleware; asked without a token, where it is public."""
        return int(exchange(server, "GET", "/count", None, None).json["count"])

    # ------------------------------------------------------------------------------------ the door

    @pytest.mark.parametrize("path", ["/graphql", "/bare", "/graphql/", "/GRAPHQL", "//graphql"])
    @pytest.mark.parametrize("query", ["{ me }", "query Login { me }", "{ __typename }", "not GraphQL"])
    def test_without_a_token_it_is_401_and_graphql_never_runs(self, server: Server, path: str, query: str) -> None:
        before = self.count(server)
        answer = self.ask(server, path, query)
        assert (answer.status, answer.fields["www-authenticate"]) == (401, 'Bearer realm="GraphQL"')
        assert answer.json["errors"][0]["extensions"]["reason"] == "MISSING_CREDENTIAL"
        assert self.count(server) == before

    def test_the_count_counts(self, server: Server) -> None:
        before = self.count(server)
        self.ask(server, "/graphql", "{ me }", IDP.token("alice"))
        self.ask(server, "/bare", "{ me }", IDP.token("alice"))
        assert self.count(server) == before + 2

    @pytest.mark.parametrize("defect", BAD_TOKENS)
    def test_a_bad_token_is_401_and_graphql_never_runs(self, server: Server, defect: str) -> None:
        token, reason = BAD_TOKENS[defect]
        before = self.count(server)
        answers = [self.ask(server, path, "{ me }", token) for path in ("/graphql", "/bare")]
        assert [(answer.status, answer.json["errors"][0]["extensions"]["reason"]) for answer in answers] == [
            (401, reason)
        ] * 2
        assert self.count(server) == before

    # -------------------------------------------------------------------------- who is calling

    @pytest.mark.parametrize("path", ["/graphql", "/bare"])
    def test_resolvers_know_who_is_calling(self, server: Server, path: str) -> None:
        for subject in ("alice", "bob"):
            answer = self.ask(server, path, "{ me caller }", IDP.token(subject))
            assert answer.data == {"me": subject, "caller": subject}

    @pytest.mark.parametrize("path", ["/graphql", "/bare"])
    def test_a_hundred_callers_at_once_each_get_their_own_answer(self, server: Server, path: str) -> None:
        subjects = [f"user-{number}" for number in range(CONCURRENT)]
        tokens = [IDP.token(subject) for subject in subjects]
        with ThreadPoolExecutor(CONCURRENT) as pool:
            answers = list(pool.map(lambda token: self.ask(server, path, "{ together }", token), tokens))
        assert [answer.data["together"].split() for answer in answers] == [[subject] * 4 for subject in subjects]

    # --------------------------------------------------------------------------------- what is frozen

    def test_the_context_that_was_frozen_stays_so(self, server: Server) -> None:
        self.is_frozen(server, "/graphql")

    @pytest.mark.parametrize("path", ["/graphql", "/bare"])
    def test_who_is_calling_is_frozen_whatever_the_context_is(self, server: Server, path: str) -> None:
        assert "an AuthContext is frozen: 'subject'" in self.write(server, path, "change subject").message
        assert "claims are frozen" in self.write(server, path, "change claim").message

    def test_the_request_in_a_frozen_context_stays_writable(self, server: Server) -> None:
        assert self.write(server, "/graphql", "change request").data == {"write": "written, and the caller is alice"}

    def test_the_frameworks_own_context_is_as_frozen_as_it_is(self, server: Server) -> None:
        assert self.ask(server, "/bare", "{ kind }", IDP.token("alice")).data == {"kind": self.bare_kind}
        for what, outcome in self.bare_writes.items():
            answer = self.write(server, "/bare", what)
            said = answer.message if "errors" in answer.json else answer.data["write"]
            assert outcome in said, what


WRITABLE_DICT = {
    "replace item": "written, and the caller is None",  # get_auth believes what the context says first
    "add item": "written, and the caller is alice",
    "delete item": "written, and the caller is alice",
    "change request": "written, and the caller is alice",
    "replace attribute": "'dict' object has no attribute",
    "add attribute": "'dict' object has no attribute",
}
"""A plain `{"request": …}` that no one froze: its items are anyone's, though not who is calling."""

NO_CONTEXT = {
    "replace item": "'NoneType' object does not support item assignment",
    "replace attribute": "'NoneType' object has no attribute",
}
"""Where there is no context there is nothing to write to, and `current_auth()` tells who is calling."""
