"""The bootstrap behind `make` says what it needs, where it cannot get it by itself."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PATH = Path(__file__).resolve().parents[2] / ".ci" / "bootstrap.py"


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def calls(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A Python without ensurepip, on which commands are noted and not run."""
    noted: list[list[str]] = []
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: noted.append(command))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: f"/usr/bin/{name}")
    return noted


def test_without_ensurepip_a_user_is_told_the_exact_command(
    bootstrap: Any, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit) as stopped:
        bootstrap._need_ensurepip()
    assert "    sudo apt-get install -y --no-install-recommends python3-venv\n" in str(stopped.value)
    assert calls == []


def test_without_ensurepip_root_gets_debians_package(
    bootstrap: Any, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    bootstrap._need_ensurepip()
    assert calls[-1] == ["apt-get", "install", "-y", "--no-install-recommends", "python3-venv"]


def test_it_installs_once_for_each_change_of_pyproject(
    bootstrap: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def create(target: Path, **_options: Any) -> None:
        target.mkdir(exist_ok=True)
        made.append(target)

    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap.venv, "create", create)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: None)
    (tmp_path / "pyproject.toml").write_text("one")
    bootstrap.main("dev", ".venv")
    bootstrap.main("dev", ".venv")
    assert len(made) == 1
    (tmp_path / "pyproject.toml").write_text("two")
    bootstrap.main("dev", ".venv")
    assert len(made) == 2
