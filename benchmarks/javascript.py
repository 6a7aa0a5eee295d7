"""Node's peers: their packages as `node/package-lock.json` says, and fast-jwt in a process that is asked in turn."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import Timed

NODE = Path(__file__).parent / "node"
INSTALL = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-timeout=30000"]
STOP_SECONDS = 5.0


def missing() -> str | None:
    """Install the packages where they are not; what keeps Node's peers from running, or None."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node's peers are left out: apt-get install nodejs npm"
    installed = NODE / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= (NODE / "package-lock.json").stat().st_mtime:
        return None
    result = subprocess.run(INSTALL, cwd=NODE, capture_output=True, text=True, timeout=300, check=False)
    return None if result.returncode == 0 else f"Node's peers are left out: npm ci failed\n{result.stderr[-500:]}"


def versions(*names: str) -> dict[str, str]:
    """Of Node, and of the packages named."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    found = {"node": node.removeprefix("v")}
    for name in names:
        found[name] = json.loads((NODE / "node_modules" / name / "package.json").read_text())["version"]
    return found


class Worker:
    """A Node.js process that does what a line of JSON asks, and answers with one.

    Args:
        process: Of `fast-jwt.mjs`, or another that speaks so.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **request: object) -> Any:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a worker without pipes")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def verifies(self, token: str) -> bool:
        return bool(self.ask(verify=token))


@contextmanager
def fast_jwt(key: str, tokens: Sequence[str], *, issuer: str, audience: str, cache: int | bool) -> Iterator[Worker]:
    """fast-jwt's verifier, given its key and tokens, until closed.

    Args:
        key: PEM.
        tokens: Verified in this order, again and again.
        issuer: That tokens must have.
        audience: That tokens must have.
        cache: How many results it remembers.
    """
    with started("fast-jwt.mjs") as worker:
        worker.ask(key=key, tokens=list(tokens), issuer=issuer, audience=audience, cache=cache)
        yield worker


@contextmanager
def started(script: str) -> Iterator[Worker]:
    """A worker, until closed."""
    process = subprocess.Popen(["node", NODE / script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Worker(process)
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


@dataclass(frozen=True)
class NodeCase(Timed):
    """A worker's verifications, timed by itself: asking it costs nothing that counts."""

    worker: Worker

    def seconds(self, calls: int) -> float:
        return float(self.worker.ask(calls=calls)) / 1e9
