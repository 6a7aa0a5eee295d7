"""The shared stores keep the contract, alone and under a replica, through both drivers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import sqlalchemy as sa

from graphql_authkit.stores.redis import RedisRevocationStore
from graphql_authkit.stores.replicated import ReplicatedRevocationStore
from graphql_authkit.stores.sql import SQLRevocationStore, metadata
from tests.stores.contract import StoreContract
from tests.stores.servers import RedisServer


class OfRedis(StoreContract):
    @pytest.fixture(autouse=True)
    def an_empty_server(self, redis_at: RedisServer) -> Iterator[None]:
        self.server = redis_at
        self.made: list[Any] = []
        with redis_at.client() as client:
            client.flushall()
        yield
        for store in self.made:
            store.close()

    def make_store(self) -> Any:
        store = RedisRevocationStore(self.server.client(), log_seconds=400 * 86_400.0, deadline=5.0)
        store.create()
        self.made.append(store)
        return store


class TestRedis(OfRedis):
    pass


class TestRedisGivenAnAsyncClient(OfRedis):
    def make_store(self) -> Any:
        client = redis.asyncio.Redis(port=self.server.port)
        store = RedisRevocationStore(client, log_seconds=400 * 86_400.0, deadline=5.0)
        store.create()
        self.made.append(store)
        return store


class TestReplicaOfRedis(OfRedis):
    def make_store(self) -> Any:
        store = ReplicatedRevocationStore(super().make_store())
        self.made.insert(0, store)
        return store


class OfSQL(StoreContract):
    @pytest.fixture(scope="class", name="engine")
    @classmethod
    def an_engine(cls, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
        made = sa.create_engine(cls.make_url(postgres_url, Path(tmp_path_factory.mktemp("sql"))))
        metadata.drop_all(made)
        metadata.create_all(made)
        yield made
        made.dispose()

    @pytest.fixture(autouse=True)
    def an_empty_database(self, engine: sa.Engine) -> Iterator[None]:
        self.engine = engine
        self.made: list[Any] = []
        with engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(sa.delete(table))
        yield
        for store in self.made:
            store.close()

    @classmethod
    def make_url(cls, postgres_url: str, directory: Path) -> str:
        return f"sqlite:///{directory / 'revocations.db'}"

    def make_store(self) -> Any:
        store = SQLRevocationStore(self.engine, deadline=5.0)
        store.create()
        self.made.append(store)
        return store


class TestSQLite(OfSQL):
    pass


class TestReplicaOfSQLite(OfSQL):
    def make_store(self) -> Any:
        store = ReplicatedRevocationStore(super().make_store())
        self.made.insert(0, store)
        return store


class TestPostgreSQL(OfSQL):
    @classmethod
    def make_url(cls, postgres_url: str, directory: Path) -> str:
        return postgres_url


class TestReplicaOfPostgreSQL(TestReplicaOfSQLite):
    @classmethod
    def make_url(cls, postgres_url: str, directory: Path) -> str:
        return postgres_url
