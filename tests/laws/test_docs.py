"""What the README and the documentation show, runs."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser

from tests.servers import free_port, running

ROOT = Path(__file__).resolve().parents[2]
SYBIL = Sybil(parsers=[PythonCodeBlockParser()])


PAGES = [
    "docs/getting-started.md",
    "docs/errors.md",
    "docs/frameworks.md",
    "docs/providers.md",
    "docs/revocation.md",
    "docs/authorization.md",
]


@pytest.mark.parametrize("name", PAGES)
def test_the_snippets_of_a_page_run_in_their_order(name: str) -> None:
    document = SYBIL.parse(ROOT / name)
    examples = list(document.examples())
    for example in examples:
        example.evaluate()
    assert len(examples) >= 2


def readme_blocks() -> dict[str, str]:
    """The README's Python blocks, by the file name in the comment above, or by number."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"(?:<!-- test: (\S+) -->\n)?```python\n(.*?)```", text, re.DOTALL)
    return {name or str(number): code for number, (name, code) in enumerate(blocks)}


def test_the_readmes_other_snippets_run() -> None:
    blocks = {name: code for name, code in readme_blocks().items() if name.isdigit()}
    for code in blocks.values():
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert len(blocks) == 3


@pytest.fixture
def bare_python(tmp_path: Path) -> str:
    """The Python of a new virtual environment in which the README's own pip line was run, under CI; else this one."""
    if os.environ.get("CI") != "true":
        return sys.executable
    venv.create(tmp_path / "bare", with_pip=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    (line,) = re.findall(r"^\$ pip (install \. .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    subprocess.run([python, "-m", "pip", "--quiet", *shlex.split(line)], cwd=ROOT, check=True)
    return python


@pytest.fixture
def trial(tmp_path: Path, bare_python: str) -> Iterator[tuple[Path, int]]:
    """The README's server.py, served by uvicorn from a folder that holds nothing else but issue.py."""
    for name in ("server.py", "issue.py"):
        (tmp_path / name).write_text(readme_blocks()[name])
    port = free_port()
    argv = [bare_python, "-m", "uvicorn", "server:app", "--port", str(port), "--log-level", "warning"]
    with running(argv, port=port, cwd=tmp_path):
        yield tmp_path, port


def test_the_readmes_ten_lines_answer_as_printed(trial: tuple[Path, int], bare_python: str) -> None:
    folder, port = trial
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    issued = subprocess.run(
        [bare_python, "issue.py"], cwd=folder, env=environ, capture_output=True, text=True, check=True
    )

    def ask(headers: dict[str, str]) -> tuple[int, str | None, object]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/graphql", '{"query":"{ me }"}', {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        result = answer.status, answer.headers["www-authenticate"], json.loads(answer.read())
        connection.close()
        return result

    status, challenge, _ = ask({})
    assert (status, challenge) == (401, 'Bearer realm="GraphQL"')
    assert ask({"Authorization": f"Bearer {issued.stdout.strip()}"}) == (200, None, {"data": {"me": "alice"}})
