"""One request through an ASGI app, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any


class Result:
    def __init__(self, messages: list[MutableMapping[str, Any]]) -> None:
        self.messages = messages

    @property
    def status(self) -> int:
        return next(int(m["status"]) for m in self.messages if "status" in m)

    @property
    def fields(self) -> dict[str, str]:
        start = next(m for m in self.messages if "status" in m)
        return {name.decode(): value.decode() for name, value in start["headers"]}

    @property
    def json(self) -> Any:
        return json.loads(b"".join(m.get("body", b"") for m in self.messages))


async def arequest(
    app: Any, path: str = "/graphql", headers: list[tuple[str, str]] | None = None, **scope: Any
) -> Result:
    """Send one request; `scope` goes over a usual one."""
    messages: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        kind = "websocket.connect" if scope.get("type") == "websocket" else "http.request"
        return {"type": kind, "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        messages.append(message)

    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers or []]
    usual = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "headers": fields,
    }
    await app({**usual, **scope}, receive, send)
    return Result(messages)


def request(*args: Any, **kwargs: Any) -> Result:
    return asyncio.run(arequest(*args, **kwargs))
