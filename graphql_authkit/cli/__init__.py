"""The command line, `graphql-authkit COMMAND`: nothing that code could not do by the same verbs."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from ..errors import AuthError, ConfigurationError
from . import coverage, revocations

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0, or 1 where it failed and said why; argparse exits by itself with 2 for a wrong command line.
    """
    parser = argparse.ArgumentParser(prog="graphql-authkit", description="Authentication in front of GraphQL.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    revocations.add_to(commands)
    coverage.add_to(commands)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    try:
        print(given.run(given))
    except AuthError as error:
        print(f"graphql-authkit: {type(error).__name__}: {error.detail}", file=sys.stderr)
        return 1
    except (ConfigurationError, ValueError, ImportError) as error:
        print(f"graphql-authkit: {error}", file=sys.stderr)
        return 1
    return 0
