"""A protected schema of Strawberry, on a real server."""

from __future__ import annotations

from contextlib import AbstractContextManager

from tests.frameworks.contract import ENV
from tests.frameworks.protected import ProtectedContract
from tests.servers import Server, uvicorn_server


class TestStrawberry(ProtectedContract):
    @staticmethod
    def serve() -> AbstractContextManager[Server]:
        return uvicorn_server("tests.integrations.apps_protected_strawberry:app", env=ENV)
