"""Strava's OAuth endpoints: the link to consent, the code exchange, and the refresh.

Source: https://developers.strava.com/docs/authentication/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from strava_pipeline.errors import NeedsReauthorization, RejectedRequest, RetriableStravaError
from strava_pipeline.settings import Settings
from strava_pipeline.strava.faults import error_for
from strava_pipeline.strava.http import OK, parse_json, send

WANTED_SCOPES = ("read", "activity:read_all", "profile:read_all")
LOCAL_REDIRECT = "http://localhost/"


@dataclass(frozen=True)
class TokenGrant:
    """What the token endpoint issued; ``athlete`` comes with a code exchange only."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime
    athlete: dict[str, Any] | None = field(default=None, repr=False)


def authorize_url(settings: Settings, redirect_uri: str = LOCAL_REDIRECT) -> str:
    """The page on which an athlete allows access; Strava then redirects with ``code`` and ``scope``."""
    query = {
        "client_id": settings.required("client_id"),
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "approval_prompt": "auto",
        "scope": ",".join(WANTED_SCOPES),
    }
    return f"{settings.oauth_url}/authorize?{urlencode(query)}"


def parse_redirect(pasted: str) -> tuple[str, tuple[str, ...]]:
    """Code and granted scopes from what the browser ended on: the whole address, or the bare code.

    A bare code does not tell the scopes; the wanted ones are assumed, and a missing one shows at first use.
    ``RejectedRequest`` for an address without a code: the athlete said no, or it is another page.
    """
    pasted = pasted.strip()
    if "://" not in pasted:
        return pasted, WANTED_SCOPES
    try:
        query = parse_qs(urlsplit(pasted).query)
    except ValueError:
        query = {}
    if "error" in query:
        raise RejectedRequest(f"Strava connected nobody: {query['error'][0][:40]!r}")
    if "code" not in query:
        raise RejectedRequest("the address holds no authorization code: copy it whole, from http to the end")
    scopes = tuple(filter(None, query.get("scope", [""])[0].split(",")))
    return query["code"][0], scopes or WANTED_SCOPES


def exchange_code(settings: Settings, session: requests.Session, code: str) -> TokenGrant:
    """Tokens for a consent code, which works once. ``RejectedRequest`` when Strava does not take it."""
    form = {"grant_type": "authorization_code", "code": code}
    grant = _token_call(settings, session, form, what="exchange of the authorization code")
    if grant.athlete is None or type(grant.athlete.get("id")) is not int:
        raise RejectedRequest("exchange of the authorization code: Strava's answer names no athlete")
    return grant


def refresh(settings: Settings, session: requests.Session, refresh_token: str) -> TokenGrant:
    """A fresh token pair. ``NeedsReauthorization`` only if Strava says that this refresh token is dead."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    try:
        return _token_call(settings, session, form, what="refresh of an access token")
    except RejectedRequest as error:
        if error.fault.resource == "RefreshToken" and error.fault.code == "invalid":
            raise NeedsReauthorization(
                f"{error}: the athlete must connect again", status=error.status, fault=error.fault
            ) from None
        raise


def _token_call(settings: Settings, session: requests.Session, form: dict[str, str], *, what: str) -> TokenGrant:
    credentials = {
        "client_id": settings.required("client_id"),
        "client_secret": settings.required("client_secret"),
    }
    answer = send(session, "POST", f"{settings.oauth_url}/token", what=what, form=credentials | form)
    if answer.status != OK:
        error = error_for(what, answer.status, answer.body)
        if isinstance(error, NeedsReauthorization):
            # A 401 here is about the app's own credentials, not about the athlete's grant.
            raise RejectedRequest(
                f"{what}: Strava refuses STRAVA_CLIENT_ID or STRAVA_CLIENT_SECRET ({error.fault})",
                status=error.status,
                fault=error.fault,
            )
        raise error
    return _grant(parse_json(answer.body, what), what)


def _grant(body: Any, what: str) -> TokenGrant:
    try:
        athlete = body.get("athlete")
        grant = TokenGrant(
            access_token=body["access_token"],
            refresh_token=body["refresh_token"],
            expires_at=datetime.fromtimestamp(body["expires_at"], UTC),
            athlete=athlete if isinstance(athlete, dict) else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, OSError):
        raise RetriableStravaError(f"{what}: Strava's answer holds no usable tokens") from None
    if not all(map(_is_token, (grant.access_token, grant.refresh_token))):
        raise RetriableStravaError(f"{what}: Strava's answer holds no usable tokens")
    return grant


def _is_token(value: Any) -> bool:
    """Text that fits into a header: an error about one that does not would quote it."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and bool(value.strip())
