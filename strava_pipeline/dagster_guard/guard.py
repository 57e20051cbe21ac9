"""The guard: ASGI middleware around Dagster's whole app."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from strava_pipeline.dagster_guard.answers import deny, text_answer, with_security_headers
from strava_pipeline.dagster_guard.asked import RequestHead, request_head
from strava_pipeline.dagster_guard.bodies import Body
from strava_pipeline.dagster_guard.door import AccessSettings
from strava_pipeline.dagster_guard.entry import Credential, required_credential, session_secrets
from strava_pipeline.dagster_guard.pages import FORMS, NO_TOKEN, Pages, is_guard_page, login_needed
from strava_pipeline.dagster_guard.rules import check_request
from strava_pipeline.dagster_guard.sessions import Sessions
from strava_pipeline.dagster_guard.signatures import UsedSignatures
from strava_pipeline.dagster_guard.sockets import serve_while_logged_in
from strava_pipeline.dagster_guard.wrong_tokens import WrongTokenLimit
from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.redaction import get_logger

log = get_logger(__name__)

LOGINS_UNAVAILABLE = "The database of logins does not answer, so nobody has access: try again soon."


class Guard:
    """Middleware that passes a request on to ``app`` if the rules allow it and its sender is logged in or is ours."""

    def __init__(self, app: ASGIApp, access: AccessSettings, sessions: Sessions) -> None:
        self._app = app
        self._access = access
        self._sessions = sessions
        self._signatures = UsedSignatures(access.key)
        self._pages = Pages(access, sessions, WrongTokenLimit())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on to the app."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"}:
            raise ValueError(f"no rule for a connection of type {scope['type']}")
        request = request_head(scope)
        send = with_security_headers(send)
        receive = body = Body(receive)
        answer = await self._answer(request, body)
        if answer is not None:
            # The query is left out, since it may hold a secret.
            log.info(
                "%.20r %.200r of %s: %d by the guard", request.method, request.path, request.address, answer.status_code
            )
            await deny(answer, scope, receive, send)
        elif request.is_websocket and required_credential(request, self._access) is Credential.WITH_SESSION:
            await serve_while_logged_in(partial(self._is_logged_in, request), self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, request: RequestHead, body: Body) -> Response | None:
        """Return the guard's own answer, or ``None`` if the app has to answer."""
        refused = check_request(request, self._access, forms_at=FORMS)
        if refused is not None:
            return text_answer(refused.reason, refused.status)
        try:
            return await (
                self._pages.answer(request, body) if is_guard_page(request) else self._check_credential(request, body)
            )
        except DatabaseUnavailable as error:
            log.error("%s", error)  # noqa: TRY400  one line says it all
            return text_answer(LOGINS_UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE)

    async def _check_credential(self, request: RequestHead, body: Body) -> Response | None:
        terms = required_credential(request, self._access)
        if terms is Credential.WITH_SIGNATURE:
            refused = await self._signatures.check(request, body)
            return None if refused is None else text_answer(refused.reason, refused.status)
        if terms is Credential.NEVER:
            return text_answer(NO_TOKEN, HTTPStatus.FORBIDDEN)
        if terms is Credential.FREE or await self._sessions.is_open(session_secrets(request, self._access.cookie)):
            return None
        return login_needed(request)

    async def _is_logged_in(self, request: RequestHead) -> bool:
        """Whether the session is still open; not, if the database does not answer."""
        try:
            return await self._sessions.is_open(session_secrets(request, self._access.cookie))
        except DatabaseUnavailable as error:
            log.error("%s", error)  # noqa: TRY400  one line says it all
            return False
