"""Strawberry gives its resolvers the frozen context, in every view and over every transport."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import strawberry
from fastapi import FastAPI
from fastapi.testclient import TestClient
from strawberry.asgi import GraphQL
from strawberry.extensions import SchemaExtension
from strawberry.fastapi import BaseContext, GraphQLRouter
from strawberry.permission import BasePermission
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from graphql_authkit import Authenticator
from graphql_authkit.asgi import AuthMiddleware
from graphql_authkit.authenticator import serving
from graphql_authkit.graphql import FrozenContext, get_auth, require_auth
from graphql_authkit.integrations.strawberry import FreezeContext
from tests.support import local_issuer, verifier

AUTHENTICATOR = Authenticator(verifier())
TOKEN = local_issuer().token("alice")
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


class Authenticated(BasePermission):
    message = "no"

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return get_auth(info).is_authenticated


@strawberry.type
class Query:
    @strawberry.field
    def me(self, info: strawberry.Info) -> str:
        return require_auth(info).subject

    @strawberry.field
    async def late(self, info: strawberry.Info) -> str:
        await asyncio.sleep(0)
        return str(info.context["auth"].subject) + " " + str(info.context.auth.subject)

    @strawberry.field(permission_classes=[Authenticated])
    def permitted(self) -> str:
        return "yes"

    @strawberry.field
    def kind(self, info: strawberry.Info) -> str:
        return type(info.context).__name__

    @strawberry.field
    def members(self, info: strawberry.Info) -> list[str]:
        return sorted(info.context)

    @strawberry.field
    def write(self, info: strawberry.Info) -> str:
        info.context["auth"] = "mallory"
        return "written"

    @strawberry.field
    def write_attribute(self, info: strawberry.Info) -> str:
        info.context.auth = "mallory"
        return "written"

    @strawberry.field
    def set_cookie(self, info: strawberry.Info) -> str:
        info.context["response"].set_cookie("a", "b")
        return "set"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self, info: strawberry.Info) -> AsyncGenerator[str, None]:
        for number in range(2):
            yield f"{number} {type(info.context).__name__} {require_auth(info).subject}"


SCHEMA = strawberry.Schema(Query, subscription=Subscription, extensions=[FreezeContext])


class Own(BaseContext):
    def __init__(self) -> None:
        super().__init__()
        self.loader = "loader"


def fastapi_app(**options: Any) -> Any:
    app = FastAPI()
    app.include_router(GraphQLRouter(SCHEMA, **options), prefix="/graphql")
    app.add_middleware(AuthMiddleware, auth=AUTHENTICATOR)
    return app


APPS: dict[str, Any] = {
    "FastAPI, no context": fastapi_app(),
    "FastAPI, dict": fastapi_app(context_getter=lambda: {"loader": "loader"}),
    "FastAPI, BaseContext": fastapi_app(context_getter=Own),
    "ASGI": AuthMiddleware(GraphQL(SCHEMA), AUTHENTICATOR),
}

anyapp = pytest.mark.parametrize("name", APPS)


def post(name: str, query: str, headers: dict[str, str] | None = None) -> Any:
    client = TestClient(APPS[name])  # no lifespan: Strawberry's ASGI view knows none
    return client.post("/graphql", json={"query": query}, headers=HEADERS if headers is None else headers)


@anyapp
def test_resolvers_get_the_frozen_context_and_who_is_calling(name: str) -> None:
    answer = post(name, "{ me late permitted kind }").json()
    assert answer == {"data": {"me": "alice", "late": "alice alice", "permitted": "yes", "kind": "FrozenContext"}}


@anyapp
def test_what_the_view_put_there_reads_as_before(name: str) -> None:
    members = set(post(name, "{ members }").json()["data"]["members"])
    assert {"auth", "request", "response"} <= members
    assert ("loader" in members) == (name in ("FastAPI, dict", "FastAPI, BaseContext"))


@anyapp
@pytest.mark.parametrize("field", ["write", "writeAttribute"])
def test_writing_to_it_is_a_clear_error(name: str, field: str) -> None:
    answer = post(name, "{ %s }" % field).json()  # noqa: UP031
    assert (answer["data"], "frozen" in answer["errors"][0]["message"]) == (None, True)


@anyapp
def test_a_cookie_can_still_be_set(name: str) -> None:
    assert post(name, "{ setCookie }").headers["set-cookie"].startswith("a=b")


@anyapp
def test_nothing_of_graphql_runs_without_a_token(name: str) -> None:
    answer = post(name, "query Login { me }", headers={})
    assert (answer.status_code, answer.headers["www-authenticate"], "data" in answer.json()) == (
        401,
        'Bearer realm="GraphQL"',
        False,
    )


@anyapp
def test_subscriptions_get_the_frozen_context_too(name: str) -> None:
    messages: list[Any] = []
    client = TestClient(APPS[name])
    with client.websocket_connect("/graphql", [GRAPHQL_TRANSPORT_WS_PROTOCOL], headers=HEADERS) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json()["type"] == "connection_ack"
        socket.send_json({"id": "1", "type": "subscribe", "payload": {"query": "subscription { ticks }"}})
        while not messages or messages[-1]["type"] == "next":
            messages.append(socket.receive_json())
    assert [message["payload"]["data"]["ticks"] for message in messages[:-1]] == [
        "0 FrozenContext alice",
        "1 FrozenContext alice",
    ]


def test_it_works_without_any_view_too() -> None:
    auth = AUTHENTICATOR.authenticate_token(TOKEN)
    with serving(auth):
        assert SCHEMA.execute_sync("{ me kind }").data == {"me": "alice", "kind": "FrozenContext"}
        assert asyncio.run(SCHEMA.execute("{ late }")).data == {"late": "alice alice"}


def test_other_extensions_listed_after_it_see_the_frozen_context() -> None:
    seen: list[type] = []

    class Look(SchemaExtension):
        def on_execute(self) -> Any:
            seen.append(type(self.execution_context.context))
            yield

    schema = strawberry.Schema(Query, extensions=[FreezeContext, Look])
    schema.execute_sync("{ kind }")
    assert seen == [FrozenContext]


def test_the_answer_is_json_that_holds_no_token() -> None:
    body = json.dumps(post("ASGI", "{ me members }").json())
    assert not any(part in body for part in TOKEN.split("."))
