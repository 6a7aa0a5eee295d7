"""Ariadne behind the middleware, on real servers of both kinds."""

from __future__ import annotations

from contextlib import AbstractContextManager

from tests.frameworks.contract import ENV, WRITABLE_DICT, FrameworkContract
from tests.servers import Server, gunicorn_server, uvicorn_server


class TestAriadneOnUvicorn(FrameworkContract):
    bare_kind = "dict"
    bare_writes = WRITABLE_DICT

    @staticmethod
    def serve() -> AbstractContextManager[Server]:
        return uvicorn_server("tests.frameworks.apps_ariadne_asgi:app", env=ENV)


class TestAriadneOnGunicorn(FrameworkContract):
    bare_kind = "dict"
    bare_writes = WRITABLE_DICT

    @staticmethod
    def serve() -> AbstractContextManager[Server]:
        return gunicorn_server("tests.frameworks.apps_ariadne_wsgi:app", env=ENV)
