"""One redis-server for the tests of a module and one PostgreSQL for all, and followers that do not dawdle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphql_authkit.stores import origin, replicated, sql
from tests.stores.origins import RedisPlace, SQLPlace, place_of
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
def postgres_at() -> Iterator[PostgresServer]:
    """In a directory of its own: as root it runs as another user, whom pytest's next run shuts out of its own."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as directory, postgres_server(Path(directory)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_at: PostgresServer) -> str:
    return postgres_at.url


# Where stores keep their data, of each kind, and of one kind alone.


@pytest.fixture(params=["redis", "postgresql", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with place_of(request.param, request, tmp_path) as made:
        yield made


@pytest.fixture(params=["postgresql", "sqlite"])
def sql_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLPlace]:
    with place_of(request.param, request, tmp_path) as made:
        yield made


@pytest.fixture
def redis_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisPlace]:
    with place_of("redis", request, tmp_path) as made:
        yield made


@pytest.fixture
def sqlite_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLPlace]:
    with place_of("sqlite", request, tmp_path) as made:
        yield made


@pytest.fixture
def postgres_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLPlace]:
    with place_of("postgresql", request, tmp_path) as made:
        yield made
