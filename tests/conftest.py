from __future__ import annotations

import os

import graphql
import pytest
from hypothesis import settings

from tests.support import Clock, Driver

# `make test` runs each version's tests in its own environment; Graphene needs graphql-core 3.2.
collect_ignore = ["authorization/test_core33.py"] if graphql.version_info < (3, 3) else ["core32"]

settings.register_profile("ci", max_examples=400, deadline=None)
settings.register_profile("dev", max_examples=60, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")


@pytest.fixture(params=["sync", "asyncio"])
def drive(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param)


@pytest.fixture
def clock() -> Clock:
    return Clock()
