"""Graphene behind the middleware, on a real server; it needs graphql-core 3.2."""

from __future__ import annotations

from contextlib import AbstractContextManager

from tests.frameworks.contract import ENV, FrameworkContract
from tests.servers import Server, gunicorn_server


class TestGrapheneOnFlask(FrameworkContract):
    bare_kind = "Context"
    bare_writes = {
        "replace attribute": "written, and the caller is None",
        "add attribute": "written, and the caller is alice",
        "replace item": "'Context' object does not support item assignment",
        "delete item": "'Context' object does not support item deletion",
    }

    @staticmethod
    def serve() -> AbstractContextManager[Server]:
        return gunicorn_server("tests.core32.apps_graphene:app", env=ENV)
