"""`graphql-authkit revocations`: set a shared list up, and take tokens back by hand."""

from __future__ import annotations

import argparse
import getpass
import os
from typing import Any

from ..errors import ConfigurationError
from ..revocation import Audit, Revocations

__all__ = ["add_to"]

DEADLINE = 5.0


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("revocations", help="the list of what was taken back")
    parser.add_argument("--redis", metavar="URL", help="of the Redis that holds it, else GRAPHQL_AUTHKIT_REDIS")
    parser.add_argument("--sql", metavar="URL", help="of the database, for SQLAlchemy, else GRAPHQL_AUTHKIT_SQL")
    parser.add_argument("--prefix", default="{graphql-authkit}", help="of Redis keys")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    init = verbs.add_parser("init", help="mark an empty store as holding the list from now on")
    init.set_defaults(run=_init)
    revoke = verbs.add_parser("revoke", help="take back what was issued until now")
    revoke.set_defaults(run=_revoke)
    revoke.add_argument("--issuer", metavar="ISS", help="whose tokens; needed by all but --all")
    what = revoke.add_mutually_exclusive_group(required=True)
    what.add_argument("--token-id", metavar="JTI", help="one token, with --expires-at")
    what.add_argument("--session", metavar="SID", help="every token of a session")
    what.add_argument("--subject", metavar="SUB", help="every token of a subject")
    what.add_argument("--client", metavar="ID", help="every token of a client")
    what.add_argument("--whole-issuer", action="store_true", help="every token of the issuer")
    what.add_argument("--all", action="store_true", help="every token of every issuer")
    revoke.add_argument("--expires-at", metavar="SECONDS", type=float, help="`exp` of the token, since the epoch")
    revoke.add_argument("--reason", help="why, for the log")
    revoke.add_argument("--by", help="who does it, for the log; else the login name")


def _init(given: argparse.Namespace) -> str:
    store = _store(given)
    try:
        return "the list begins now" if store.create() else "the list was there already, and stays as it is"
    finally:
        store.close()


def _revoke(given: argparse.Namespace) -> str:
    if (given.token_id is None) != (given.expires_at is None):
        raise ConfigurationError("--token-id and --expires-at go together")
    if given.issuer is None and not given.all:
        raise ConfigurationError("--issuer says whose tokens; --all takes everybody's back")
    store = _store(given)
    try:
        return _take_back(Revocations(store), given)
    finally:
        store.close()


def _take_back(revocations: Revocations, given: argparse.Namespace) -> str:
    audit = Audit(by=given.by or _login())
    if given.reason:
        audit["reason"] = given.reason
    if given.all:
        revocations.revoke_all(**audit)
        return "every token issued until now is taken back"
    if given.whole_issuer:
        revocations.revoke_issuer(given.issuer, **audit)
        return f"every token of {given.issuer} issued until now is taken back"
    if given.token_id is not None:
        revocations.revoke_token(given.issuer, given.token_id, expires_at=given.expires_at, **audit)
        return "the token is taken back"
    for name in ("session", "subject", "client"):
        value = getattr(given, name)
        if value is not None:
            getattr(revocations, f"revoke_{name}")(given.issuer, value, **audit)
            return f"every token of this {name} issued until now is taken back"
    raise ConfigurationError("nothing was named")  # argparse asks for one of them


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may have no such user
        return "an operator"


def _store(given: argparse.Namespace) -> Any:
    """The store that was named; a URL may hold a password, so the environment can name it too."""
    of_redis = given.redis or os.environ.get("GRAPHQL_AUTHKIT_REDIS")
    of_sql = given.sql or os.environ.get("GRAPHQL_AUTHKIT_SQL")
    if bool(of_redis) == bool(of_sql):
        raise ConfigurationError("name one store: --redis URL or --sql URL")
    if of_redis:
        from ..stores.redis import RedisRevocationStore
        from ..stores.redis_client import from_url

        return RedisRevocationStore(from_url(of_redis), prefix=given.prefix, deadline=DEADLINE)
    from ..stores.sql import SQLRevocationStore
    from ..stores.sql import from_url as engine_from_url

    return SQLRevocationStore(engine_from_url(str(of_sql)), deadline=DEADLINE)
