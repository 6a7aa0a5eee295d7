"""Several processes at one origin: each learns of all, after forks as well, and each may end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ROOT
from tests.stores.origins import place_of
from tests.stores.proxy import proxied
from tests.stores.servers import PostgresServer
from tests.stores.workers import is_revoked, quietly

KINDS = ["redis", "postgresql", "sqlite"]
COUNT = 25


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with place_of(request.param, request, tmp_path) as made:
        made.kind = request.param
        made.where = str(made.server.port) if request.param == "redis" else str(made.engine.url)
        yield made


def spawn(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", "tests.stores.workers", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outputs(processes: list[subprocess.Popen[str]], seconds: float) -> tuple[list[int | None], str]:
    """Their exit statuses, None for one that had to be killed, and what they said."""
    deadline = time.monotonic() + seconds
    statuses: list[int | None] = []
    said = []
    for process in processes:
        try:
            text, _ = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
            statuses.append(process.returncode)
        except subprocess.TimeoutExpired:
            process.kill()
            text, _ = process.communicate()
            statuses.append(None)
        said.append(text)
    return statuses, "\n".join(said)


def test_processes_that_revoke_at_a_high_rate_see_all_of_each_other(place: Any) -> None:
    origin = place.store()
    origin.create()
    names = ["one", "two", "three"]
    processes = [
        spawn("talk", place.kind, place.where, name, ",".join(set(names) - {name}), str(COUNT)) for name in names
    ]
    statuses, said = outputs(processes, 60)
    assert statuses == [0, 0, 0], said
    direct = quietly(origin)
    lost = [
        f"{name}-{number}" for name in names for number in range(COUNT) if not is_revoked(direct, f"{name}-{number}")
    ]
    assert lost == [], said


@pytest.mark.parametrize("used", ["unused", "used"])
def test_forked_processes_go_on_with_connections_of_their_own(place: Any, used: str) -> None:
    place.store().create()
    place.close()
    statuses, said = outputs([spawn("fork", place.kind, place.where, used)], 25)
    assert statuses == [0], said


def test_a_process_may_end_while_its_database_hangs(postgres_at: PostgresServer) -> None:
    with proxied(postgres_at.socket_path) as proxy:
        proxy.hold()
        statuses, said = outputs([spawn("leave", "sql", postgres_at.url_at(proxy.address))], 12)
    assert statuses == [0], said
