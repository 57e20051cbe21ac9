"""A request's body, which the guard may read before it knows who has to answer."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.types import Message, Receive

from strava_pipeline.dagster_guard.rules import Refusal


class Body:
    """Stands for a server's ``receive``; whoever is asked next gets the body also after it was read here."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: Message | None = None

    async def __call__(self) -> Message:
        """The next message: first of all the body that was read."""
        kept, self._kept = self._kept, None
        return kept or await self._receive()

    async def read(self, cap_bytes: int, seconds: float) -> bytes | Refusal:
        """The whole body, to be called once; or why it is not read, where it is longer or slower than that."""
        try:
            return await asyncio.wait_for(self._read(cap_bytes), seconds)
        except TimeoutError:
            return Refusal(HTTPStatus.REQUEST_TIMEOUT, "The body did not arrive.")

    async def _read(self, cap_bytes: int) -> bytes | Refusal:
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                return Refusal(HTTPStatus.REQUEST_TIMEOUT, "The body did not arrive.")
            body += message.get("body", b"")
            if len(body) > cap_bytes:
                return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.")
            if not message.get("more_body", False):
                break
        self._kept = {"type": "http.request", "body": bytes(body), "more_body": False}
        return bytes(body)
