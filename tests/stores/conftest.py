"""One redis-server for the tests of a module and one PostgreSQL for all, and followers that do not dawdle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graphql_authkit.stores import origin, replicated, sql
from tests.stores.servers import PostgresServer, RedisServer, postgres_server, redis_server


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less where nothing happens: a replica's closing waits for the poll that is under way."""
    monkeypatch.setattr(replicated, "POLL", 0.02)
    monkeypatch.setattr(sql, "POLL", 0.005)
    monkeypatch.setattr(origin, "PAUSE", 0.1)


@pytest.fixture(scope="module")
def redis_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(Path(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(Path(tmp_path_factory.mktemp("postgres"))) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_at: PostgresServer) -> str:
    return postgres_at.url
