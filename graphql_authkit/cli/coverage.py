"""`graphql-authkit coverage` and `explain`: what guards each field of a protected schema, and why."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from pathlib import Path
from typing import Any

from ..authorization.coverage import explain, manifest
from ..errors import ConfigurationError
from ..graphql.protect import index_of, settings_of

__all__ = ["add_to"]


def add_to(commands: Any) -> None:
    """Add both commands to a parser."""
    coverage = commands.add_parser("coverage", help="what guards each field of a protected schema")
    coverage.add_argument("schema", metavar="MODULE:NAME", help="where what protect() returned is found")
    coverage.add_argument("--write", metavar="FILE", type=Path, help="write it to a file, to be compared later")
    coverage.add_argument("--check", metavar="FILE", type=Path, help="fail where it is not what the file says")
    coverage.set_defaults(run=_coverage)
    why = commands.add_parser("explain", help="why somebody may see a field, or not")
    why.add_argument("schema", metavar="MODULE:NAME")
    why.add_argument("coordinate", metavar="COORDINATE", help="Type or Type.field")
    who = why.add_mutually_exclusive_group()
    who.add_argument("--scopes", default="", help="what the caller holds, separated by spaces")
    who.add_argument("--anonymous", action="store_true", help="somebody without credentials")
    why.set_defaults(run=_explain)


def _coverage(given: argparse.Namespace) -> str:
    schema = _schema(given.schema)
    found = manifest(index_of(schema), settings_of(schema))
    if given.write is not None:
        given.write.write_text(found)
        return f"written to {given.write}"
    if given.check is None:
        return found.rstrip("\n")
    try:
        kept = given.check.read_text()
    except OSError as error:
        raise ConfigurationError(f"{given.check} cannot be read: {error.strerror}") from None
    if kept == found:
        return f"as {given.check} says"
    lines = difflib.unified_diff(kept.splitlines(), found.splitlines(), str(given.check), given.schema, lineterm="")
    raise ConfigurationError("who may see what has changed:\n" + "\n".join(lines))


def _explain(given: argparse.Namespace) -> str:
    schema = _schema(given.schema)
    said = explain(index_of(schema), given.coordinate, None if given.anonymous else given.scopes.split())
    return f"{said}\n  but mode=dry_run refuses nothing" if settings_of(schema)["mode"] == "dry_run" else said


def _schema(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigurationError(f"{name!r} names no schema: MODULE:NAME")
    sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{name} cannot be imported: {error}") from error
    finally:
        sys.path.remove("")
    return found
