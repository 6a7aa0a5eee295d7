"""Executes protected schemas whose resolvers note where they ran, and says what is not as the reference expects."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import graphql
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_schema,
)

from graphql_authkit import ANONYMOUS, AuthContext
from graphql_authkit.graphql import freeze
from tests.authorization.parts import DIRECTIVES, known
from tests.authorization.reference import Expected, Path, Run, Scopes

# Turns of the loop: graphql-core 3.2 goes on with what lies in a list that is null already.
LATE = 40 if graphql.version_info < (3, 3) else 0


@dataclass
class Stage:
    """Where resolvers note that they ran, and whether they are asynchronous for now."""

    ran: list[Run] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    is_async: bool = False
    answers: list[Any] = field(default_factory=list)


def staged(sdl: str, *, typing: str = "resolve_type") -> tuple[GraphQLSchema, Stage]:
    """A schema all of whose resolvers read their answers from dicts, and its stage."""
    schema = build_schema(DIRECTIVES + sdl)
    stage = Stage()
    for named in schema.type_map.values():
        if isinstance(named, GraphQLObjectType) and not named.name.startswith("__"):
            for name, one in named.fields.items():
                one.resolve = _noting(stage, f"{named.name}.{name}", name)
                if named is schema.subscription_type:
                    one.subscribe = _source(stage, f"{named.name}.{name}", name)
            if typing == "is_type_of":
                named.is_type_of = _is_type_of(stage, named.name)
        elif isinstance(named, GraphQLInterfaceType | GraphQLUnionType) and typing == "resolve_type":
            named.resolve_type = _resolve_type(stage)
    return schema, stage


def _noting(stage: Stage, coordinate: str, name: str) -> Any:
    def resolve(source: Any, info: Any, **_arguments: Any) -> Any:
        stage.ran.append((coordinate, tuple(info.path.as_list())))
        return _answer(stage, source[name])

    return resolve


def _answer(stage: Stage, value: Any) -> Any:
    async def later() -> Any:
        await asyncio.sleep(0)
        return value

    return later() if stage.is_async else value


def _source(stage: Stage, coordinate: str, name: str) -> Any:
    async def subscribe(source: Any, _info: Any, **_arguments: Any) -> Any:
        stage.sources.append(coordinate)
        for value in source[name]:
            yield {"__typename": "Subscription", name: value}

    return subscribe


def _is_type_of(stage: Stage, type_name: str) -> Any:
    def is_type_of(value: Any, _info: Any) -> Any:
        is_it = value["__typename"] == type_name
        # graphql-core 3.2 does not await the fields of an object whose type is found asynchronously.
        return is_it if graphql.version_info < (3, 3) else _answer(stage, is_it)

    return is_type_of


def _resolve_type(stage: Stage) -> Any:
    def resolve_type(value: Any, _info: Any, _abstract: Any) -> Any:
        return _answer(stage, value["__typename"])

    return resolve_type


# ------------------------------------------------------------------------------------------- execution


@dataclass(frozen=True)
class Request:
    """What is asked for, and who asks."""

    document: DocumentNode
    scopes: Scopes
    root: Mapping[str, Any]
    name: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        auth: AuthContext = ANONYMOUS if self.scopes is None else known(*sorted(self.scopes))
        return {
            "root_value": self.root,
            "context_value": freeze(auth=auth),
            "operation_name": self.name,
            "variable_values": dict(self.variables),
        }


def execute(schema: GraphQLSchema, stage: Stage, request: Request, *, is_async: bool) -> ExecutionResult:
    """What graphql-core answers to a query or mutation; the stage tells what ran for it."""
    stage.ran.clear()
    stage.is_async = is_async

    async def whole() -> ExecutionResult:
        result = graphql.execute(schema, request.document, **request.options)
        return await result if inspect.isawaitable(result) else result

    result = asyncio.run(whole()) if is_async else graphql.execute_sync(schema, request.document, **request.options)
    stage.answers = [result.data]
    return result


def events_of(
    schema: GraphQLSchema, stage: Stage, request: Request, *, is_async: bool
) -> ExecutionResult | list[tuple[ExecutionResult, list[Run]]]:
    """The events of a subscription, each with what ran for it; or the answer for which there are none."""
    stage.ran.clear()
    stage.sources.clear()
    stage.is_async = is_async

    async def whole() -> Any:
        stream: Any = graphql.subscribe(schema, request.document, **request.options)
        stream = await stream if inspect.isawaitable(stream) else stream
        if isinstance(stream, ExecutionResult):
            return stream
        found = []
        async for event in stream:
            for _ in range(LATE if is_async else 0):
                await asyncio.sleep(0)
            found.append((event, list(stage.ran)))
            stage.ran.clear()
            stage.answers.append(event.data)
        return found

    stage.answers = []
    return asyncio.run(whole())  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------ comparison


def differences(
    expected: Expected, result: ExecutionResult, ran: list[Run], scopes: Scopes, *, is_async: bool
) -> list[str]:
    """Whatever is not as expected, in words."""
    found = []
    if result.data != expected.data:
        found.append(f"data is {result.data}, not {expected.data}")
    code = "UNAUTHENTICATED" if scopes is None else "FORBIDDEN"
    errors = [tuple(error.path or ()) for error in result.errors or ()]
    for error in result.errors or ():
        if (error.extensions or {}).get("code") != code:
            found.append(f"an error of another kind at {error.path}: {error!r} {error.extensions}")
    found += [f"an error at {one}, not one of {expected.errors}" for one in errors if one not in expected.errors]
    found += _in_whole(expected, errors) if expected.is_whole else _in_parts(expected, errors, is_async=is_async)
    may = set(expected.runs)
    must = {one for one in may if expected.is_certain(one[1])}
    found += [f"{one} ran" for one in ran if one not in may]
    found += [f"{one} did not run" for one in must.difference(ran)]
    if len(set(ran)) != len(ran):
        found.append(f"a resolver ran twice: {ran}")
    return found


def _in_whole(expected: Expected, errors: list[Path]) -> list[str]:
    """Where nothing is run; if no root field may be null, the first of them ends it."""
    missing = set(expected.errors).difference(errors)
    return [f"no error at {missing}"] if not errors or (missing and expected.data is not None) else []


def _in_parts(expected: Expected, errors: list[Path], *, is_async: bool) -> list[str]:
    found = [f"an error is told twice: {errors}"] if len(set(errors)) != len(errors) else []
    groups: dict[Path, list[Path]] = {}
    for path in expected.errors:
        if path not in expected.rows:
            groups.setdefault(tuple(key for key in path if isinstance(key, str)), []).append(path)
        elif expected.is_certain(path) and path not in errors:
            found.append(f"no error at the row {path}")
    for paths in groups.values():
        told = [path for path in errors if path in paths and path not in expected.rows]
        certain = [path for path in paths if expected.is_certain(path)]
        if len(told) > 1:
            found.append(f"several errors for one field: {told}")
        if certain and not told:
            found.append(f"a field is null without an error: {certain[0]}")
        if len(certain) == len(paths) and told != paths[:1] and not is_async:  # else who gets there first is chance
            found.append(f"errors at {told}, not at {paths[0]}")
    for region in expected.nulled:
        if expected.is_certain(region) and not any(path[: len(region)] == region for path in errors):
            found.append(f"{region} is null without an error below it")
    return found
