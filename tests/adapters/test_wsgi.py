"""The WSGI adapter: what passes, what is refused, and what the app then sees."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from graphql_authkit import ANONYMOUS, Authenticator, ConfigurationError, Revocations, current_auth
from graphql_authkit.errors import AuthError, KeysUnavailable
from graphql_authkit.model import AuthContext
from graphql_authkit.wsgi import AuthMiddleware
from tests.support import local_issuer, verifier
from tests.test_revocation import AsyncOrigin

GOOD = local_issuer().token("alice")
BEARER = {"HTTP_AUTHORIZATION": f"Bearer {GOOD}"}
PREFLIGHT = {"HTTP_ORIGIN": "https://app.test", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}


class App:
    def __init__(self) -> None:
        self.environs: list[dict[str, Any]] = []
        self.current: list[AuthContext] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.environs.append(environ)
        self.current.append(current_auth())
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"subject": environ["graphql_authkit.auth"].subject}).encode()]


class Result:
    def __init__(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.fields, self.body = int(status.split()[0]), dict(headers), body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(app: Any, path: str = "/graphql", **environ: Any) -> Result:
    given: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        **environ,
    }
    setup_testing_defaults(given)
    given["wsgi.input"] = io.BytesIO()
    started: list[Any] = []
    body = validator(app)(given, lambda *args: started.append(args))  # type: ignore[arg-type]
    try:
        data = b"".join(body)
    finally:
        body.close()  # type: ignore[attr-defined]
    return Result(started[0][0], started[0][1], data)


def guarded(**options: Any) -> tuple[App, AuthMiddleware]:
    app = App()
    return app, AuthMiddleware(app, Authenticator(verifier()), **options)


def test_a_good_token_reaches_the_app_with_who_is_calling() -> None:
    app, middleware = guarded()
    result = request(middleware, **BEARER)
    assert (result.status, result.json, app.current[0].subject) == (200, {"subject": "alice"}, "alice")


def test_remote_user_is_never_set() -> None:
    app, middleware = guarded()
    request(middleware, **BEARER)
    assert "REMOTE_USER" not in app.environs[0]


@pytest.mark.parametrize(
    ("environ", "status", "reason"),
    [
        ({}, 401, "MISSING_CREDENTIAL"),
        ({"HTTP_AUTHORIZATION": "Basic abc"}, 401, "MISSING_CREDENTIAL"),
        ({"HTTP_COOKIE": f"token={GOOD}"}, 401, "MISSING_CREDENTIAL"),
        ({"QUERY_STRING": f"access_token={GOOD}"}, 401, "MISSING_CREDENTIAL"),
        ({"HTTP_GRAPHQL_AUTHKIT.AUTH": "x"}, 401, "MISSING_CREDENTIAL"),
        ({"HTTP_AUTHORIZATION": f"Bearer {GOOD},Bearer {GOOD}"}, 400, "INVALID_REQUEST"),
        ({"HTTP_AUTHORIZATION": f"Bearer {GOOD}, Bearer {GOOD}"}, 400, "INVALID_REQUEST"),
        ({"HTTP_AUTHORIZATION": ""}, 400, "INVALID_REQUEST"),
        ({"HTTP_AUTHORIZATION": f"Bearer {GOOD}x"}, 401, "INVALID_TOKEN"),
        ({"HTTP_AUTHORIZATION": "Bearer " + local_issuer().token(lifetime=-99)}, 401, "TOKEN_EXPIRED"),
    ],
)
def test_a_bad_request_never_reaches_the_app(environ: Any, status: int, reason: str) -> None:
    app, middleware = guarded()
    result = request(middleware, **environ)
    assert (result.status, result.json["errors"][0]["extensions"]["reason"], app.environs) == (status, reason, [])


def test_the_answer_without_credentials_is_the_bare_challenge() -> None:
    fields = request(guarded()[1]).fields
    assert (fields["WWW-Authenticate"], fields["Cache-Control"], fields["Vary"]) == (
        'Bearer realm="GraphQL"',
        "no-store",
        "Authorization",
    )


def test_apollos_media_type_is_answered_in_kind() -> None:
    result = request(guarded()[1], HTTP_ACCEPT="application/graphql-response+json")
    assert result.fields["Content-Type"] == "application/graphql-response+json; charset=utf-8"


def test_unavailable_keys_are_503_with_retry_after() -> None:
    class Down:
        def verify(self, token: str) -> Any:
            raise KeysUnavailable("down")

        async def averify(self, token: str) -> Any:
            raise KeysUnavailable("down")

    result = request(AuthMiddleware(App(), Authenticator(Down())), **BEARER)
    assert (result.status, result.fields["Retry-After"]) == (503, "5")


def test_a_refused_head_request_has_no_body() -> None:
    app, middleware = guarded()
    started: list[Any] = []
    environ = {"REQUEST_METHOD": "HEAD", "PATH_INFO": "/"}
    assert list(middleware(environ, lambda *args: started.append(args))) == [b""]  # type: ignore[arg-type]
    assert (started[0][0], app.environs) == ("401 Unauthorized", [])


def test_optional_mode_lets_only_the_absence_of_credentials_pass() -> None:
    app, middleware = guarded(optional=True)
    assert request(middleware).json == {"subject": None}
    assert request(middleware, **BEARER).json == {"subject": "alice"}
    assert request(middleware, HTTP_AUTHORIZATION="Basic abc").status == 401
    assert request(middleware, HTTP_AUTHORIZATION="Bearer bad").status == 401
    assert len(app.environs) == 2


def test_a_public_path_is_anonymous_even_with_a_token() -> None:
    app, middleware = guarded(public_paths=["/health"])
    assert request(middleware, "/health", **BEARER).json == {"subject": None}
    assert request(middleware, "/Health").status == 401
    assert app.current == [ANONYMOUS]


@pytest.mark.parametrize(
    ("script", "path", "status"),
    [
        ("", "/graphql", 401),
        ("", "/GraphQL/", 401),
        ("", "//graphql", 401),
        ("", "/other", 200),
        ("/api", "/graphql", 401),
        ("/api", "/other", 200),
        ("/graphql", "", 401),
        ("", "/other;x", 401),
        ("", "/oth%65r", 401),
        ("", "/\xff", 401),  # no UTF-8
        ("", "/\xc3\xbc", 200),  # ü
    ],
)
def test_only_named_paths_and_tricks_are_guarded_where_some_are_named(script: str, path: str, status: int) -> None:
    _, middleware = guarded(paths=["/graphql"])
    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "SCRIPT_NAME": script, "PATH_INFO": path}
    started: list[Any] = []
    middleware(environ, lambda *args: started.append(args))  # type: ignore[arg-type]
    assert int(started[0][0].split()[0]) == status


def test_a_preflight_passes_as_anonymous_and_nothing_like_it_does() -> None:
    _, middleware = guarded()
    assert request(middleware, REQUEST_METHOD="OPTIONS", **PREFLIGHT).json == {"subject": None}
    assert request(middleware, REQUEST_METHOD="OPTIONS").status == 401
    assert request(middleware, REQUEST_METHOD="POST", **PREFLIGHT).status == 401


# --------------------------------------------------------------------------------- current_auth


class Streaming:
    """A generator app: it runs while the server iterates, until it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return self.stream()

    def stream(self) -> Iterator[bytes]:
        try:
            for _ in range(2):
                yield str(current_auth().subject).encode()
        finally:
            self.closed = True


def test_a_streaming_app_sees_its_caller_until_it_is_closed() -> None:
    app = Streaming()
    result = request(AuthMiddleware(app, Authenticator(verifier())), **BEARER)
    assert (result.body, app.closed, current_auth()) == (b"alicealice", True, ANONYMOUS)


def test_a_stream_closed_early_closes_the_app_and_leaves_nobody_current() -> None:
    app = Streaming()
    middleware = AuthMiddleware(app, Authenticator(verifier()))
    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", **BEARER}
    body = middleware(environ, lambda *args: None)  # type: ignore[arg-type]
    assert (next(iter(body)), current_auth()) == (b"alice", ANONYMOUS)  # between two steps nobody is served
    body.close()  # type: ignore[attr-defined]
    assert (app.closed, current_auth()) == (True, ANONYMOUS)


def test_a_close_that_fails_leaves_nobody_current() -> None:
    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            raise LookupError

    middleware = AuthMiddleware(lambda environ, start: Body(), Authenticator(verifier()))
    body = middleware({"REQUEST_METHOD": "POST", "PATH_INFO": "/", **BEARER}, lambda *args: None)  # type: ignore[arg-type]
    with pytest.raises(LookupError):
        body.close()  # type: ignore[attr-defined]
    assert current_auth() is ANONYMOUS


@pytest.mark.parametrize("middleware", [guarded()[1], guarded(optional=True)[1]])
def test_after_a_request_and_after_a_refusal_nobody_is_current(middleware: AuthMiddleware) -> None:
    for environ in (BEARER, {}, {"HTTP_AUTHORIZATION": "Bearer bad"}):
        request(middleware, **environ)
        assert current_auth() is ANONYMOUS


def test_an_app_that_fails_leaves_nobody_current() -> None:
    def failing(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise LookupError

    with pytest.raises(LookupError):
        AuthMiddleware(failing, Authenticator(verifier()))({"REQUEST_METHOD": "GET", "PATH_INFO": "/", **BEARER}, print)  # type: ignore[arg-type]
    assert current_auth() is ANONYMOUS


def test_each_of_many_threads_sees_its_own_caller() -> None:
    seen: dict[int, Any] = {}
    _, middleware = guarded()
    barrier = threading.Barrier(8)

    def one(number: int) -> None:
        barrier.wait()
        for _ in range(20):
            token = local_issuer().token(f"user-{number}")
            seen[number] = request(middleware, HTTP_AUTHORIZATION=f"Bearer {token}").json["subject"]

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {number: f"user-{number}" for number in range(8)}


# ----------------------------------------------------------------------------------- configuration


async def load(token: Any) -> str:
    return "user"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Authenticator(verifier(), load_user=load),
        lambda: Authenticator(verifier(), revocations=Revocations(AsyncOrigin())),
        lambda: verifier(),
    ],
)
def test_what_wsgi_cannot_await_is_refused_while_building(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError):
        AuthMiddleware(App(), make())


@pytest.mark.parametrize(
    ("script", "path"),
    [("/x", "graphql"), ("/docs/x", "graphql"), ("", "graphql"), ("x", "/docs/y"), ("/docs/..", "/docs/y")],
)
def test_a_path_without_its_leading_slash_is_guarded(script: str, path: str) -> None:
    for options in ({"paths": ["/other"]}, {"public_paths": ["/docs/*"]}):
        app, middleware = guarded(**options)
        started: list[Any] = []
        environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "SCRIPT_NAME": script, "PATH_INFO": path}
        middleware(environ, lambda *args, to=started: to.append(args))
        assert (started[0][0], app.environs) == ("401 Unauthorized", [])


def test_a_preflight_reaches_the_app_without_body_query_or_other_fields() -> None:
    app, middleware = guarded()
    request(
        middleware,
        REQUEST_METHOD="OPTIONS",
        **PREFLIGHT,
        HTTP_X_HTTP_METHOD_OVERRIDE="POST",
        HTTP_COOKIE="a=b",
        CONTENT_TYPE="application/json",
        QUERY_STRING="query={me}",
    )
    (environ,) = app.environs
    assert (environ["wsgi.input"].read(), environ["CONTENT_LENGTH"], environ["QUERY_STRING"]) == (b"", "0", "")
    assert {"HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_COOKIE", "CONTENT_TYPE"} & set(environ) == set()
    assert environ["HTTP_ORIGIN"] == "https://app.test"


@pytest.mark.parametrize(
    "more", [{"CONTENT_LENGTH": "20"}, {"HTTP_TRANSFER_ENCODING": "chunked"}, {"HTTP_AUTHORIZATION": "Bearer x"}]
)
def test_a_preflight_with_a_body_or_credentials_is_none(more: dict[str, str]) -> None:
    app, middleware = guarded()
    assert request(middleware, REQUEST_METHOD="OPTIONS", **PREFLIGHT, **more).status == 401
    assert app.environs == []


def test_what_an_outer_layer_left_in_the_environ_is_overwritten() -> None:
    app, middleware = guarded(public_paths=["/health"])
    request(middleware, "/health", **{"graphql_authkit.auth": "mallory"})
    assert app.environs[0]["graphql_authkit.auth"] is ANONYMOUS


def test_a_body_may_be_closed_twice() -> None:
    middleware = AuthMiddleware(Streaming(), Authenticator(verifier()))
    body = middleware({"REQUEST_METHOD": "POST", "PATH_INFO": "/", **BEARER}, lambda *args: None)  # type: ignore[arg-type]
    body.close()  # type: ignore[attr-defined]
    body.close()  # type: ignore[attr-defined]
    assert current_auth() is ANONYMOUS


def test_an_error_with_a_status_of_ones_own_is_answered() -> None:
    class TeapotError(AuthError):
        status = 499

    def brew(_token: Any) -> None:
        raise TeapotError

    result = request(AuthMiddleware(App(), Authenticator(verifier(), load_user=brew)), **BEARER)
    assert result.status == 499


def test_streams_that_interleave_on_one_thread_each_see_their_own_caller() -> None:
    middleware = AuthMiddleware(Streaming(), Authenticator(verifier()))

    def start(name: str) -> Any:
        token = local_issuer().token(name)
        environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "HTTP_AUTHORIZATION": f"Bearer {token}"}
        return middleware(environ, lambda *args: None)  # type: ignore[arg-type]

    alice, bob = start("alice"), start("bob")
    assert [next(alice), next(bob), next(alice), next(bob)] == [b"alice", b"bob", b"alice", b"bob"]
    alice.close()
    bob.close()
    assert current_auth() is ANONYMOUS


def test_a_preflights_raw_target_loses_its_query() -> None:
    app, middleware = guarded()
    request(
        middleware, REQUEST_METHOD="OPTIONS", **PREFLIGHT, RAW_URI="/graphql?query={me}", REQUEST_URI="/graphql?x=y"
    )
    assert (app.environs[0]["RAW_URI"], app.environs[0]["REQUEST_URI"]) == ("/graphql", "/graphql")
