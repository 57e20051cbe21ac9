"""WebSockets that are closed when the session ends with which they were opened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CHECK_SECONDS = 3.0
POLICY_VIOLATION = 1008


async def serve_while_logged_in(
    is_logged_in: Callable[[], Awaitable[bool]], app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Let the app serve a WebSocket, and close it at most :data:`CHECK_SECONDS` after the session has ended."""
    ended = False

    async def send_before_the_end(message: Message) -> None:
        if not ended:
            await send(message)

    async def serve() -> None:
        await app(scope, receive, send_before_the_end)

    serving, watching = asyncio.ensure_future(serve()), asyncio.ensure_future(_wait_for_logout(is_logged_in))
    try:
        await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            return
        ended = True
        watching.result()
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "logged out"})
    finally:
        for task in (serving, watching):
            task.cancel()
        await asyncio.gather(serving, watching, return_exceptions=True)


async def _wait_for_logout(is_logged_in: Callable[[], Awaitable[bool]]) -> None:
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        if not await is_logged_in():
            return
