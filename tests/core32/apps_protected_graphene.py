"""A protected schema of Graphene, on Flask."""

from __future__ import annotations

from typing import Any

import graphene  # type: ignore[import-not-found]
from flask import Flask, request

from graphql_authkit.authorization import PUBLIC
from graphql_authkit.graphql import freeze, protect
from graphql_authkit.wsgi import AuthMiddleware
from tests.frameworks.parts import authenticator
from tests.frameworks.protected import RULES, Resolvers

resolvers = Resolvers()


class Node(graphene.Interface):  # type: ignore[misc]
    id = graphene.String()

    @classmethod
    def resolve_type(cls, instance: Any, _info: Any) -> Any:
        return {"User": User, "Robot": Robot}[instance["type"]]


class User(graphene.ObjectType):  # type: ignore[misc]
    class Meta:
        interfaces = (Node,)

    name = graphene.String()
    email = graphene.String()


class Robot(graphene.ObjectType):  # type: ignore[misc]
    class Meta:
        interfaces = (Node,)

    serial = graphene.String()


class Account(graphene.ObjectType):  # type: ignore[misc]
    id = graphene.String()
    number = graphene.String(required=True)


class Query(graphene.ObjectType):  # type: ignore[misc]
    hello = graphene.String(resolver=lambda *_: resolvers.of("hello"))
    me = graphene.Field(User, resolver=lambda *_: resolvers.of("me"))
    users = graphene.List(User, resolver=lambda *_: resolvers.of("users"))
    nodes = graphene.List(Node, resolver=lambda *_: resolvers.of("nodes"))
    account = graphene.Field(Account, resolver=lambda *_: resolvers.of("account"))
    ran = graphene.List(graphene.NonNull(graphene.String), resolver=lambda *_: resolvers.ran())


class Mutation(graphene.ObjectType):  # type: ignore[misc]
    login = graphene.String(resolver=lambda *_: resolvers.of("login"))
    rename = graphene.Field(User, resolver=lambda *_: resolvers.of("rename"))


unprotected = graphene.Schema(query=Query, mutation=Mutation, types=[User, Robot])
schema = protect(unprotected, rules={**RULES, "Query.ran": PUBLIC})
app = Flask(__name__)


@app.post("/graphql")
def graphql() -> Any:
    return schema.execute(request.get_json()["query"], context_value=freeze()).formatted


app.wsgi_app = AuthMiddleware(app.wsgi_app, authenticator(), optional=True)  # type: ignore[method-assign]
