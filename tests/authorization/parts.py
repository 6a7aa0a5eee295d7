"""Callers, schemas whose resolvers tell that they ran, and execution in one call: what the tests here share."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import Any

import graphql
from graphql import ExecutionResult, GraphQLSchema, build_schema, parse, validate

from graphql_authkit import ANONYMOUS, AuthContext, Authenticator
from graphql_authkit.graphql import freeze
from tests.support import local_issuer, verifier

DIRECTIVES = """
directive @authenticated(silent: Boolean) on OBJECT | FIELD_DEFINITION | INTERFACE | SCALAR | ENUM | UNION
directive @requiresScopes(scopes: [[String!]!]!, silent: Boolean)
  on OBJECT | FIELD_DEFINITION | INTERFACE | SCALAR | ENUM | UNION
directive @policy(policies: [[String!]!]!, silent: Boolean)
  on OBJECT | FIELD_DEFINITION | INTERFACE | SCALAR | ENUM | UNION
directive @rowPolicy(policies: [[String!]!]!, silent: Boolean)
  on OBJECT | FIELD_DEFINITION | INTERFACE | SCALAR | ENUM | UNION
directive @public on FIELD_DEFINITION | OBJECT
"""


@functools.cache
def known(*scopes: str) -> AuthContext:
    """A caller with these scopes."""
    token = local_issuer().token("alice", scopes=list(scopes))
    return Authenticator(verifier()).authenticate_token(token)


class Ran(list[str]):
    """The coordinates of the resolvers that ran, in their order."""


def schema_of(sdl: str, root: Any, *, is_async: bool = False) -> tuple[GraphQLSchema, Ran]:
    """A schema each of whose resolvers notes that it ran, and reads its answer from dicts."""
    schema = build_schema(DIRECTIVES + sdl)
    ran = Ran()
    for named in schema.type_map.values():
        if isinstance(named, graphql.GraphQLObjectType) and not named.name.startswith("__"):
            for name, field in named.fields.items():
                field.resolve = _noting(ran, f"{named.name}.{name}", name, root, is_async)
                if named is schema.subscription_type:
                    field.subscribe = _events(ran, f"{named.name}.{name}", root[name])
        elif isinstance(named, graphql.GraphQLInterfaceType | graphql.GraphQLUnionType):
            named.resolve_type = lambda value, _info, _type: value["type"]
    return schema, ran


def _noting(ran: Ran, coordinate: str, name: str, root: Any, is_async: bool) -> Any:
    def resolve(source: Any, _info: Any, /, **_arguments: Any) -> Any:
        ran.append(coordinate)
        return (root if source is None else source).get(name)

    async def aresolve(source: Any, _info: Any, /, **_arguments: Any) -> Any:
        ran.append(coordinate)
        await asyncio.sleep(0)
        return (root if source is None else source).get(name)

    return aresolve if is_async else resolve


def _events(ran: Ran, coordinate: str, values: list[Any]) -> Any:
    async def subscribe(_source: Any, _info: Any, /, **_arguments: Any) -> Any:
        ran.append(f"subscribe {coordinate}")
        for value in values:
            yield {coordinate.partition(".")[2]: value}

    return subscribe


def run(
    schema: GraphQLSchema,
    text: str,
    auth: AuthContext = ANONYMOUS,
    *,
    name: str | None = None,
    variables: dict[str, Any] | None = None,
) -> ExecutionResult:
    """What graphql-core itself answers, of a document that is valid."""
    document = parse(text)
    assert validate(schema, document) == []

    def whole() -> Any:
        return graphql.execute(
            schema, document, context_value=freeze(auth=auth), operation_name=name, variable_values=variables
        )

    async def awaited() -> ExecutionResult:
        result = whole()
        answer: ExecutionResult = await result if inspect.isawaitable(result) else result
        return answer

    return asyncio.run(awaited())


def codes(result: ExecutionResult) -> list[tuple[list[str | int], str]]:
    """Where errors are, and of which code."""
    return [(list(error.path or ()), str((error.extensions or {}).get("code"))) for error in result.errors or ()]
