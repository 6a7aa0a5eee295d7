"""A browser, Chromium: a page on one origin asks a GraphQL server on another, with the preflights that takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from graphql_authkit.testing import LocalIssuer
from tests.peers.loopback import Handler, serving
from tests.servers import Server, free_port, need, running, uvicorn_server

HERE = Path(__file__).parent
REPORT_SECONDS = 30.0
QUIET = [
    "--headless",
    "--no-sandbox",  # containers run tests as root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-breakpad",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # it asks nobody but us
]


class Page:
    """A web server with page.html: it says what the page is to ask, and is told what became of that."""

    def __init__(self) -> None:
        self.asks: list[dict[str, str | None]] = []
        self.reports: Queue[Any] = Queue()
        self.origin = ""

    @contextmanager
    def serve(self) -> Iterator[Page]:
        page = self

        class Site(Handler):
            def do_GET(self) -> None:
                if self.path == "/":
                    self.answer(200, "text/html", (HERE / "page.html").read_bytes())
                elif self.path == "/asks":
                    self.answer(200, "application/json", json.dumps(page.asks).encode())
                else:
                    self.answer(404, "text/plain")  # its icon

            def do_POST(self) -> None:
                report = json.loads(self.body())
                self.answer(200, "text/plain")
                page.reports.put(report)

        with serving(Site) as self.origin:
            yield self


@contextmanager
def chromium(url: str, home: Path) -> Iterator[Server]:
    """Chromium at a page, with a profile and a home of its own."""
    port = free_port()
    own = [f"--user-data-dir={home / 'profile'}", f"--remote-debugging-port={port}"]  # a port to await it at
    with running(["chromium", *QUIET, *own, url], port=port, env={"HOME": str(home)}) as browser:
        yield browser


def read(page: Page, asks: list[dict[str, str | None]], home: Path) -> Any:
    """What the page reports, once Chromium has loaded it."""
    page.asks = asks
    with chromium(f"{page.origin}/", home) as browser:
        try:
            return page.reports.get(timeout=REPORT_SECONDS)
        except Empty:
            pytest.fail(f"the page reported nothing:\n{browser.output()}")


def refused(challenge: str, message: str, reason: str) -> dict[str, Any]:
    """What a script reads of a 401."""
    extensions = {"code": "UNAUTHENTICATED", "reason": reason}
    return {"status": 401, "challenge": challenge, "body": {"errors": [{"message": message, "extensions": extensions}]}}


def preflights(server: Server) -> int:
    return server.output().count('"OPTIONS /graphql HTTP/1.1" 200')


def test_a_page_of_an_allowed_origin_passes_the_preflight_reads_why_it_is_refused_and_gets_data_with_a_token(
    issuer: LocalIssuer, tmp_path: Path
) -> None:
    need("chromium", "apt-get install chromium")
    with ExitStack() as stack:
        page = stack.enter_context(Page().serve())
        env = {"ISSUER": issuer.issuer, "PAGE_ORIGIN": page.origin}
        api, inside_out = (
            stack.enter_context(uvicorn_server(f"tests.peers.strawberry_apps:{name}", env=env))
            for name in ("for_page", "inside_out")
        )
        good, expired = issuer.token("alice"), issuer.token("alice", lifetime=-3600)
        asks = [(api, None), (api, expired), (api, good), (inside_out, None), (inside_out, good)]
        questions = [{"url": f"{server.url}/graphql", "token": token} for server, token in asks]
        report = read(page, questions, tmp_path)
        granted = {"status": 200, "challenge": None, "body": {"data": {"me": "alice"}}}
        description = 'error="invalid_token", error_description="The access token expired."'
        assert report == {
            "origin": page.origin,
            "answers": [
                refused('Bearer realm="GraphQL"', "Authentication is required.", "MISSING_CREDENTIAL"),
                refused(f'Bearer realm="GraphQL", {description}', "The access token expired.", "TOKEN_EXPIRED"),
                granted,
                {"error": "TypeError"},  # with CORS inside authentication, a page cannot read a 401 …
                granted,  # … though its preflights pass
            ],
        }
        assert (preflights(api), preflights(inside_out)) == (3, 2)
