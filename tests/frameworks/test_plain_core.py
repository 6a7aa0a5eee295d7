"""graphql-core alone behind the middleware, in the views of Starlette and Flask, on real servers."""

from __future__ import annotations

from contextlib import AbstractContextManager

from tests.frameworks.contract import ENV, NO_CONTEXT, FrameworkContract
from tests.servers import Server, gunicorn_server, uvicorn_server


class TestStarletteOnUvicorn(FrameworkContract):
    bare_kind = "NoneType"
    bare_writes = NO_CONTEXT

    @staticmethod
    def serve() -> AbstractContextManager[Server]:
        return uvicorn_server("tests.frameworks.apps_starlette:app", env=ENV)


class TestFlaskOnGunicorn(FrameworkContract):
    bare_kind = "NoneType"
    bare_writes = NO_CONTEXT

    @staticmethod
    def serve() -> AbstractContextManager[Server]:
        return gunicorn_server("tests.frameworks.apps_flask:app", env=ENV)
