"""Laws that hold of the whole house."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import graphql_authkit

PACKAGE = Path(graphql_authkit.__file__).parent
MODULES = sorted(
    name for _, name, _ in pkgutil.walk_packages([str(PACKAGE)], "graphql_authkit.") if "strawberry" not in name
)
CONTRACT = {
    *("JWTVerifier", "ByIssuer", "Verifier"),
    *("SecretKey", "PublicKey", "JWKS", "RemoteJWKS", "KeySource", "Fetcher", "discover"),
    *("Authenticator", "AuthContext", "ANONYMOUS", "current_auth"),
    *("Revocations", "RevocationStore", "MemoryRevocationStore", "TokenIssuer"),
    *("AuthError", "InvalidToken", "TokenExpired", "TokenRevoked", "Unavailable", "ConfigurationError"),
}


def test_the_face_holds_the_names_that_other_programs_import() -> None:
    assert set(graphql_authkit.__all__) >= CONTRACT
    assert all(hasattr(graphql_authkit, name) for name in graphql_authkit.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_lives_in_it_and_exports_only_what_it_has(name: str) -> None:
    module = importlib.import_module(name)
    assert inspect.getdoc(module)
    assert all(hasattr(module, exported) for exported in getattr(module, "__all__", ()))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_and_functions_stay_small(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = [
                line for line in node.body if not isinstance(line, ast.Expr) or not isinstance(line.value, ast.Constant)
            ]
            code = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert code <= 50, f"{node.name} has {code} lines"


def test_every_public_verb_that_may_wait_has_its_twin_with_the_same_arguments() -> None:
    from graphql_authkit import Authenticator, ByIssuer, JWTVerifier, Revocations, TokenIssuer

    for owner in (Authenticator, ByIssuer, JWTVerifier, Revocations, TokenIssuer):
        twins = [
            name for name in vars(owner) if name.startswith("a") and inspect.iscoroutinefunction(getattr(owner, name))
        ]
        assert twins, owner
        for twin in twins:
            verb = getattr(owner, twin.removeprefix("a"))
            assert inspect.signature(verb) == inspect.signature(getattr(owner, twin)), twin


def test_importing_the_verifier_imports_nothing_heavier_than_pyjwt_does() -> None:
    code = (
        "import jwt, sys; packages = lambda: {name.partition('.')[0] for name in sys.modules}; before = packages(); "
        "import graphql_authkit; print(sorted(packages() - before - set(sys.stdlib_module_names)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "['graphql_authkit', 'typing_extensions']"
