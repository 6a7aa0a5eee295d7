"""Strawberry behind the middleware, on FastAPI and on Flask, on real servers."""

from __future__ import annotations

from contextlib import AbstractContextManager

from tests.frameworks.contract import ENV, IDP, WRITABLE_DICT, FrameworkContract
from tests.servers import Server, gunicorn_server, uvicorn_server


class StrawberryContract(FrameworkContract):
    """`/default` has the extension, and the context that the view makes by itself."""

    bare_kind = "dict"
    bare_writes = WRITABLE_DICT

    def test_the_views_own_context_is_frozen_by_the_extension(self, server: Server) -> None:
        assert self.ask(server, "/default", "{ me caller }", IDP.token("bob")).data == {"me": "bob", "caller": "bob"}
        self.is_frozen(server, "/default")


class TestFastAPIOnUvicorn(StrawberryContract):
    @staticmethod
    def serve() -> AbstractContextManager[Server]:
        return uvicorn_server("tests.integrations.apps_strawberry_fastapi:app", env=ENV)


class TestFlaskOnGunicorn(StrawberryContract):
    @staticmethod
    def serve() -> AbstractContextManager[Server]:
        return gunicorn_server("tests.integrations.apps_strawberry_flask:app", env=ENV)
