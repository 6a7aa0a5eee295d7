"""Make the virtual environments that `make` runs in, once for each change of pyproject.toml.

Standard library only: a fresh Debian 12 has python3, make and git, and neither pip nor venv.

    python3 .ci/bootstrap.py GROUP DIRECTORY    # dev .venv, or dev-core32 .venv-core32
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = "pip>=25.1"  # the first with --group
DEBIAN = ["apt-get", "install", "-y", "--no-install-recommends", "python3-venv"]


def main(group: str, directory: str) -> None:
    if sys.version_info < (3, 11):
        sys.exit(f"graphql-authkit needs Python 3.11 or later; this is {sys.version.split()[0]}")
    target = ROOT / directory
    stamp = target / "graphql-authkit.stamp"
    wanted = _fingerprint(group)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    _need_ensurepip()
    print(f"making {directory} ({group}) ...", flush=True)
    venv.create(target, with_pip=True, clear=True)
    python = str(target / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--upgrade", PIP], check=True, cwd=ROOT)
    subprocess.run([*pip, "install", "--editable", ".", "--group", group], check=True, cwd=ROOT)
    stamp.write_text(wanted)


def _fingerprint(group: str) -> str:
    parts = [(ROOT / "pyproject.toml").read_bytes(), group.encode(), sys.version.encode(), str(ROOT).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _need_ensurepip() -> None:
    """Debian keeps ensurepip in a package of its own."""
    if importlib.util.find_spec("ensurepip") is not None:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"this Python has no ensurepip. Install it, then try again:\n\n    sudo {' '.join(DEBIAN)}\n")
    print("installing Debian's python3-venv ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-q"], check=True, env=environment, stdout=subprocess.DEVNULL)
    subprocess.run(DEBIAN, check=True, env=environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except subprocess.CalledProcessError as failure:
        sys.exit(f"failed ({failure.returncode}): {' '.join(map(str, failure.cmd))}")
