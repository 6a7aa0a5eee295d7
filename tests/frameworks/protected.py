"""What every framework's protected schema must answer over HTTP: one class of tests, the same for each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from graphql_authkit.authorization import PUBLIC, requires
from tests.frameworks.contract import IDP, Answer, exchange
from tests.servers import Server

RULES = {
    "Query.hello": PUBLIC,
    "Mutation.login": PUBLIC,
    "User.email": requires("email"),
    "Robot": requires("robots"),
    "Account.number": requires("accounts"),
}
SDL = """
type Query { hello: String, me: User, users: [User], nodes: [Node], account: Account, ran: [String!] @public }
type Mutation { login: String, rename: User }
interface Node { id: String }
type User implements Node { id: String, name: String, email: String }
type Robot implements Node { id: String, serial: String }
type Account { id: String, number: String! }
"""


class ProtectedContract:
    """Subclass it, and give `serve`: the schema above, with the rules above, at `/graphql`, and a middleware with
    `optional=True`. Resolvers of root fields but `ran` note their names, which `ran` tells and forgets.
    """

    @staticmethod
    def serve() -> AbstractContextManager[Server]:
        raise AssertionError("a subclass says what to serve")

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[Server]:
        with cls.serve() as server:
            yield server

    def ask(self, server: Server, query: str, *scopes: str, anonymous: bool = False) -> Answer:
        token = None if anonymous else IDP.token("alice", scopes=list(scopes))
        return exchange(server, "POST", "/graphql", json.dumps({"query": query, "variables": {}}), token)

    def ran(self, server: Server) -> list[str]:
        found: list[str] = self.ask(server, "{ ran }").data["ran"]
        return found

    def errors(self, answer: Answer) -> list[tuple[list[str | int], str]]:
        return sorted((error["path"], error["extensions"]["code"]) for error in answer.json.get("errors", ()))

    def test_a_field_without_its_scope_is_null_with_its_path(self, server: Server) -> None:
        answer = self.ask(server, "{ users { name mail: email } }")
        assert answer.json["data"] == {"users": [{"name": "Ann", "mail": None}, {"name": "Bob", "mail": None}]}
        assert self.errors(answer) == [(["users", 0, "mail"], "FORBIDDEN")]

    def test_a_field_with_its_scope_is_there(self, server: Server) -> None:
        assert self.ask(server, "{ me { email } }", "email").data == {"me": {"email": "ann@example.com"}}

    def test_rows_of_a_guarded_type_are_null(self, server: Server) -> None:
        answer = self.ask(server, "{ nodes { __typename id } }")
        assert answer.json["data"] == {"nodes": [{"__typename": "User", "id": "1"}, None]}
        assert self.errors(answer) == [(["nodes", 1], "FORBIDDEN")]
        full = self.ask(server, "{ nodes { __typename id } }", "robots").data["nodes"]
        assert [row["__typename"] for row in full] == ["User", "Robot"]

    def test_what_would_be_null_is_not_resolved(self, server: Server) -> None:
        self.ran(server)
        answer = self.ask(server, "{ account { id number } hello }")
        assert answer.json["data"] == {"account": None, "hello": "hello"}
        assert self.errors(answer) == [(["account"], "FORBIDDEN")]
        assert self.ran(server) == ["hello"]

    def test_a_mutation_never_half_runs(self, server: Server) -> None:
        self.ran(server)
        answer = self.ask(server, "mutation { login rename { name email } }")
        assert answer.json["data"] == {"login": None, "rename": None}
        assert self.errors(answer) == [(["rename"], "FORBIDDEN")]
        assert self.ran(server) == []

    def test_an_anonymous_caller_runs_what_is_public(self, server: Server) -> None:
        assert self.ask(server, "mutation { login }", anonymous=True).data == {"login": "token"}

    @pytest.mark.parametrize(
        "query",
        [
            "query login { me { name } }",
            "mutation login { login rename { name } }",
            "mutation { login ...F } fragment F on Mutation { rename { name } }",
            "mutation { login: rename { name } }",
        ],
    )
    def test_an_anonymous_caller_runs_nothing_else(self, server: Server, query: str) -> None:
        self.ran(server)
        answer = self.ask(server, query, anonymous=True)
        assert (answer.status, set((answer.json["data"] or {"": None}).values())) == (200, {None})
        assert [code for _, code in self.errors(answer)] == ["UNAUTHENTICATED"]
        assert self.ran(server) == []


class Resolvers:
    """Root values by name; each notes that it was asked for."""

    def __init__(self) -> None:
        self._ran: list[str] = []

    def ran(self) -> list[str]:
        found, self._ran = self._ran, []
        return found

    def of(self, name: str) -> Any:
        self._ran.append(name)
        ann = {"type": "User", "id": "1", "name": "Ann", "email": "ann@example.com"}
        values: dict[str, Any] = {
            "hello": "hello",
            "login": "token",
            "me": ann,
            "rename": ann,
            "users": [ann, {**ann, "name": "Bob"}],
            "nodes": [ann, {"type": "Robot", "id": "2", "serial": "x"}],
            "account": {"id": "1", "number": "42"},
        }
        return values[name]
