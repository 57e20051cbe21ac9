"""The guard itself: ASGI middleware around the whole of Dagster's app."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from strava_pipeline.dagster_guard.answers import deny, hardened, line
from strava_pipeline.dagster_guard.asked import Asked, described
from strava_pipeline.dagster_guard.bodies import Body
from strava_pipeline.dagster_guard.door import Door
from strava_pipeline.dagster_guard.entry import Entry, entry, secrets_in
from strava_pipeline.dagster_guard.pages import FORMS, NO_TOKEN, Pages, is_own, to_login
from strava_pipeline.dagster_guard.rules import refusal
from strava_pipeline.dagster_guard.sessions import Sessions
from strava_pipeline.dagster_guard.signatures import Signatures
from strava_pipeline.dagster_guard.sockets import serve_while
from strava_pipeline.dagster_guard.wrong_tokens import WrongTokens
from strava_pipeline.errors import DatabaseAway
from strava_pipeline.redaction import get_logger

log = get_logger(__name__)

AWAY = "The database that knows who is logged in does not answer: nobody passes until it does."


class Guard:
    """Lets through to ``app`` what the rules allow, of whoever is logged in or is a process of ours."""

    def __init__(self, app: ASGIApp, door: Door, sessions: Sessions) -> None:
        self._app = app
        self._door = door
        self._sessions = sessions
        self._signatures = Signatures(door.key)
        self._pages = Pages(door, sessions, WrongTokens())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in the app's place, or have the app answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"}:
            raise ValueError(f"no rule for a connection of type {scope['type']}")
        asked = described(scope)
        send = hardened(send)
        receive = body = Body(receive)
        answer = await self._answer(asked, body)
        if answer is not None:
            # Without the query, which may hold a secret.
            log.info("%.20r %.200r of %s: %d by the guard", asked.method, asked.path, asked.address, answer.status_code)
            await deny(answer, scope, receive, send)
        elif asked.is_websocket and entry(asked, self._door) is Entry.WITH_SESSION:
            await serve_while(partial(self._is_logged_in, asked), self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, asked: Asked, body: Body) -> Response | None:
        """The guard's own answer; ``None`` if the app has to answer."""
        refused = refusal(asked, self._door, forms_at=FORMS)
        if refused is not None:
            return line(refused.reason, refused.status)
        try:
            return await (self._pages.answer(asked, body) if is_own(asked) else self._who_may_not(asked, body))
        except DatabaseAway as error:
            log.error("%s", error)  # noqa: TRY400  one line says it all
            return line(AWAY, HTTPStatus.SERVICE_UNAVAILABLE)

    async def _who_may_not(self, asked: Asked, body: Body) -> Response | None:
        terms = entry(asked, self._door)
        if terms is Entry.WITH_SIGNATURE:
            refused = await self._signatures.refusal(asked, body)
            return None if refused is None else line(refused.reason, refused.status)
        if terms is Entry.NEVER:
            return line(NO_TOKEN, HTTPStatus.FORBIDDEN)
        if terms is Entry.FREE or await self._sessions.is_open(secrets_in(asked, self._door.cookie)):
            return None
        return to_login(asked)

    async def _is_logged_in(self, asked: Asked) -> bool:
        """Whether the session is open still, as far as anybody can tell."""
        try:
            return await self._sessions.is_open(secrets_in(asked, self._door.cookie))
        except DatabaseAway as error:
            log.error("%s", error)  # noqa: TRY400  one line says it all
            return False
