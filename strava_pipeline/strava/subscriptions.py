"""The app's push subscription at Strava: at most one, asked for with the app's own id and secret.

Errors: those of :mod:`strava_pipeline.errors` below ``StravaError``; none holds the address that was called,
since to see a subscription Strava wants the secret in its query. Strava counts these calls against the app's limits as
well; the ledger does not know of them: a person makes them, a few in the life of an app.
Source: https://developers.strava.com/docs/webhooks/
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import requests

from strava_pipeline.errors import NeedsReauthorization, RejectedRequest, RetriableStravaError
from strava_pipeline.settings import Settings
from strava_pipeline.strava.faults import error_for
from strava_pipeline.strava.http import Answer, parse_json, send
from strava_pipeline.strava.mapping.fields import JsonObject

PATH = "/push_subscriptions"


def list_subscriptions(settings: Settings, session: requests.Session) -> list[JsonObject]:
    """The app's subscriptions, each with ``id`` and ``callback_url``: one or none."""
    what = "list of push subscriptions"
    answer = send(session, "GET", f"{settings.api_url}{PATH}", what=what, query=_credentials(settings))
    found = _checked(answer, what)
    if not isinstance(found, list) or not all(map(_is_subscription, found)):
        raise RetriableStravaError(f"{what}: not a list of subscriptions", status=HTTPStatus.OK)
    return found


def create_subscription(settings: Settings, session: requests.Session, callback_url: str, verify_token: str) -> int:
    """Subscribe ``callback_url``, which must be up: Strava asks it for an echo before it answers. Returns the id.

    ``RejectedRequest`` when the callback did not echo in time, or when there is a subscription already.
    """
    what = "new push subscription"
    form = _credentials(settings) | {"callback_url": callback_url, "verify_token": verify_token}
    found = _checked(send(session, "POST", f"{settings.api_url}{PATH}", what=what, form=form), what)
    number = found.get("id") if isinstance(found, dict) else None
    if type(number) is not int:
        raise RetriableStravaError(f"{what}: Strava's answer names no subscription", status=HTTPStatus.OK)
    return number


def delete_subscription(settings: Settings, session: requests.Session, subscription_id: int) -> None:
    """End a subscription. ``NotFound`` when there is no such one."""
    what = f"end of push subscription {subscription_id}"
    url = f"{settings.api_url}{PATH}/{subscription_id}"
    _checked(send(session, "DELETE", url, what=what, form=_credentials(settings)), what)


def _is_subscription(entry: object) -> bool:
    return isinstance(entry, dict) and type(entry.get("id")) is int and isinstance(entry.get("callback_url"), str)


def _credentials(settings: Settings) -> dict[str, str]:
    return {name: settings.required(name) for name in ("client_id", "client_secret")}


def _checked(answer: Answer, what: str) -> Any:
    """The parsed body of a success; ``None`` where there is nothing to parse."""
    if answer.status == HTTPStatus.NO_CONTENT:
        return None
    if answer.status in (HTTPStatus.OK, HTTPStatus.CREATED):
        return parse_json(answer.body, what)
    error = error_for(what, answer.status, answer.body, retry_after=answer.retry_after)
    if isinstance(error, NeedsReauthorization):
        # No athlete has a part in this call.
        raise RejectedRequest(
            f"{what}: Strava refuses STRAVA_CLIENT_ID or STRAVA_CLIENT_SECRET ({error.fault})",
            status=error.status,
            fault=error.fault,
        )
    raise error
