"""The graphql-core adapter, on whichever graphql-core is installed: a frozen context, and who is calling."""

from __future__ import annotations

import asyncio
import copy
import pickle
import types
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import graphql
import pytest
from graphql import ExecutionResult, build_schema, parse
from starlette.requests import Request

from graphql_authkit import ANONYMOUS, Authenticator
from graphql_authkit.authenticator import serving
from graphql_authkit.errors import MissingCredential
from graphql_authkit.graphql import (
    FrozenContext,
    FrozenContextError,
    execute,
    execute_sync,
    freeze,
    get_auth,
    require_auth,
    subscribe,
)
from graphql_authkit.model import AuthContext
from tests.support import local_issuer, verifier

AUTH = Authenticator(verifier()).authenticate_token(local_issuer().token("alice"))
BOB = Authenticator(verifier()).authenticate_token(local_issuer().token("bob"))

SCHEMA = build_schema(
    """
    type Query { me: String  late: String  write(how: String!): String  who: String  items: [Item!]! }
    type Item { owner: String }
    type Mutation { a: String  b: String }
    type Subscription { ticks: String }
    """
)


def query(name: str) -> Any:
    assert SCHEMA.query_type is not None
    return SCHEMA.query_type.fields[name]


async def late(_source: Any, info: Any) -> str:
    await asyncio.sleep(0)
    return require_auth(info).subject


def write(_source: Any, info: Any, how: str) -> None:
    WRITES[how](info.context)


WRITES: dict[str, Callable[[Any], object]] = {
    "item": lambda context: context.__setitem__("auth", ANONYMOUS),
    "attribute": lambda context: setattr(context, "auth", ANONYMOUS),
    "new attribute": lambda context: setattr(context, "user", "mallory"),
    "delete item": lambda context: context.__delitem__("auth"),
    "delete attribute": lambda context: delattr(context, "auth"),
    "update": lambda context: context.update(auth=ANONYMOUS),
    "pop": lambda context: context.pop("auth"),
    "popitem": lambda context: context.popitem(),
    "clear": lambda context: context.clear(),
    "setdefault": lambda context: context.setdefault("x", 1),
    "or-equals": lambda context: context.__ior__({"auth": ANONYMOUS}),
    "members": lambda context: setattr(context, "_members", {}),
}

query("me").resolve = lambda _source, info: require_auth(info).subject
query("late").resolve = late
query("write").resolve = write
query("who").resolve = lambda _source, info: repr(get_auth(info))
query("items").resolve = lambda _source, info: [{}, {}]
SCHEMA.type_map["Item"].fields["owner"].resolve = lambda _source, info: get_auth(info).subject  # type: ignore[attr-defined]


async def ticks(_source: Any, info: Any) -> AsyncIterator[dict[str, str]]:
    for number in range(2):
        yield {"ticks": f"{number} for {require_auth(info).subject}"}


assert SCHEMA.subscription_type is not None
SCHEMA.subscription_type.fields["ticks"].subscribe = ticks
SCHEMA.subscription_type.fields["ticks"].resolve = lambda source, info: f"{source['ticks']}, {get_auth(info).subject}"


def run(text: str, **options: Any) -> ExecutionResult:
    return execute_sync(SCHEMA, parse(text), **options)


def test_who_is_calling_comes_from_the_middleware_without_any_context() -> None:
    with serving(AUTH):
        assert run("{ me }").data == {"me": "alice"}
    assert run("{ who }").data == {"who": "AuthContext(anonymous)"}


def test_who_is_calling_may_be_given() -> None:
    with serving(BOB):
        assert run("{ me }", auth=AUTH).data == {"me": "alice"}
        assert run("{ me }", context_value={"auth": AUTH}).data == {"me": "alice"}
        assert run("{ me }", context_value={"x": 1}).data == {"me": "bob"}


def test_an_anonymous_caller_gets_null_and_a_code_and_never_another_answer() -> None:
    result = run("{ me items { owner } }")
    assert result.data == {"me": None, "items": [{"owner": None}] * 2}
    (error,) = result.errors or []
    assert (error.path, error.message) == (["me"], "Authentication is required.")
    assert error.extensions == {"code": "UNAUTHENTICATED", "reason": "MISSING_CREDENTIAL"}


@pytest.mark.parametrize("how", WRITES)
def test_a_resolver_that_writes_to_the_context_gets_a_clear_error(how: str) -> None:
    result = run("query ($how: String!) { before: me write(how: $how) me }", variable_values={"how": how}, auth=AUTH)
    assert result.data == {"before": "alice", "write": None, "me": "alice"}
    (error,) = result.errors or []
    assert isinstance(error.original_error, FrozenContextError)
    assert "the context is frozen while an operation runs" in error.message


def test_the_error_never_shows_the_value() -> None:
    with pytest.raises(FrozenContextError) as caught:
        freeze({}).update({"password": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_context_given_is_not_what_resolvers_get_and_changing_it_changes_nothing() -> None:
    given: dict[str, Any] = {"auth": AUTH, "mine": 1}
    frozen = freeze(given)
    given["auth"] = BOB
    assert (frozen["auth"], sorted(given)) == (AUTH, ["auth", "mine"])


def test_asynchronous_resolvers_see_it_too() -> None:
    async def main() -> Any:
        return await execute(SCHEMA, parse("{ late me }"), auth=AUTH)  # type: ignore[misc]

    assert asyncio.run(main()).data == {"late": "alice", "me": "alice"}


def test_many_operations_of_one_document_at_once_see_their_own_callers() -> None:
    document = parse("{ late items { owner } me }")

    async def main() -> list[Any]:
        return await asyncio.gather(
            *(execute(SCHEMA, document, auth=AUTH if number % 2 else BOB) for number in range(100))  # type: ignore[arg-type]
        )

    subjects = ["alice" if number % 2 else "bob" for number in range(100)]
    assert [result.data["late"] for result in asyncio.run(main())] == subjects


def test_a_subscription_sees_its_caller_in_source_and_events() -> None:
    async def main() -> list[Any]:
        events = await subscribe(SCHEMA, parse("subscription { ticks }"), auth=AUTH)
        assert not isinstance(events, ExecutionResult)
        return [event.data async for event in events]

    assert asyncio.run(main()) == [{"ticks": "0 for alice, alice"}, {"ticks": "1 for alice, alice"}]


def test_a_subscription_that_cannot_start_answers_with_its_errors() -> None:
    async def main() -> Any:
        return await subscribe(SCHEMA, parse("subscription { nothing }"), auth=AUTH)

    result = asyncio.run(main())
    assert (result.data, len(result.errors)) == (None, 1)


def test_options_are_graphql_cores_own() -> None:
    document = parse("query A { me } query B { who }")
    assert execute_sync(SCHEMA, document, auth=AUTH, operation_name="A").data == {"me": "alice"}
    with pytest.raises(TypeError):
        execute_sync(SCHEMA, document, auth=AUTH, no_such_option=1)


def test_an_operation_named_like_a_login_gets_nothing_by_its_name() -> None:
    for name in ("Login", "Signup", "IntrospectionQuery"):
        assert run(f"query {name} {{ me }}").data == {"me": None}


def test_the_same_frozen_context_serves_twice() -> None:
    frozen = freeze({"x": 1}, auth=AUTH)
    assert freeze(frozen) is frozen
    assert freeze(frozen, auth=BOB)["auth"] is BOB
    assert frozen["auth"] is AUTH


# ---------------------------------------------------------------------------------- FrozenContext


@dataclass
class Context:
    request: str
    auth: Any = None

    @property
    def shout(self) -> str:
        return self.request.upper()


class Slotted:
    __slots__ = ("__weakref__", "request", "unset")

    def __init__(self) -> None:
        self.request = "r"


def test_a_mapping_reads_by_key_attribute_get_and_in() -> None:
    frozen = freeze({"request": "r", "auth": AUTH})
    assert (frozen["request"], frozen.request, frozen.get("request"), frozen.get("x", 5)) == ("r", "r", "r", 5)
    assert ("request" in frozen, "x" in frozen, set(frozen), len(frozen)) == (True, False, {"request", "auth"}, 2)


def test_an_object_reads_like_itself_and_by_key() -> None:
    frozen = freeze(Context("r", AUTH))
    assert (frozen["request"], frozen.request, frozen.shout, frozen.auth) == ("r", "r", "R", AUTH)
    assert freeze(Slotted()).request == "r"


def test_an_empty_context_is_true_so_that_no_framework_replaces_it() -> None:
    assert bool(freeze({})) is True
    assert bool(FrozenContext({})) is True


def test_copies_are_the_context_itself() -> None:
    frozen = freeze({"x": []})
    assert copy.copy(frozen) is frozen
    assert copy.deepcopy(frozen) is frozen


def test_what_is_missing_is_a_plain_error() -> None:
    frozen = freeze({})
    with pytest.raises(KeyError):
        frozen["x"]
    with pytest.raises(AttributeError, match="no 'x'"):
        _ = frozen.x
    assert hasattr(frozen, "__json__") is False


@pytest.mark.parametrize("context", ["text", b"x", 1, 1.5, [], ()])
def test_what_can_be_no_context_is_refused(context: Any) -> None:
    with pytest.raises(TypeError, match="is no context"):
        freeze(context)


def test_a_mapping_proxy_is_a_mapping() -> None:
    assert freeze(types.MappingProxyType({"auth": AUTH}))["auth"] is AUTH


def test_something_of_ones_own_called_auth_stays() -> None:
    with serving(AUTH):
        frozen = freeze({"auth": "a dataloader"})
        assert frozen["auth"] == "a dataloader"
        assert get_auth(info(frozen)) is AUTH


def test_the_repr_shows_names_and_no_values() -> None:
    assert repr(freeze({"secret": "hunter2"})) == "FrozenContext(['auth', 'secret'])"


# --------------------------------------------------------------------------------------- get_auth


def info(context: Any) -> Any:
    return types.SimpleNamespace(context=context)


def request_of(auth: AuthContext, kind: str) -> Any:
    if kind == "asgi":
        return types.SimpleNamespace(scope={"state": {"auth": auth}})
    return types.SimpleNamespace(environ={"graphql_authkit.auth": auth})


@pytest.mark.parametrize(
    "context",
    [
        {"auth": AUTH},
        Context("r", AUTH),
        freeze({"auth": AUTH}),
        {"request": request_of(AUTH, "asgi")},
        {"request": request_of(AUTH, "wsgi")},
        types.SimpleNamespace(request=request_of(AUTH, "asgi")),
        types.SimpleNamespace(request=request_of(AUTH, "wsgi")),
        request_of(AUTH, "asgi"),
        request_of(AUTH, "wsgi"),
        {"auth": "something else", "request": request_of(AUTH, "asgi")},
    ],
)
def test_who_is_calling_is_found_however_the_framework_carries_it(context: Any) -> None:
    with serving(BOB):
        assert get_auth(info(context)) is AUTH
        assert require_auth(info(context)) is AUTH


@pytest.mark.parametrize(
    "context",
    [
        None,
        {},
        "x",
        5,
        object(),
        {"auth": {"subject": "mallory"}},
        {"request": None},
        {"request": types.SimpleNamespace(scope=None)},
        {"request": types.SimpleNamespace(scope={"state": None})},
        {"request": types.SimpleNamespace(environ={})},
    ],
)
def test_a_context_that_says_nothing_is_answered_by_the_middleware(context: Any) -> None:
    with serving(BOB):
        assert get_auth(info(context)) is BOB
    assert get_auth(info(context)) is ANONYMOUS


def test_nobody_may_be_anonymous_where_auth_is_required() -> None:
    with pytest.raises(MissingCredential):
        require_auth(info({"auth": ANONYMOUS}))


def test_this_is_one_of_the_two_graphql_cores() -> None:
    assert graphql.version_info[:2] in ((3, 2), (3, 3))


class Impersonating:
    """A context whose `auth` is computed, or set on its class."""

    @property
    def auth(self) -> AuthContext:
        return BOB


class Classy:
    auth = BOB


@pytest.mark.parametrize("context", [Impersonating(), Classy(), {"request": request_of(BOB, "asgi")}])
def test_freezing_never_changes_who_is_calling(context: Any) -> None:
    with serving(AUTH):
        assert get_auth(info(context)) is BOB
        assert get_auth(info(freeze(context))) is BOB
        assert freeze(context)["auth"] is BOB


def test_what_an_object_turns_into_later_is_not_seen() -> None:
    class Changing:
        def __init__(self) -> None:
            self.user = "alice"

        def become(self, user: str) -> None:
            self.user = user
            self.added = user

    frozen = freeze(Changing())
    frozen.become("bob")
    assert (frozen.user, hasattr(frozen, "added")) == ("alice", False)


def test_a_context_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="belongs to its operation"):
        pickle.dumps(freeze({}))


def test_a_slot_given_as_one_string_is_a_member() -> None:
    class OneSlot:
        __slots__ = "request"

        def __init__(self) -> None:
            self.request = "r"

    assert freeze(OneSlot())["request"] == "r"


@pytest.mark.parametrize("state", [{"auth": AUTH}, {}])
def test_starlettes_request_may_be_the_context_itself(state: dict[str, Any]) -> None:
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": [], "state": state})
    with serving(BOB):
        expected = state.get("auth", BOB)
        assert get_auth(info(request)) is expected
        assert freeze(request)["auth"] is expected


def test_a_property_that_fails_hides_nobody() -> None:
    class Broken:
        @property
        def auth(self) -> AuthContext:
            raise LookupError

    with serving(BOB):
        assert get_auth(info(Broken())) is BOB
        assert freeze(Broken())["auth"] is BOB
