"""Coverage, its manifest, and explanations: by the command line, as CI and people use them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphql_authkit.authorization import policy
from graphql_authkit.cli import main
from graphql_authkit.graphql import protect
from tests.authorization.parts import schema_of

SDL = """
type Query { hello: String @public, me: User, nodes: [Node] }
interface Node @requiresScopes(scopes: [["nodes"]]) { id: String }
type User implements Node { id: String, email: String @requiresScopes(scopes: [["email"], ["admin"]]), card: Card }
type Card { number: String }
"""
MANIFEST = """\
default=\tauthenticated
introspection=\tall
limits=\tnone
mode=\tfilter
Card.number\tunguarded\twhoever gets the object sees it
Query.hello\tpublic\tsaid to be public
Query.me\tscope:nodes\tNode: scope:nodes (@requiresScopes), Query.me: authenticated (default)
Query.nodes\tscope:nodes\tNode: scope:nodes (@requiresScopes), Query.nodes: authenticated (default)
User\tscope:nodes\tNode: scope:nodes (@requiresScopes)
User.card\tscope:nodes\tNode: scope:nodes (@requiresScopes)
User.email\tscope:admin and scope:nodes or scope:email and scope:nodes\tNode: scope:nodes (@requiresScopes), \
User.email: scope:admin or scope:email (@requiresScopes)
User.id\tscope:nodes\tNode: scope:nodes (@requiresScopes)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "shop_schema.py").write_text("schema = None\n")
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("shop_schema", None)
    monkeypatch.syspath_prepend(str(tmp_path))
    import shop_schema  # type: ignore[import-not-found]

    rules = {"Card": policy("staff")}
    shop_schema.schema = protect(schema_of(SDL, {})[0])
    shop_schema.dry = protect(schema_of(SDL, {})[0], mode="dry_run")
    shop_schema.unprotected = schema_of(SDL, {})[0]
    shop_schema.with_policy = protect(schema_of(SDL, {})[0], rules=rules, policies=lambda _auth, names: names)
    yield "shop_schema:schema"
    sys.modules.pop("shop_schema", None)


def test_coverage_lists_every_field_with_its_rule_and_why(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage", module]) == 0
    assert capsys.readouterr().out == MANIFEST


def test_a_manifest_that_is_kept_fails_when_something_changes(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "coverage.tsv"
    assert main(["coverage", module, "--write", str(kept)]) == 0
    assert main(["coverage", module, "--check", str(kept)]) == 0
    kept.write_text(kept.read_text().replace("Card.number\tunguarded", "Card.number\tscope:cards"))
    capsys.readouterr()
    assert main(["coverage", module, "--check", str(kept)]) == 1
    said = capsys.readouterr().err
    assert "-Card.number\tscope:cards" in said
    assert "+Card.number\tunguarded" in said


def test_what_switches_protection_off_changes_the_manifest(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = str(tmp_path / "coverage.tsv")
    assert main(["coverage", module, "--write", kept]) == 0
    dry = module.replace(":schema", ":dry")
    assert main(["coverage", dry, "--check", kept]) == 1
    assert "+mode=\tdry_run" in capsys.readouterr().err
    assert main(["explain", dry, "User.email"]) == 0
    assert "but mode=dry_run refuses nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("coordinate", "who", "said"),
    [
        ("User.email", ["--scopes", "email"], "Node asks for scope:nodes (@requiresScopes): does not hold"),
        ("User.email", ["--scopes", "email nodes"], "asks for scope:admin or scope:email (@requiresScopes): holds"),
        ("Query.me", ["--anonymous"], "Query.me asks for authenticated (default): does not hold"),
        ("Query.me", [], "Query.me asks for authenticated (default): holds"),
        ("Query.hello", ["--anonymous"], "said to be public"),
        ("User", [], "Node asks for scope:nodes (@requiresScopes): does not hold"),
    ],
)  # fmt: skip
def test_a_field_is_explained(
    module: str, capsys: pytest.CaptureFixture[str], coordinate: str, who: list[str], said: str
) -> None:
    assert main(["explain", module, coordinate, *who]) == 0
    assert said in capsys.readouterr().out


def test_a_policy_is_said_to_be_the_applications(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", module.replace(":schema", ":with_policy"), "User.card", "--scopes", "nodes"]) == 0
    assert "Card asks for policy:staff (rules=): holds if policies= says so" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["coverage", "nowhere:schema"], "cannot be imported"),
        (["coverage", "shop_schema"], "MODULE:NAME"),
        (["coverage", "shop_schema:unprotected"], "not protected"),
        (["coverage", "shop_schema:nothing"], "cannot be imported"),
        (["coverage", "shop_schema:schema", "--check", "missing.tsv"], "missing.tsv cannot be read"),
        (["explain", "shop_schema:schema", "User.nothing"], "no object type or field User.nothing"),
    ],
)
def test_what_cannot_be_shown_is_said(
    module: str, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 1
    assert said in capsys.readouterr().err
