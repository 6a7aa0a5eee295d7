"""A protected schema of Ariadne, on a real server."""

from __future__ import annotations

from contextlib import AbstractContextManager

from tests.frameworks.contract import ENV
from tests.frameworks.protected import ProtectedContract
from tests.servers import Server, uvicorn_server


class TestAriadne(ProtectedContract):
    @staticmethod
    def serve() -> AbstractContextManager[Server]:
        return uvicorn_server("tests.frameworks.apps_protected_ariadne:app", env=ENV)
