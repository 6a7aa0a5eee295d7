"""Row policies that are asked for many objects at once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from ..errors import ConfigurationError, Unavailable
from ..model import AuthContext

__all__ = ["batched"]

Question: TypeAlias = tuple[Any, Mapping[str, Any]]
"""An object, and the arguments of its field."""
Answers: TypeAlias = Sequence[bool]


class batched:  # noqa: N801 - reads as a verb: row_policies={"own": batched(decide)}
    """A row policy that is asked for all objects of one caller that come up in the same turn of the event loop.

    Without a loop it is asked for each object alone.

    Args:
        decide: `decide(auth, [(object, arguments), …]) -> [bool, …]`, sync or async: an answer for each, in order.
    """

    def __init__(self, decide: Callable[[AuthContext, Sequence[Question]], Answers | Awaitable[Answers]]) -> None:
        self._decide = decide
        self._waiting: dict[tuple[int, int], tuple[AuthContext, list[tuple[Question, asyncio.Future[bool]]]]] = {}
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
            return bool(_checked(answers, 1)[0] is True)
        key = id(loop), id(auth)
        if key not in self._waiting:
            self._waiting[key] = auth, []
            loop.call_soon(self._ask, key)
        answer: asyncio.Future[bool] = loop.create_future()
        self._waiting[key][1].append(((source, arguments), answer))
        return answer

    def _ask(self, key: tuple[int, int]) -> None:
        auth, questions = self._waiting.pop(key)
        task = asyncio.ensure_future(self._answer(auth, questions))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _answer(self, auth: AuthContext, questions: list[tuple[Question, asyncio.Future[bool]]]) -> None:
        try:
            answers: Any = self._decide(auth, [question for question, _ in questions])
            if inspect.isawaitable(answers):
                answers = await answers
            found = _checked(answers, len(questions))
        except Exception as error:
            for _, waiting in questions:
                if not waiting.done():
                    waiting.set_exception(error)
                    waiting.exception()  # somebody may have stopped waiting
            return
        for (_, waiting), answer in zip(questions, found, strict=True):
            if not waiting.done():
                waiting.set_result(answer is True)


def _checked(answers: Any, count: int) -> Answers:
    if not isinstance(answers, Sequence) or len(answers) != count:
        raise Unavailable(f"a batched policy answers a list as long as its questions, {count}")
    return answers
