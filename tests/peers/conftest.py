"""What the peers' tests share: npm's packages, an HTTP client, an issuer, and Node.js scripts that answer in JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from graphql_authkit.testing import LocalIssuer
from tests.servers import missing, need

HERE = Path(__file__).parent

Script = Callable[..., Any]


@pytest.fixture(scope="session")
def packages() -> None:
    """What package-lock.json says, from npm."""
    need("node", "apt-get install nodejs npm")
    need("npm", "apt-get install nodejs npm")
    installed = HERE / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime:
        return
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    patience = ["--fetch-timeout=30000", "--fetch-retry-mintimeout=1000"]  # milliseconds
    result = subprocess.run([*command, *patience], cwd=HERE, capture_output=True, text=True, timeout=180, check=False)
    if result.returncode != 0:
        reason = next((line for line in result.stderr.splitlines() if "error" in line.lower()), "no reason given")
        missing(f"tests/peers/node_modules ({reason})", "npm ci --prefix tests/peers")


@pytest.fixture(scope="session")
def http() -> Iterator[httpx2.Client]:
    """A client that ignores proxies and keeps no connection to a server that may be gone."""
    with httpx2.Client(trust_env=False, timeout=15, limits=httpx2.Limits(max_keepalive_connections=0)) as client:
        yield client


@pytest.fixture(scope="session")
def issuer() -> Iterator[LocalIssuer]:
    """An issuer with its keys on loopback, which can also make what no provider would: expired tokens."""
    issuer = LocalIssuer()
    with issuer.serve():
        yield issuer


@pytest.fixture(scope="session")
def script(packages: None) -> Script:
    """Runs one of the scripts here: the arguments to its stdin, and from its stdout what it found, both as JSON."""

    def run(name: str, **arguments: object) -> Any:
        result = subprocess.run(
            ["node", HERE / name],
            input=json.dumps(arguments),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (result.returncode, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return run
