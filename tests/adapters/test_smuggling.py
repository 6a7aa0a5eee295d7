"""What reaches a guarded handler was authenticated, however the request is spelled: over raw sockets, and as a law.

Servers and routers read one request in more than one way. Nothing here says which way is right; it says that
no reading lets a caller without a good token through.
"""

from __future__ import annotations

import importlib.util
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from graphql_authkit import Authenticator, asgi, current_auth, wsgi
from tests.adapters.asgi_client import request as asgi_request
from tests.frameworks.contract import ENV, IDP
from tests.servers import Server, free_port, gunicorn_server, running, uvicorn_server
from tests.support import local_issuer, verifier

SILENCE_SECONDS = 5.0
ASGI_APP = "tests.adapters.smuggling_apps:asgi_app"
WSGI_APP = "tests.adapters.smuggling_apps:wsgi_app"
ROOT = "/api"


def hypercorn(*options: str) -> AbstractContextManager[Server]:
    port = free_port()
    command = [sys.executable, "-m", "hypercorn", ASGI_APP, "--bind", f"127.0.0.1:{port}"]
    return running([*command, *options], port=port, env=ENV)


def waitress(*options: str) -> AbstractContextManager[Server]:
    port = free_port()
    command = [sys.executable, "-m", "waitress", f"--listen=127.0.0.1:{port}"]
    return running([*command, *options, WSGI_APP], port=port, env=ENV)


STACKS: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "uvicorn, h11": lambda: uvicorn_server(ASGI_APP, "--http", "h11", env=ENV),
    "hypercorn": hypercorn,
    "gunicorn": lambda: gunicorn_server(WSGI_APP, env=ENV),
    "waitress": waitress,
}
MOUNTED: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "uvicorn, h11": lambda: uvicorn_server(ASGI_APP, "--http", "h11", "--root-path", ROOT, env=ENV),
    "hypercorn": lambda: hypercorn("--root-path", ROOT),
    "gunicorn": lambda: gunicorn_server(WSGI_APP, env={**ENV, "SCRIPT_NAME": ROOT}),
    "waitress": lambda: waitress(f"--url-prefix={ROOT}"),
}
if importlib.util.find_spec("httptools") is not None:
    STACKS["uvicorn, httptools"] = lambda: uvicorn_server(ASGI_APP, "--http", "httptools", env=ENV)
    MOUNTED["uvicorn, httptools"] = lambda: uvicorn_server(
        ASGI_APP, "--http", "httptools", "--root-path", ROOT, env=ENV
    )


@pytest.fixture(scope="module", params=STACKS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with STACKS[request.param]() as server:
        yield server


@pytest.fixture(scope="module", params=MOUNTED)
def mounted(request: pytest.FixtureRequest) -> Iterator[Server]:
    with MOUNTED[request.param]() as server:
        yield server


# -------------------------------------------------------------------------------------- the wire

ALICE = IDP.token("alice").encode()
MALLORY = IDP.token("mallory", lifetime=-60).encode()  # expired: nobody may ever be her
GOOD = b"Authorization: Bearer " + ALICE + b"\r\n"


def written(
    target: bytes = b"/graphql",
    fields: bytes = b"",
    *,
    door: str = "all",
    method: bytes = b"POST",
    body: bytes = b"",
    connection: bytes = b"close",
) -> bytes:
    head = b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: %s\r\nX-Door: %s\r\nContent-Length: %d\r\n%s\r\n"
    return head % (method, target, connection, door.encode(), len(body), fields) + body


class Said:
    """All that a server sent before it closed the connection, or fell silent."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.statuses = [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d+)", data, re.MULTILINE)]
        found = re.findall(rb"^x-handler: (.*)\r$", data, re.MULTILINE | re.IGNORECASE)
        self.handlers = [tuple(json.loads(entry)) for entry in found]


def say(server: Server, data: bytes) -> Said:
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=SILENCE_SECONDS) as connection:
        connection.sendall(data)
        with suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                received += chunk
    return Said(received)


# ------------------------------------------------------------------------------- the header field

ADMITTED = {
    "plain": GOOD,
    "several spaces before": b"Authorization:    Bearer " + ALICE + b"\r\n",
    "no space before": b"Authorization:Bearer " + ALICE + b"\r\n",
    "spaces after": b"Authorization: Bearer " + ALICE + b"   \r\n",
    "tabs around": b"Authorization:\tBearer " + ALICE + b"\t\r\n",
    "two spaces within": b"Authorization: Bearer  " + ALICE + b"\r\n",
    "lower case": b"authorization: bearer " + ALICE + b"\r\n",
    "upper case": b"AUTHORIZATION: BEARER " + ALICE + b"\r\n",
    "beside an alias with an underscore": GOOD + b"Authorization_: Bearer " + MALLORY + b"\r\n",
    "beside the name of an environ's variable": GOOD + b"HTTP_AUTHORIZATION: Bearer " + MALLORY + b"\r\n",
}
REFUSED = {
    "none": b"",
    "empty": b"Authorization:\r\n",
    "twice": GOOD + GOOD,
    "twice, in two spellings": GOOD + b"AUTHORIZATION: Bearer " + MALLORY + b"\r\n",
    "twice, the other first": b"authorization: Basic eDp5\r\n" + GOOD,
    "twice, one empty": b"Authorization:\r\n" + GOOD,
    "joined by a comma": b"Authorization: Bearer " + ALICE + b", Bearer " + MALLORY + b"\r\n",
    "joined by a comma alone": b"Authorization: Bearer " + MALLORY + b",Bearer " + ALICE + b"\r\n",
    "joined with another scheme": b"Authorization: Basic eDp5, Bearer " + ALICE + b"\r\n",
    "in a folded line of another field": b"X-Other: x\r\n Authorization: Bearer " + ALICE + b"\r\n",
    "folded within the token": b"Authorization: Bearer " + ALICE[:40] + b"\r\n " + ALICE[40:] + b"\r\n",
    "underscore after": b"Authorization_: Bearer " + ALICE + b"\r\n",
    "underscore before": b"_Authorization: Bearer " + ALICE + b"\r\n",
    "the name of an environ's variable": b"HTTP_AUTHORIZATION: Bearer " + ALICE + b"\r\n",
    "the environ's own key": b"graphql_authkit.auth: alice\r\nREMOTE_USER: alice\r\n",
    "a proxy's field": b"Proxy-Authorization: Bearer " + ALICE + b"\r\nX-Forwarded-Authorization: Bearer x\r\n",
    "a tab for the space": b"Authorization: Bearer\t" + ALICE + b"\r\n",
    "a vertical tab for the space": b"Authorization: Bearer\x0b" + ALICE + b"\r\n",
    "a no-break space for the space": b"Authorization: Bearer\xa0" + ALICE + b"\r\n",
    "a space before the colon": b"Authorization : Bearer " + ALICE + b"\r\n",
    "a space before the name": b" Authorization: Bearer " + ALICE + b"\r\n",
    "NUL after": b"Authorization: Bearer " + ALICE + b"\x00\r\n",
    "NUL in the name": b"Authorization\x00: Bearer " + ALICE + b"\r\n",
    "NUL between": b"Authorization: Bearer \x00" + ALICE + b"\r\n",
    "a carriage return within": b"Authorization: Bearer " + ALICE + b"\rX: y\r\n",
    "quoted": b'Authorization: Bearer "' + ALICE + b'"\r\n',
    "a letter after": b"Authorization: Bearer " + ALICE + "é".encode() + b"\r\n",
    "a dotless i in the name": "Author\u0131zation: Bearer ".encode() + ALICE + b"\r\n",
    "in the query": b"X-Access-Token: " + ALICE + b"\r\nCookie: access_token=" + ALICE + b"\r\n",
}
FOLDED = {
    "by a space": b"Authorization: Bearer\r\n " + ALICE + b"\r\n",
    "by a tab": b"Authorization: Bearer\r\n\t" + ALICE + b"\r\n",
    "by a bare line feed": b"Authorization: Bearer\n " + ALICE + b"\r\n",
}


@pytest.mark.parametrize("name", ADMITTED)
def test_one_good_field_is_heard_in_every_lawful_spelling(server: Server, name: str) -> None:
    said = say(server, written(fields=ADMITTED[name]))
    assert (said.statuses, said.handlers) == ([200], [("graphql", "alice")])


@pytest.mark.parametrize("door", ["all", "named", "public", "both"])
@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused_and_reaches_no_handler(server: Server, name: str, door: str) -> None:
    said = say(server, written(fields=REFUSED[name], door=door))
    assert (said.statuses in ([400], [401]), said.handlers) == (True, [])


@pytest.mark.parametrize("name", FOLDED)
def test_a_folded_field_is_refused_or_unfolded_by_the_server(server: Server, name: str) -> None:
    said = say(server, written(fields=FOLDED[name]))
    assert (said.statuses, said.handlers) in [([400], []), ([200], [("graphql", "alice")])]


@pytest.mark.parametrize("name", ["twice", "joined by a comma", "NUL after", "a tab for the space", "empty"])
def test_where_credentials_are_optional_bad_ones_are_still_refused(server: Server, name: str) -> None:
    assert say(server, written(door="optional")).handlers == [("graphql", None)]
    said = say(server, written(fields=REFUSED[name], door="optional"))
    assert (said.statuses, said.handlers) == ([400], [])


# ------------------------------------------------------------------------------------- the target

TARGETS = [
    *(
        b"/graphql",
        b"/graphql/",
        b"/graphql//",
        b"/GRAPHQL",
        b"/GraphQL/",
        b"/graphql?x=/public/x",
        b"/graphql#/public/x",
    ),
    *(b"//graphql", b"///graphql", b"/./graphql", b"/x/../graphql", b"//x/graphql", b"/;/graphql", b"/graphql/."),
    *(b"/%67raphql", b"/%47RAPHQL", b"/graphql%2f", b"/graphql%2F..", b"/%2fgraphql", b"/%2f%2fgraphql"),
    *(b"/x/%2e%2e/graphql", b"/public/%2e%2e/graphql", b"/public/../graphql", b"/public/..;/graphql"),
    *(b"/public/x;/../../graphql", b"/public%2f..%2fgraphql", b"/public/%2e%2e%2fgraphql", b"/public/..%5cgraphql"),
    *(b"/graphql;x", b"/graphql%3bx", b"/graphql%23", b"/graphql%3f", b"/graphql%00", b"/graphql%0a", b"/graphql%20"),
    *(b"/graphql\\", b"\\graphql", b"/public\\..\\graphql", b"/%5cgraphql", b"/%2567raphql"),
    *(b"/%ef%bd%87raphql", b"/graph%ef%bd%91l", b"/%ff/graphql", b"/graphql%ff", b"/\xc3\xa9", b"/public/%ff"),
    *(b"/public/graphql", b"/public//graphql", b"/public%2fgraphql", b"/public/%67raphql", b"//public/graphql"),
    *(b"/public/./graphql", b"/public/x/../graphql", b"/PUBLIC/graphql", b"/public/GRAPHQL", b"/public/graphql/"),
    *(b"/mount/graphql", b"/mount//graphql", b"//mount/graphql", b"/mount/%67raphql", b"/mount/public/../graphql"),
    *(b"/public/x", b"/public/", b"/health", b"/health/../graphql", b"graphql", b"*", b"", b"x:/graphql"),
    *(b"http://x/graphql", b"http://x//graphql", b"http://x/public/../graphql", b"https://y@x/graphql"),
    *(b"http://x/public/x", b"http:/graphql", b"HTTP://x/%67raphql", b"http://public/x/graphql"),
]
PROTECTED = {
    "all": {"graphql", "inner", "public", "mounted"},
    "named": {"graphql", "inner", "mounted"},
    "public": {"graphql", "mounted"},
    "both": {"graphql", "inner", "mounted"},
}


def law(server: Server, target: bytes, fields: bytes = b"") -> None:
    for door, protected in PROTECTED.items():
        for method in (b"POST", b"GET"):
            said = say(server, written(target, fields, door=door, method=method))
            assert not protected & {handler for handler, _ in said.handlers}, (door, method, said.data)
    said = say(server, written(target, GOOD + fields))
    assert {subject for _, subject in said.handlers} <= {"alice"}


@pytest.mark.parametrize("target", TARGETS, ids=ascii)
def test_no_spelling_of_a_target_gets_past_a_door_that_guards_it(server: Server, target: bytes) -> None:
    law(server, target)


@pytest.mark.parametrize("prefix", [b"", b"/api", b"/API", b"/%61pi", b"/api/..", b"//api", b"/api/api"], ids=ascii)
@pytest.mark.parametrize("rest", [b"/graphql", b"//graphql", b"graphql", b"%2fgraphql", b"/public/graphql", b"", b"/"])
def test_no_spelling_gets_past_a_door_of_a_mounted_app(mounted: Server, prefix: bytes, rest: bytes) -> None:
    law(mounted, prefix + rest)


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (b"/xgraphql", b"SCRIPT_NAME: /x\r\n"),
        (b"/x/graphql", b"SCRIPT_NAME: /x/\r\n"),
        (b"/public/graphql", b"SCRIPT_NAME: /public\r\n"),
        (b"/public/xgraphql", b"SCRIPT_NAME: /public/x\r\n"),
        (b"/public/x/graphql", b"SCRIPT_NAME: /public/x\r\n"),
        (b"/graphql", b"SCRIPT_NAME: graphql\r\n"),
        (b"/graphql", b"SCRIPT_NAME: /graphql\r\n"),
        (b"/graphql", b"PATH_INFO: /public/x\r\n"),
        (b"/graphql", b"Path-Info: /public/x\r\nX-Original-URL: /public/x\r\nX-Rewrite-URL: /public/x\r\n"),
        (b"/public/x", b"X-Forwarded-Prefix: /public\r\nX-Script-Name: /public\r\n"),
    ],
)
def test_a_mount_that_the_client_names_opens_nothing(server: Server, target: bytes, fields: bytes) -> None:
    said = say(server, written(target, fields, door="both"))
    if target != b"/public/x":
        law(server, target, fields)
    assert {subject for _, subject in said.handlers} <= {None}


@pytest.mark.parametrize("target", [b"/graphql", b"/%67raphql", b"/mount/graphql", b"/public/graphql"])
def test_the_handlers_can_be_reached_at_all(server: Server, target: bytes) -> None:
    assert [subject for _, subject in say(server, written(target, GOOD)).handlers] == ["alice"]
    assert say(server, written(b"/public/x", door="both")).handlers == [("public", None)]


# ----------------------------------------------------------------------- preflights, and bodies

PREFLIGHT = b"Origin: https://app.test\r\nAccess-Control-Request-Method: POST\r\n"
QUERY = b'{"query": "{ me }"}'


def test_a_preflight_passes_as_anonymous(server: Server) -> None:
    said = say(server, written(fields=PREFLIGHT, method=b"OPTIONS"))
    assert (said.statuses, said.handlers) == ([200], [("graphql", None)])


@pytest.mark.parametrize("method", [b"OPTIONS", b"options", b"POST", b"GET", b"HEAD", b"PUT"])
def test_what_looks_like_a_preflight_but_has_a_body_or_another_method_is_refused(server: Server, method: bytes) -> None:
    said = say(server, written(fields=PREFLIGHT, method=method, body=QUERY))
    assert (said.statuses in ([400], [401], [405]), said.handlers) == (True, [])


def test_a_preflight_with_a_chunked_body_is_refused(server: Server) -> None:
    head = b"OPTIONS /graphql HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(QUERY), QUERY)
    said = say(server, head + PREFLIGHT + b"\r\n" + body)
    assert (said.statuses in ([400], [401]), said.handlers) == (True, [])


def test_a_preflight_cannot_be_another_method_in_disguise(server: Server) -> None:
    override = b"X-HTTP-Method-Override: POST\r\nX-Method-Override: POST\r\n"
    heard = say(server, written(fields=GOOD + override))
    assert b'["x-http-method-override", "x-method-override"]' in heard.data
    disguised = say(server, written(fields=PREFLIGHT + override, method=b"OPTIONS"))
    assert (disguised.handlers, b"[]" in disguised.data) == ([("graphql", None)], True)
    assert b"method-override" not in disguised.data.lower()


@pytest.mark.parametrize("first", [PREFLIGHT, GOOD], ids=["a preflight", "a good token"])
def test_who_was_heard_on_a_connection_is_forgotten_with_the_next_request(server: Server, first: bytes) -> None:
    method = b"OPTIONS" if first == PREFLIGHT else b"POST"
    said = say(server, written(fields=first, method=method, connection=b"keep-alive") + written())
    assert (said.statuses, len(said.handlers)) == ([200, 401], 1)


def test_a_request_hidden_in_a_body_of_two_lengths_is_nobodys(server: Server) -> None:
    fields = b"X-Door: all\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n"
    said = say(server, b"POST /graphql HTTP/1.1\r\nHost: x\r\n" + GOOD + fields + b"\r\n0\r\n\r\n" + written())
    assert said.handlers in ([], [("graphql", "alice")])
    assert said.statuses in ([400], [200], [200, 401])


def test_a_field_in_the_trailers_is_no_credential(server: Server) -> None:
    head = b"POST /graphql HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
    said = say(server, head + b"Trailer: Authorization\r\n\r\n0\r\n" + GOOD + b"\r\n")
    assert (said.statuses in ([400], [401]), said.handlers) == (True, [])


# ---------------------------------------------------------------------------------------- the law

EXAMPLES = 1500
AUTH = Authenticator(verifier())
TOKEN = local_issuer().token("alice")
CANONICAL = ["/graphql", "/health", "/public/graphql", "/api/graphql", "/api/v1/graphql", "/api/health", "/größe"]
CATCH_ALL = ["/public/", "/files/"]
PATHS = [[], ["/graphql"], ["/api"], ["/"], ["/graphql", "/public/graphql"], ["/api/graphql", "/files"], ["/größe"]]
PUBLIC = [[], ["/health"], ["/public/*"], ["/public/*", "/health"], ["/*"], ["/api/*", "/public/x"], ["/files/*"]]
PLAIN = ["graphql", "public", "api", "v1", "health", "files", "mnt", "x", "gr%C3%B6%C3%9Fe"]
TRICKS = [
    *(
        "",
        ".",
        "..",
        "%2e",
        "%2e%2e",
        "..;",
        ";",
        "..%2f",
        "%2f",
        "%5c",
        "\\",
        "%00",
        "%0a",
        "%20",
        "%25",
        "%ff",
        "%3b",
    ),
    *("GRAPHQL", "GraphQL", "Public", "%67raphql", "%47raphql", "graphql;x", "graphql%00", "graphql%0a", "graphql%20"),
    *("graphql.", "graphql%2f", "graphql%3f", "graphql%23", "%2567raphql", "graph%C7%AAl", "%EF%BD%87raphql"),
    *("public%2fgraphql", "public%2f..", "api%2fgraphql", "gro%CC%88%C3%9Fe", "gr%C3%B6sse", "gr%F6%DFe", "apigraphql"),
]


ROUTES = [path.replace("ö", "%C3%B6").replace("ß", "%C3%9F") for path in [*CANONICAL, "/public/x", "/files/graphql"]]
ENDS = ["/", "//", "/.", "/x", ";x", "%2f", "%0a", "%00", "%20", "%3f", "\\"]
Change = Callable[[st.DrawFn, str], str]


def _at(found: str, instead: Callable[[re.Match[str]], str]) -> Change:
    """Changes one of the places where this pattern is found."""

    def change(draw: st.DrawFn, path: str) -> str:
        places = list(re.finditer(found, path))
        if not places:
            return path
        place = draw(st.sampled_from(places))
        return path[: place.start()] + instead(place) + path[place.end() :]

    return change


CHANGES: list[Change] = [
    _at("/", lambda _: "//"),
    _at("/", lambda _: "%2f"),
    _at("(?<!%)(?<!%.)[a-z]", lambda place: f"%{ord(place[0]):02x}"),
    _at("(?<!%)(?<!%.)[a-z]", lambda place: place[0].upper()),
    lambda _draw, path: path.removeprefix("/"),
    lambda draw, path: path + draw(st.sampled_from(ENDS)),
    lambda draw, path: f"/{draw(st.sampled_from(PLAIN + TRICKS))}{path}",
    lambda draw, path: _at("/", lambda _: f"/{draw(st.sampled_from(TRICKS))}/")(draw, path),
]


@st.composite
def _asked(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A raw path, a route changed a little or not at all, or any segments; and `paths=`, often that very route."""
    paths = draw(st.sampled_from(PATHS))
    if draw(st.integers(0, 5)):
        path = draw(st.sampled_from(ROUTES))
        if draw(st.booleans()):
            paths = [unquote(path)]
        for change in draw(st.lists(st.sampled_from(CHANGES), max_size=2)):
            path = change(draw, path)
        return path, paths
    segments = draw(st.lists(st.sampled_from(PLAIN + TRICKS), min_size=1, max_size=5))
    return draw(st.sampled_from(["/", "//", ""])) + "/".join(segments) + draw(st.sampled_from(["", "/"])), paths


def is_protected(seen: str, root: str, paths: list[str], public: list[str]) -> bool:
    """What the developer asked for, of a handler: by the path that it is registered for, plainly."""
    within = f"{root.rstrip('/')}{seen}/"
    guarded = max((len(path) for path in paths if path.rstrip("/") + "/" in within), default=-1)
    lengths = (len(p.removesuffix("/*")) for p in public if seen == p or (p[-1] == "*" and seen.startswith(p[:-1])))
    return max(lengths, default=-1) <= guarded and (guarded >= 0 or not paths)


class Seen:
    """Which handlers were reached, by their path, and whether they knew who was calling."""

    def __init__(self) -> None:
        self.reached: list[tuple[str, bool]] = []

    def note(self, path: str) -> None:
        self.reached.append((path, current_auth().is_authenticated))

    def taken(self) -> list[tuple[str, bool]]:
        reached, self.reached = self.reached, []
        return reached


SEEN = Seen()
Send = Callable[[Any, bool], None]
"""Sends the request of one example through an app, with a token or without one."""


def hold(app: Any, guard: Callable[[Any], Any], send: Send, protected: Callable[[str], bool]) -> None:
    """The law, for one request: whom the bare app would serve is served with a token, and only the public without."""
    send(app, False)
    bare = [path for path, _ in SEEN.taken()]
    send(guard(app), True)
    assert [path for path, _ in SEEN.taken()] == bare
    send(guard(app), False)
    reached = SEEN.taken()
    assert not any(is_authenticated for _, is_authenticated in reached)
    assert [path for path, _ in reached if protected(path)] == []


def starlette_handler(path: str) -> Any:
    async def handle(request: Request) -> Response:
        SEEN.note(path + request.path_params.get("rest", ""))
        return Response("")

    return handle


def starlette_routes(prefix: str, *paths: str) -> list[Any]:
    return [Route(path, starlette_handler(prefix + path), methods=["GET", "POST"]) for path in paths]


def starlette_app(redirect_slashes: bool) -> Starlette:
    app = Starlette(
        routes=[
            *starlette_routes("", "/graphql", "/health", "/public/graphql", "/größe"),
            *(Route(path + "{rest:path}", starlette_handler(path), methods=["GET", "POST"]) for path in CATCH_ALL),
            Mount(
                "/api",
                routes=[
                    *starlette_routes("/api", "/graphql", "/health"),
                    Mount("/v1", routes=starlette_routes("/api/v1", "/graphql")),
                ],
            ),
        ]
    )
    app.router.redirect_slashes = redirect_slashes
    return app


STARLETTE = {redirects: starlette_app(redirects) for redirects in (True, False)}


@settings(max_examples=EXAMPLES)
@given(
    asked=_asked(),
    root=st.sampled_from(["", "", "/api", "/public", "/x/y"]),
    told=st.sampled_from(["with its root", "without it", "as it came"]),
    is_inside=st.booleans(),
    has_raw=st.booleans(),
    redirects=st.booleans(),
    public=st.sampled_from(PUBLIC),
)
def test_what_reaches_a_guarded_handler_on_asgi_was_authenticated(
    asked: tuple[str, list[str]],
    root: str,
    told: str,
    is_inside: bool,
    has_raw: bool,
    redirects: bool,
    public: list[str],
) -> None:
    target, paths = asked
    mount = "/mnt" if is_inside else ""
    raw = mount + target
    if told == "with its root":  # as uvicorn does; hypercorn does not, and a proxy may or may not strip it
        raw = root + raw
    scope: dict[str, Any] = {
        "path": unquote(raw),
        "root_path": "" if told == "without it" else root,
        "query_string": b"",
    }
    scope["raw_path"] = raw.encode() if has_raw else None

    def guard(app: Any) -> Any:
        return asgi.AuthMiddleware(app, AUTH, paths=paths, public_paths=public)

    def send(app: Any, has_token: bool) -> None:
        if is_inside:
            app = Starlette(routes=[Mount(mount, app=app)])
        headers = [("authorization", f"Bearer {TOKEN}")] if has_token else []
        asgi_request(app, headers=headers, **scope)

    hold(
        STARLETTE[redirects],
        guard,
        send,
        lambda path: is_protected(path, scope["root_path"] + mount, paths, public),
    )


def flask_app(prefix: str, merge_slashes: bool, strict_slashes: bool) -> Flask:
    app = Flask(__name__)
    app.url_map.merge_slashes = merge_slashes
    app.url_map.strict_slashes = strict_slashes

    def add(path: str, rule: str) -> None:
        def handle(rest: str = "") -> str:
            SEEN.note(prefix + path + rest)
            return ""

        app.add_url_rule(rule, path, handle, methods=["GET", "POST"], provide_automatic_options=False)

    for path in ["/graphql", "/v1/graphql", "/health"] if prefix else CANONICAL:
        add(path, path)
    for path in CATCH_ALL:
        add(path, f"{path}<path:rest>")
    return app


KINDS = [(merge, strict) for merge in (True, False) for strict in (True, False)]
FLASK = {kind: flask_app("", *kind).wsgi_app for kind in KINDS}
DISPATCHED = {
    kind: DispatcherMiddleware(flask_app("", *kind).wsgi_app, {"/api": flask_app("/api", *kind).wsgi_app})
    for kind in KINDS
}


def wsgi_request(app: Any, script_name: str, path_info: str, has_token: bool) -> None:
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "QUERY_STRING": "",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
    }
    if has_token:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    body = app(environ, lambda *_args: None)
    b"".join(body)
    if hasattr(body, "close"):
        body.close()


@settings(max_examples=EXAMPLES)
@given(
    asked=_asked(),
    script_name=st.sampled_from(["", "", "/api", "/public", "/x/", "/x/y"]),
    is_inside=st.booleans(),
    is_dispatched=st.booleans(),
    kind=st.sampled_from(KINDS),
    public=st.sampled_from(PUBLIC),
)
def test_what_reaches_a_guarded_handler_on_wsgi_was_authenticated(
    asked: tuple[str, list[str]],
    script_name: str,
    is_inside: bool,
    is_dispatched: bool,
    kind: tuple[bool, bool],
    public: list[str],
) -> None:
    target, paths = asked
    mount = "/mnt" if is_inside else ""
    path_info = unquote_to_bytes(mount + target).decode("latin-1")  # gunicorn leaves out the slash, given `/apigraphql`

    def guard(app: Any) -> Any:
        return wsgi.AuthMiddleware(app, AUTH, paths=paths, public_paths=public)

    def send(app: Any, has_token: bool) -> None:
        if is_inside:
            app = DispatcherMiddleware(Flask("nothing").wsgi_app, {mount: app})
        wsgi_request(app, script_name, path_info, has_token)

    hold(
        DISPATCHED[kind] if is_dispatched else FLASK[kind],
        guard,
        send,
        lambda path: is_protected(path, script_name.rstrip("/") + mount, paths, public),
    )
