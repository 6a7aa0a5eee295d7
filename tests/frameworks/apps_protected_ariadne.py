"""A protected schema of Ariadne, on ASGI."""

from __future__ import annotations

from typing import Any

from ariadne import InterfaceType, MutationType, QueryType, make_executable_schema
from ariadne.asgi import GraphQL

from graphql_authkit.asgi import AuthMiddleware
from graphql_authkit.graphql import protect
from tests.authorization.parts import DIRECTIVES
from tests.frameworks.parts import authenticator
from tests.frameworks.protected import RULES, SDL, Resolvers

resolvers = Resolvers()
query, mutation = QueryType(), MutationType()
node = InterfaceType("Node", lambda value, *_: value["type"])
for name in ("hello", "me", "users", "nodes", "account"):
    query.set_field(name, lambda *_, name=name: resolvers.of(name))
for name in ("login", "rename"):
    mutation.set_field(name, lambda *_, name=name: resolvers.of(name))


@query.field("ran")
def ran(*_: Any) -> list[str]:
    return resolvers.ran()


schema = protect(make_executable_schema(DIRECTIVES + SDL, query, mutation, node), rules=RULES)
app = AuthMiddleware(GraphQL(schema), authenticator(), optional=True)
