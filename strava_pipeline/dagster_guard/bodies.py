"""Request bodies that the guard can read first, and pass on to Dagster afterwards."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.types import Message, Receive

from strava_pipeline.dagster_guard.rules import Refusal


class Body:
    """A replacement for a server's ``receive`` that returns the body to the app also after the guard has read it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: Message | None = None

    async def __call__(self) -> Message:
        """Return the next ASGI message; the body comes first if it has been read."""
        kept, self._kept = self._kept, None
        return kept or await self._receive()

    async def read(self, cap_bytes: int, seconds: float) -> bytes | Refusal:
        """Read the whole body, or return a refusal if it is longer than ``cap_bytes`` or takes longer than ``seconds``.

        Call this at most once.
        """
        try:
            return await asyncio.wait_for(self._read(cap_bytes), seconds)
        except TimeoutError:
            return Refusal(
                HTTPStatus.REQUEST_TIMEOUT, "The body of this request did not arrive in time: send it again."
            )

    async def _read(self, cap_bytes: int) -> bytes | Refusal:
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                return Refusal(HTTPStatus.REQUEST_TIMEOUT, "The body of this request did not arrive: send it again.")
            body += message.get("body", b"")
            if len(body) > cap_bytes:
                return Refusal(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body of this request is larger than {cap_bytes} bytes."
                )
            if not message.get("more_body", False):
                break
        self._kept = {"type": "http.request", "body": bytes(body), "more_body": False}
        return bytes(body)
