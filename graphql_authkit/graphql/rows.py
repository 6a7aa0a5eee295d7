"""Row policies that are asked for many objects at once."""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from ..errors import AuthError, ConfigurationError, Unavailable
from ..model import AuthContext

__all__ = ["batched", "plain", "started"]

_log = logging.getLogger("graphql_authkit")
Question: TypeAlias = tuple[Any, Mapping[str, Any]]
"""An object, and the arguments of its field."""
Answers: TypeAlias = Sequence[bool]
_Waiting: TypeAlias = dict[int, tuple[AuthContext, list[tuple[Question, asyncio.Future[bool]]]]]


_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})


def plain(value: object) -> object:
    """A value that equals another's just if the two are the same, to the type.

    Raises:
        TypeError: Only the application knows what it is: one with the same text, or at the same address, may differ.
    """
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if isinstance(value, list | tuple) and kind in (list, tuple):
        return kind, tuple(plain(one) for one in value)
    if isinstance(value, dict) and kind is dict:
        return kind, frozenset((plain(key), plain(one)) for key, one in value.items())
    raise TypeError(f"a {kind.__name__} may be anything")


def started(answer: Awaitable[Any]) -> asyncio.Future[Any]:
    """An answer that several may wait for.

    Raises:
        ConfigurationError: There is no event loop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if inspect.iscoroutine(answer):
            answer.close()
        raise ConfigurationError("an asynchronous row policy needs an event loop") from None
    return asyncio.ensure_future(answer)


class batched:  # noqa: N801 - reads as a verb: row_policies={"own": batched(decide)}
    """A row policy that is asked for all objects of one caller that come up in the same turn of the event loop.

    Without a loop it is asked for each object alone.

    Args:
        decide: `decide(auth, [(object, arguments), …]) -> [bool, …]`, sync or async: an answer for each, in order.
    """

    def __init__(self, decide: Callable[[AuthContext, Sequence[Question]], Answers | Awaitable[Answers]]) -> None:
        self._decide = decide
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Waiting] = weakref.WeakKeyDictionary()
        self._asking: set[asyncio.Task[None]] = set()  # held, lest they be collected while they run

    def __call__(self, auth: AuthContext, source: Any, arguments: Mapping[str, Any]) -> bool | Awaitable[bool]:
        """Ask for one object."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            answers: Any = self._decide(auth, [(source, arguments)])
            if inspect.iscoroutine(answers):
                answers.close()
                raise ConfigurationError("an asynchronous row policy needs an event loop") from None
            return _checked(answers, 1)[0] is True
        waiting = self._loops.setdefault(loop, {})
        if id(auth) not in waiting:
            waiting[id(auth)] = auth, []
            loop.call_soon(self._ask, waiting, id(auth))
        answer: asyncio.Future[bool] = loop.create_future()
        waiting[id(auth)][1].append(((source, arguments), answer))
        return answer

    def _ask(self, waiting: _Waiting, key: int) -> None:
        auth, questions = waiting.pop(key)
        task = asyncio.ensure_future(self._answer(auth, questions))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _answer(self, auth: AuthContext, questions: list[tuple[Question, asyncio.Future[bool]]]) -> None:
        try:
            answers: Any = self._decide(auth, [question for question, _ in questions])
            if inspect.isawaitable(answers):
                answers = await answers
            found = _checked(answers, len(questions))
        except (Exception, asyncio.CancelledError) as error:
            failure = error
            if not isinstance(error, AuthError | ConfigurationError):
                _log.error("a batched row policy failed", exc_info=error)
                failure = Unavailable(f"a batched row policy raised {type(error).__name__}")
            for _, waiting in questions:
                if not waiting.done():
                    waiting.set_exception(failure)
                    waiting.exception()  # somebody may have stopped waiting
            return
        for (_, waiting), answer in zip(questions, found, strict=True):
            if not waiting.done():
                waiting.set_result(answer is True)


def _checked(answers: Any, count: int) -> Answers:
    if not isinstance(answers, Sequence) or len(answers) != count:
        raise Unavailable(f"a batched policy answers a list as long as its questions, {count}")
    return answers
