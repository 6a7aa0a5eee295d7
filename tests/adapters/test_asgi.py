"""The ASGI adapter: what passes, what is refused, and what the app then sees."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from graphql_authkit import ANONYMOUS, Authenticator, ConfigurationError, current_auth
from graphql_authkit.asgi import AuthMiddleware
from graphql_authkit.authenticator import serving
from graphql_authkit.errors import KeysUnavailable
from graphql_authkit.model import AuthContext
from tests.adapters.asgi_client import arequest, request
from tests.support import local_issuer, refused, verifier

GOOD = local_issuer().token("alice")
BEARER = [("authorization", f"Bearer {GOOD}")]
PREFLIGHT = [("origin", "https://app.test"), ("access-control-request-method", "POST")]


class App:
    """Answers with who is calling; notes every scope and what `current_auth` said."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.current: list[AuthContext] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.current.append(current_auth())
        if scope["type"] == "http":
            body = json.dumps({"subject": scope["state"]["auth"].subject}).encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.accept"})


def guarded(app: Any = None, **options: Any) -> tuple[App, AuthMiddleware]:
    app = app or App()
    return app, AuthMiddleware(app, Authenticator(verifier()), **options)


def test_a_good_token_reaches_the_app_with_who_is_calling() -> None:
    app, middleware = guarded()
    result = request(middleware, headers=BEARER)
    assert (result.status, result.json, app.current[0].subject) == (200, {"subject": "alice"}, "alice")


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ([], 401, "MISSING_CREDENTIAL"),
        ([("authorization", "Basic abc")], 401, "MISSING_CREDENTIAL"),
        ([("cookie", f"token={GOOD}")], 401, "MISSING_CREDENTIAL"),
        ([("x-authorization", f"Bearer {GOOD}")], 401, "MISSING_CREDENTIAL"),
        ([*BEARER, *BEARER], 400, "INVALID_REQUEST"),
        ([("authorization", f"Bearer {GOOD}, Bearer {GOOD}")], 400, "INVALID_REQUEST"),
        ([("authorization", f"Bearer {GOOD}x")], 401, "INVALID_TOKEN"),
        ([("authorization", "Bearer " + local_issuer().token(lifetime=-99))], 401, "TOKEN_EXPIRED"),
    ],
)
def test_a_bad_request_never_reaches_the_app(headers: Any, status: int, reason: str) -> None:
    app, middleware = guarded()
    result = request(middleware, headers=headers)
    assert (result.status, result.json["errors"][0]["extensions"]["reason"], app.scopes) == (status, reason, [])


def test_the_answer_without_credentials_is_the_bare_challenge() -> None:
    result = request(guarded()[1])
    assert result.fields["www-authenticate"] == 'Bearer realm="GraphQL"'
    assert result.fields["content-type"] == "application/json; charset=utf-8"


def test_apollos_media_type_is_answered_in_kind() -> None:
    result = request(guarded()[1], headers=[("accept", "application/graphql-response+json,application/json;q=0.9")])
    assert result.fields["content-type"] == "application/graphql-response+json; charset=utf-8"


def test_unavailable_keys_are_503_with_retry_after() -> None:
    class Down:
        def verify(self, token: str) -> Any:
            raise KeysUnavailable("down")

        async def averify(self, token: str) -> Any:
            raise KeysUnavailable("down")

    result = request(AuthMiddleware(App(), Authenticator(Down())), headers=BEARER)
    assert (result.status, result.fields["retry-after"], "www-authenticate" in result.fields) == (503, "5", False)


def test_a_refused_head_request_has_no_body() -> None:
    result = request(guarded()[1], method="HEAD")
    assert (result.status, b"".join(m.get("body", b"") for m in result.messages)) == (401, b"")


def test_the_servers_own_scope_and_shared_state_are_not_written_to() -> None:
    _, middleware = guarded(set_scope_user=True)
    shared = {"db": "pool"}
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "headers": [], "state": shared}
    scope["headers"] = [(b"authorization", f"Bearer {GOOD}".encode())]
    before = dict(scope)

    async def nothing(*_args: Any) -> Any:
        return {}

    asyncio.run(middleware(scope, nothing, nothing))
    assert (scope, shared) == (before, {"db": "pool"})


def test_the_apps_state_holds_the_lifespans_entries_and_auth() -> None:
    app, middleware = guarded()
    request(middleware, headers=BEARER, state={"db": "pool"})
    assert set(app.scopes[0]["state"]) == {"db", "auth"}


@pytest.mark.parametrize("state", [None, {}])
def test_a_server_without_state_gets_one(state: Any) -> None:
    app, middleware = guarded()
    request(middleware, headers=BEARER, state=state)
    assert app.scopes[0]["state"]["auth"].subject == "alice"


def test_a_client_cannot_bring_its_own_context() -> None:
    app, middleware = guarded(public_paths=["/health"])
    forged = AuthContext()
    request(middleware, "/health", headers=BEARER, state={"auth": forged})
    assert app.scopes[0]["state"]["auth"] is ANONYMOUS


# -------------------------------------------------------------------- optional, public, preflight


def test_optional_mode_lets_only_the_absence_of_credentials_pass() -> None:
    app, middleware = guarded(optional=True)
    assert request(middleware).json == {"subject": None}
    assert request(middleware, headers=BEARER).json == {"subject": "alice"}
    assert request(middleware, headers=[("authorization", "Basic abc")]).status == 401
    assert request(middleware, headers=[("authorization", "Bearer bad")]).status == 401
    assert request(middleware, headers=[("authorization", "")]).status == 400
    assert len(app.scopes) == 2


def test_a_public_path_is_anonymous_even_with_a_token_good_or_bad() -> None:
    app, middleware = guarded(public_paths=["/health"])
    for headers in ([], BEARER, [("authorization", "Bearer bad")]):
        assert request(middleware, "/health", headers).json == {"subject": None}
    assert app.current == [ANONYMOUS] * 3


def test_only_named_paths_are_guarded_where_some_are_named() -> None:
    _, middleware = guarded(paths=["/graphql"])
    statuses = {
        path: request(middleware, path).status for path in ("/", "/graphql", "/graphql/", "/GraphQL", "//x", "/other")
    }
    assert statuses == {"/": 200, "/graphql": 401, "/graphql/": 401, "/GraphQL": 401, "//x": 401, "/other": 200}


def test_the_wire_path_is_looked_at_too() -> None:
    _, middleware = guarded(public_paths=["/docs/*"])
    assert request(middleware, "/docs/graphql", raw_path=b"/docs%2Fgraphql").status == 401
    assert request(middleware, "/docs/graphql", raw_path=None).status == 200


def test_a_mounted_app_is_guarded_by_its_own_paths() -> None:
    _, middleware = guarded(paths=["/graphql"])
    assert request(middleware, "/api/graphql", root_path="/api").status == 401
    assert request(middleware, "/api/other", root_path="/api").status == 200


def test_a_preflight_passes_as_anonymous_and_nothing_like_it_does() -> None:
    app, middleware = guarded()
    assert request(middleware, method="OPTIONS", headers=PREFLIGHT).json == {"subject": None}
    assert request(middleware, method="OPTIONS", headers=PREFLIGHT[:1]).status == 401
    assert request(middleware, method="OPTIONS").status == 401
    assert request(middleware, method="POST", headers=PREFLIGHT).status == 401
    assert len(app.scopes) == 1


@pytest.mark.parametrize(
    "scope", [{"query_string": f"access_token={GOOD}".encode()}, {"query_string": f"token={GOOD}".encode()}]
)
def test_a_token_in_the_query_string_is_not_read(scope: Any) -> None:
    assert request(guarded()[1], **scope).status == 401


# --------------------------------------------------------------------------- sockets and lifespan


def test_lifespan_passes_through_untouched() -> None:
    app, middleware = guarded()
    scope = {"type": "lifespan", "state": {}}
    asyncio.run(middleware(scope, None, None))  # type: ignore[arg-type]
    assert app.scopes == [scope]
    assert app.scopes[0] is scope


def test_a_socket_with_a_good_token_is_accepted() -> None:
    app, middleware = guarded()
    result = request(middleware, headers=BEARER, type="websocket")
    assert (result.messages, app.current[0].subject) == ([{"type": "websocket.accept"}], "alice")


def test_a_socket_without_one_is_refused_at_the_handshake_with_the_whole_answer() -> None:
    app, middleware = guarded()
    result = request(middleware, type="websocket", extensions={"websocket.http.response": {}})
    assert [message["type"] for message in result.messages] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert (result.status, result.fields["www-authenticate"], app.scopes) == (401, 'Bearer realm="GraphQL"', [])


def test_a_server_that_cannot_answer_a_handshake_closes_it() -> None:
    _, middleware = guarded()
    result = request(middleware, type="websocket", extensions=None)
    assert result.messages == [{"type": "websocket.close", "code": 1008, "reason": ""}]


def test_an_anonymous_socket_is_refused_in_optional_mode_too() -> None:
    _, middleware = guarded(optional=True)
    assert request(middleware, type="websocket").messages[0]["type"] == "websocket.close"


# --------------------------------------------------------------------------------- current_auth


def test_each_of_many_concurrent_requests_sees_its_own_caller() -> None:
    seen: dict[str, str | None] = {}

    class Slow(App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(0)
            await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))
            auth = current_auth()
            seen[scope["path"]] = auth.subject
            assert scope["state"]["auth"] is auth
            await super().__call__(scope, receive, send)

    _, middleware = guarded(Slow(), optional=True)

    async def main() -> None:
        async def one(number: int) -> None:
            headers = [] if number % 3 == 0 else [("authorization", "Bearer " + local_issuer().token(f"user-{number}"))]
            await arequest(middleware, f"/{number}", headers)

        await asyncio.gather(*(one(number) for number in range(60)))
        assert current_auth() is ANONYMOUS

    asyncio.run(main())
    assert seen == {f"/{n}": None if n % 3 == 0 else f"user-{n}" for n in range(60)}


def test_after_a_request_and_after_a_refusal_nobody_is_current() -> None:
    async def main() -> None:
        _, middleware = guarded()
        await arequest(middleware, headers=BEARER)
        assert current_auth() is ANONYMOUS
        await arequest(middleware)
        assert current_auth() is ANONYMOUS

    asyncio.run(main())


def test_an_app_that_fails_leaves_nobody_current() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError

    async def main() -> None:
        with pytest.raises(LookupError):
            await arequest(AuthMiddleware(failing, Authenticator(verifier())), headers=BEARER)
        assert current_auth() is ANONYMOUS

    asyncio.run(main())


# ------------------------------------------------------------------------------ Starlette's names


def test_starlettes_user_and_scopes_are_set_only_when_asked_for() -> None:
    app, middleware = guarded()
    request(middleware, headers=BEARER)
    assert ("user" in app.scopes[0], "auth" in app.scopes[0]) == (False, False)
    app, middleware = guarded(set_scope_user=True)
    request(middleware, headers=[("authorization", "Bearer " + local_issuer().token("alice", scopes=["read"]))])
    user = app.scopes[0]["user"]
    assert (user.is_authenticated, user.display_name, user.identity) == (True, "alice", "alice")
    assert app.scopes[0]["auth"].scopes == {"read"}


def test_a_pipeline_is_needed() -> None:
    with pytest.raises(ConfigurationError):
        AuthMiddleware(App(), verifier())  # type: ignore[arg-type]


def test_an_async_loader_is_fine_here() -> None:
    async def load(token: Any) -> str:
        return "user of " + str(token.subject)

    app = App()
    request(AuthMiddleware(app, Authenticator(verifier(), load_user=load)), headers=BEARER)
    assert app.current[0].user == "user of alice"
    assert refused(lambda: verifier().verify("x")).status == 401


@pytest.mark.parametrize("kind", ["webtransport", "http2", ""])
def test_a_kind_of_connection_that_nobody_knows_is_not_let_through(kind: str) -> None:
    app, middleware = guarded()
    with pytest.raises(RuntimeError, match="nothing of it is let through"):
        request(middleware, headers=BEARER, type=kind)
    assert app.scopes == []


def test_a_preflight_reaches_the_app_without_body_query_or_other_fields() -> None:
    bodies: list[Any] = []

    class Reading(App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            bodies.append(await receive())
            await super().__call__(scope, receive, send)

    app, middleware = guarded(Reading())
    fields = [*PREFLIGHT, ("X-HTTP-Method-Override", "POST"), ("content-type", "application/json"), ("host", "x")]
    request(middleware, method="OPTIONS", headers=fields, query_string=b"query={me}")
    assert bodies == [{"type": "http.request", "body": b"", "more_body": False}]
    assert app.scopes[0]["query_string"] == b""
    assert sorted(name for name, _ in app.scopes[0]["headers"]) == [
        b"access-control-request-method",
        b"host",
        b"origin",
    ]


@pytest.mark.parametrize(
    "more", [("content-length", "20"), ("transfer-encoding", "chunked"), ("authorization", "Bearer x")]
)
def test_a_preflight_with_a_body_or_credentials_is_none(more: tuple[str, str]) -> None:
    app, middleware = guarded()
    assert request(middleware, method="OPTIONS", headers=[*PREFLIGHT, more]).status == 401
    assert app.scopes == []


def test_field_names_of_any_case_count() -> None:
    _, middleware = guarded()
    assert request(middleware, headers=[("Authorization", f"Bearer {GOOD}")]).status == 200
    assert request(middleware, headers=[("AUTHORIZATION", f"Bearer {GOOD}"), *BEARER]).status == 400


def test_a_root_path_that_the_app_sets_itself_opens_nothing() -> None:
    class Rooted(App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await super().__call__({**scope, "root_path": "/api"}, receive, send)

    app, middleware = guarded(Rooted(), paths=["/graphql"])
    assert request(middleware, "/api/graphql").status == 401
    assert app.scopes == []


def test_a_refused_socket_was_heard_first() -> None:
    heard: list[str] = []

    async def main() -> None:
        async def receive() -> Any:
            heard.append("connect")
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            heard.append(message["type"])

        scope = {"type": "websocket", "path": "/", "headers": []}
        await guarded()[1](scope, receive, send)

    asyncio.run(main())
    assert heard == ["connect", "websocket.close"]


def test_while_a_refusal_is_sent_nobody_is_current() -> None:
    seen: list[AuthContext] = []

    async def main() -> None:
        async def send(_message: Any) -> None:
            seen.append(current_auth())

        async def receive() -> Any:
            return {}

        with serving(Authenticator(verifier()).authenticate_token(GOOD)):
            scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
            await guarded()[1](scope, receive, send)

    asyncio.run(main())
    assert seen == [ANONYMOUS, ANONYMOUS]


def test_a_root_path_that_ends_in_a_slash_makes_nothing_public() -> None:
    _, middleware = guarded(public_paths=["/health"])
    assert request(middleware, "/api/health", root_path="/api/").status == 401
    assert request(middleware, "/api/health", root_path="/api").status == 200
    assert request(middleware, "/health", root_path="/").status == 200


def test_an_app_that_waits_for_the_end_of_a_preflight_hears_the_clients_disconnect() -> None:
    """An app that listens while it answers, as Quart and Starlette's StreamingResponse do."""
    heard: list[str] = []

    async def listening(scope: Any, receive: Any, send: Any) -> None:
        message = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await receive()
            heard.append(message["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def main() -> None:
        sent = [{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            await asyncio.sleep(0)
            return sent.pop(0)

        async def send(_message: Any) -> None: ...

        fields = [(name.encode(), value.encode()) for name, value in PREFLIGHT]
        scope = {"type": "http", "method": "OPTIONS", "path": "/", "headers": fields}
        middleware = AuthMiddleware(listening, Authenticator(verifier()))
        await asyncio.wait_for(middleware(scope, receive, send), 5)

    asyncio.run(main())
    assert heard == ["http.request", "http.disconnect"]
