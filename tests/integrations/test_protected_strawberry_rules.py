"""Rules of a Strawberry schema: by its own schema directives, and by coordinate."""

from __future__ import annotations

import enum

import pytest
import strawberry
from strawberry.federation.schema_directives import Authenticated, RequiresScopes
from strawberry.schema_directive import Location

from graphql_authkit import ConfigurationError
from graphql_authkit.authorization import requires
from graphql_authkit.authorization.coverage import coverage
from graphql_authkit.graphql import protect
from graphql_authkit.graphql.protect import index_of
from graphql_authkit.integrations.strawberry import FreezeContext
from tests.authorization.parts import known


@strawberry.type(directives=[Authenticated()])
class User:
    name: str | None = strawberry.field(
        default="Ann",
        directives=[RequiresScopes(scopes=[["name", "read"], ["admin"]])],
    )


@strawberry.enum(directives=[Authenticated()])
class Colour(enum.Enum):
    RED = 1


@strawberry.type
class Query:
    @strawberry.field
    def users(self) -> list[User | None]:
        return [User(), User()]

    @strawberry.field
    def colour(self) -> Colour | None:
        return Colour.RED


def test_schema_directives_of_strawberry_are_rules() -> None:
    protected = protect(strawberry.federation.Schema(Query), default="public")
    assert ["\t".join(one) for one in coverage(index_of(protected))] == [
        'Query._service\tpublic\tdefault="public"',
        "Query.colour\tauthenticated\tColour: authenticated (@authenticated)",
        "Query.users\tauthenticated\tUser: authenticated (@authenticated)",
        "User\tauthenticated\tUser: authenticated (@authenticated)",
        "User.name\tscope:admin or scope:name and scope:read\tUser: authenticated (@authenticated), "
        "User.name: scope:admin or scope:name and scope:read (@requiresScopes)",
        "_Service.sdl\tunguarded\twhoever gets the object sees it",
    ]


def test_the_extension_leaves_one_error_for_the_rows_of_a_list() -> None:
    schema = strawberry.federation.Schema(Query, extensions=[FreezeContext])
    protected = protect(schema, default="public", rules={"User": requires("users")})
    result = protected.execute_sync("{ users { name } }", context_value={"auth": known()})
    assert result.data is None or result.data == {"users": None}
    assert len(result.errors or ()) == 1


def test_a_directive_that_looks_like_ours_is_refused() -> None:
    @strawberry.schema_directive(locations=[Location.FIELD_DEFINITION], name="Authenticated")
    class Mistaken: ...

    @strawberry.type
    class Wrong:
        a: str = strawberry.field(directives=[Mistaken()])

    with pytest.raises(ConfigurationError, match="looks like a rule"):
        protect(strawberry.Schema(Wrong))
