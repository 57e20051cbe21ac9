"""Strava's OAuth endpoints: the address of the consent page, the code exchange, the refresh, and the end of a grant.

Source: https://developers.strava.com/docs/authentication/
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeGuard
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from strava_pipeline.errors import (
    ClientRefused,
    MissingScope,
    NeedsReauthorization,
    NotFound,
    RejectedRequest,
    RetriableStravaError,
    StravaError,
)
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.strava.faults import is_dead_grant, of_the_app, read
from strava_pipeline.strava.http import Answer, send
from strava_pipeline.strava.shapes import REVOCATION

# Shows private activities, too.
ALL_ACTIVITIES = "activity:read_all"
WANTED_SCOPES = ("read", ALL_ACTIVITIES, "profile:read_all")
# Without one of these scopes Strava shows no activity.
ACTIVITY_SCOPES = frozenset({"activity:read", ALL_ACTIVITIES})
# The scopes that a redirect may claim: those we ask for, and activity:read, which is granted instead of
# activity:read_all if the athlete does not share private activities. We never ask for Strava's others (read_all,
# profile:write, activity:write).
BELIEVED_SCOPES = ("read", "activity:read", ALL_ACTIVITIES, "profile:read_all")
# Characters, far more than Strava sends: a code has 40, all scopes together have 101.
LONGEST_CODE = 256
LONGEST_SCOPE = 256
LOCAL_REDIRECT = "http://localhost/"


@dataclass(frozen=True)
class TokenGrant:
    """The tokens that the token endpoint issued; ``athlete`` is set after a code exchange only.

    ``expires_at`` (UTC) is ``None`` if Strava's value is not usable; the tokens themselves still are.
    """

    access_token: Secret
    refresh_token: Secret
    expires_at: datetime | None
    athlete: dict[str, Any] | None = field(default=None, repr=False)


def authorize_url(settings: Settings, redirect_uri: str = LOCAL_REDIRECT, *, state: str | None = None) -> str:
    """Return the address of the page on which an athlete allows access.

    Strava then redirects to ``redirect_uri`` with ``code``, ``scope`` and ``state``.
    """
    query = {
        "client_id": settings.required("client_id"),
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "approval_prompt": "auto",
        "scope": ",".join(WANTED_SCOPES),
    }
    if state is not None:
        query["state"] = state
    return f"{settings.oauth_url}/authorize?{urlencode(query)}"


def parse_redirect(pasted: str) -> tuple[str, tuple[str, ...]]:
    """Return the code and the claimed scopes from the address that the browser was redirected to, or from a bare code.

    A bare code does not name the scopes: see :func:`claimed_scopes`. ``RejectedRequest`` for an address without a code
    (the athlete declined, or it is another page), or without a scope that we ask for.
    """
    pasted = pasted.strip()
    if "://" not in pasted:
        return checked_code(pasted), claimed_scopes(None)
    try:
        query = parse_qs(urlsplit(pasted).query)
    except ValueError:
        query = {}
    if "error" in query:
        raise RejectedRequest(f"Strava connected no athlete: {query['error'][0][:40]!r}")
    if "code" not in query:
        raise RejectedRequest("the address holds no authorization code: copy it whole, from http to the end")
    scopes = claimed_scopes(query["scope"][0] if "scope" in query else None)
    if not scopes:
        raise RejectedRequest("nothing was allowed on Strava's page: connect again, and leave the boxes ticked")
    return checked_code(query["code"][0]), scopes


def checked_code(told: str) -> str:
    """Return ``told`` if it may be an authorization code; ``RejectedRequest`` if no code of Strava's looks like it."""
    if not _is_token(told) or " " in told or len(told) > LONGEST_CODE:
        raise RejectedRequest("that is no authorization code of Strava's: empty, too long, or with an odd character")
    return told


def claimed_scopes(told: str | None) -> tuple[str, ...]:
    """Return the scopes that an athlete granted according to the redirect, in a fixed order: a claim without proof.

    The text came through the browser, and Strava's answer to the code exchange names no scopes. So scopes that we do
    not ask for are ignored; without a text (``None``) all that we ask for are assumed. A scope that was not granted
    shows at its first use. ``RejectedRequest`` for a text that Strava would not send.
    """
    if told is None:
        return WANTED_SCOPES
    if not told.isascii() or not told.isprintable() or len(told) > LONGEST_SCOPE:
        raise RejectedRequest("these are no permissions of Strava's: too long, or with an odd character")
    named = set(told.replace(" ", ",").split(","))
    return tuple(scope for scope in BELIEVED_SCOPES if scope in named)


def exchange_code(settings: Settings, session: requests.Session, code: str) -> TokenGrant:
    """Return the tokens for an authorization code, which works once; ``RejectedRequest`` if Strava refuses the code.

    ``ClientRefused`` if Strava refuses the app.
    """
    form = {"grant_type": "authorization_code", "code": code}
    grant = _token_call(settings, session, form, what="exchange of the authorization code")
    if grant.athlete is None or not _is_id(grant.athlete.get("id")):
        raise RejectedRequest("exchange of the authorization code: Strava's answer names no athlete")
    return grant


def refresh(settings: Settings, session: requests.Session, refresh_token: Secret) -> TokenGrant:
    """Return a new token pair; ``NeedsReauthorization`` only if Strava says that the refresh token is invalid.

    ``ClientRefused`` for any other refusal: it concerns the app, and neither the athlete nor an activity.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
    try:
        return _token_call(settings, session, form, what="refresh of an access token")
    except (NotFound, MissingScope, RejectedRequest) as error:
        if is_dead_grant(error.fault):
            raise NeedsReauthorization(
                f"{error}: the athlete must connect again", status=error.status, fault=error.fault
            ) from None
        raise ClientRefused(str(error), status=error.status, fault=error.fault) from None


def revoke(settings: Settings, session: requests.Session, pair: TokenGrant) -> None:
    """Revoke an athlete's grant, by the endpoint that the configured address offers.

    ``/revoke`` takes the refresh token, which outlives the access token and ends the whole grant (RFC 7009, 2.1); a
    grant that has ended already is no error there. Before 2027 Strava has only ``/deauthorize``, which takes the access
    token: ``NeedsReauthorization`` if that token is no longer valid, so that the caller can refresh it and call again.
    After ``RetriableStravaError`` the call can be repeated.
    """
    what = "revocation of a grant"
    answer = send(
        session,
        "POST",
        f"{settings.oauth_url}/revoke",
        what=what,
        headers={"Authorization": _basic(settings)},
        form={"token": pair.refresh_token.reveal()},
    )
    if answer.status != HTTPStatus.NOT_FOUND:
        _, error = _read_revocation(what, answer)
        if error is not None:
            raise of_the_app(what, error)
        return
    form = {"access_token": pair.access_token.reveal()}
    _, error = _read_revocation(what, send(session, "POST", f"{settings.oauth_url}/deauthorize", what=what, form=form))
    if error is not None:
        raise error


def _read_revocation(what: str, answer: Answer) -> tuple[Any, StravaError | None]:
    # RFC 7009 asks for no body.
    if answer.status == HTTPStatus.OK and not answer.body.strip():
        return None, None
    return read(what, answer, shape=REVOCATION)


def _basic(settings: Settings) -> str:
    pair = f"{settings.required('client_id')}:{settings.required('client_secret')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _token_call(settings: Settings, session: requests.Session, form: dict[str, str], *, what: str) -> TokenGrant:
    credentials = {
        "client_id": settings.required("client_id"),
        "client_secret": settings.required("client_secret"),
    }
    answer = send(session, "POST", f"{settings.oauth_url}/token", what=what, form=credentials | form)
    body, error = read(what, answer)
    if error is not None:
        raise of_the_app(what, error)
    return _grant(body, what)


def _grant(body: Any, what: str) -> TokenGrant:
    told = body if isinstance(body, dict) else {}
    access, refreshing, athlete = (told.get(name) for name in ("access_token", "refresh_token", "athlete"))
    if not _is_token(access) or not _is_token(refreshing):
        raise RetriableStravaError(f"{what}: Strava's answer holds no usable tokens", answered=False)
    expires_at = _moment(told.get("expires_at"))
    return TokenGrant(Secret(access), Secret(refreshing), expires_at, athlete if isinstance(athlete, dict) else None)


def _moment(epoch_s: Any) -> datetime | None:
    # The former refresh token may be void by now, so an unusable date must not lose the new one.
    try:
        return datetime.fromtimestamp(epoch_s, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _is_id(value: Any) -> TypeGuard[int]:
    """Whether the value is an id that fits into the tables; ``bool``, a subclass of ``int``, does not count."""
    return type(value) is int and 0 < value < 2**63


def _is_token(value: Any) -> TypeGuard[str]:
    """Whether the value is text that fits into a header; for other text, the HTTP library's error would quote it."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and bool(value.strip())
