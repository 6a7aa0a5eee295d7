"""The command line: what it writes is what servers read, and what it cannot do it says without secrets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from graphql_authkit import Revocations
from graphql_authkit.cli import main
from graphql_authkit.errors import TokenRevoked
from graphql_authkit.stores.sql import SQLRevocationStore
from tests.support import ISSUER, Clock, local_issuer, verifier


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'revocations.db'}"


def is_revoked(url: str, **claims: Any) -> bool:
    import time

    now = time.time()
    token = verifier(clock=Clock(now)).verify(
        local_issuer().token("alice", claims={"iat": int(now) - 1, "exp": int(now) + 600, **claims})
    )
    engine = sa.create_engine(url)
    store = SQLRevocationStore(engine, deadline=5.0)
    try:
        Revocations(store).check(token)
    except TokenRevoked:
        return True
    finally:
        store.close()
        engine.dispose()
    return False


def run(url: str, *arguments: str) -> int:
    return main(["revocations", "--sql", url, *arguments])


def test_a_store_is_set_up_once(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert [run(url, "init"), run(url, "init")] == [0, 0]
    assert capsys.readouterr().out.splitlines() == [
        "the list begins now",
        "the list was there already, and stays as it is",
    ]


@pytest.mark.parametrize(
    "what",
    [
        ["--issuer", ISSUER, "--subject", "alice"],
        ["--issuer", ISSUER, "--session", "s-1"],
        ["--issuer", ISSUER, "--client", "c-1"],
        ["--issuer", ISSUER, "--token-id", "t-1", "--expires-at", "9999999999"],
        ["--issuer", ISSUER, "--whole-issuer"],
        ["--all"],
    ],
)
def test_what_is_taken_back_by_hand_is_refused_by_servers(url: str, what: list[str]) -> None:
    assert run(url, "init") == 0
    assert is_revoked(url, sid="s-1", client_id="c-1", jti="t-1") is False
    assert run(url, "revoke", *what) == 0
    assert is_revoked(url, sid="s-1", client_id="c-1", jti="t-1") is True


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (["revoke", "--subject", "alice"], "--issuer"),
        (["revoke", "--issuer", ISSUER, "--token-id", "t"], "go together"),
        (["revoke", "--issuer", ISSUER, "--subject", "alice", "--expires-at", "1"], "go together"),
        (["revoke", "--issuer", ISSUER, "--subject", ""], "non-empty"),
    ],
)
def test_what_cannot_be_done_is_said(url: str, what: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(url, "init")
    assert (run(url, *what), said in capsys.readouterr().err) == (1, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--by", "carol", "--reason", "phone lost"], "by 'carol': 'phone lost'"),
        (["--reason", "phone lost"], "by 'the-login': 'phone lost'"),
        ([], "by 'the-login': None"),
    ],
)
@pytest.mark.parametrize("what", [["--all"], ["--issuer", ISSUER, "--subject", "alice"]])
def test_the_log_says_who_took_it_back_and_why(
    url: str,
    options: list[str],
    said: str,
    what: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "the-login")
    caplog.set_level("INFO")
    run(url, "init")
    assert run(url, "revoke", *what, *options) == 0
    assert said in caplog.text


def test_whoever_has_no_login_is_an_operator(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def getuser() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", getuser)
    caplog.set_level("INFO")
    run(url, "init")
    assert run(url, "revoke", "--all") == 0
    assert "by 'an operator'" in caplog.text


def test_a_store_that_was_never_set_up_takes_nothing(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(url, "revoke", "--all") == 1
    assert "StoreUnavailable" in capsys.readouterr().err


@pytest.mark.parametrize(
    "named", [[], ["--redis", "redis://h", "--sql", "sqlite:///x"], ["--redis", "s3cret"], ["--sql", "s3cret"]]
)
def test_one_store_must_be_named_and_a_wrong_url_is_not_shown(
    named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["revocations", *named, "init"]) == 1
    assert "s3cret" not in capsys.readouterr().err


def test_it_runs_as_a_module(url: str) -> None:
    command = [sys.executable, "-m", "graphql_authkit.cli", "revocations", "--sql", url, "init"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout == "the list begins now\n"
