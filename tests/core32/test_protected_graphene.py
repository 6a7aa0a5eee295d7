"""A protected schema of Graphene, on a real server; it needs graphql-core 3.2."""

from __future__ import annotations

from contextlib import AbstractContextManager

from tests.frameworks.contract import ENV
from tests.frameworks.protected import ProtectedContract
from tests.servers import Server, gunicorn_server


class TestGraphene(ProtectedContract):
    @staticmethod
    def serve() -> AbstractContextManager[Server]:
        return gunicorn_server("tests.core32.apps_protected_graphene:app", env=ENV)
