"""The app's push subscription at Strava. There is at most one; the calls use the app's own id and secret.

Errors: those below ``StravaError`` in :mod:`strava_pipeline.errors`. No message contains the address that was called,
since Strava wants the secret in the query of the listing. Strava counts these calls against the app's limits, too, so
each is booked in the ledger before it is sent. The ledger books every call as a read, for which the limits are lower;
creating or deleting a subscription is no read, and so takes the room of one read without need.
Source: https://developers.strava.com/docs/webhooks/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

import requests

from strava_pipeline.settings import Settings
from strava_pipeline.strava.faults import of_the_app, read
from strava_pipeline.strava.http import DEADLINE_SECONDS, send
from strava_pipeline.strava.mapping.fields import JsonObject
from strava_pipeline.strava.quota.windows import Lane, QuotaLedger
from strava_pipeline.strava.shapes import ANYTHING, NEW_SUBSCRIPTION, SUBSCRIPTIONS, Shape
from strava_pipeline.strava.transport import endpoint_of, send_and_settle

PATH = "/push_subscriptions"
_SUCCESS = (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT)


@dataclass(frozen=True)
class AppAccess:
    """Strava's API for calls in the app's own name; each call waits at most ``max_wait`` for quota."""

    settings: Settings
    ledger: QuotaLedger
    max_wait: timedelta
    session: requests.Session = field(repr=False)


def list_subscriptions(app: AppAccess) -> list[JsonObject]:
    """Return the app's subscriptions, one or none, each with ``id`` and ``callback_url``."""
    what = "list of push subscriptions"
    found: list[JsonObject] = _call(app, "GET", PATH, what, SUBSCRIPTIONS, query=_credentials(app))
    return found


def look_up_subscriptions(settings: Settings, session: requests.Session, deadline_s: float) -> list[JsonObject]:
    """Return what :func:`list_subscriptions` returns, and book nothing: for whoever may not write to the tables.

    Strava counts the call: look first whether there is room. The ledger learns of it from the next answer's headers.
    """
    what = "list of push subscriptions"
    credentials = {name: settings.required(name) for name in ("client_id", "client_secret")}
    answer = send(session, "GET", f"{settings.api_url}{PATH}", what=what, query=credentials, deadline_s=deadline_s)
    body, error = read(what, answer, shape=SUBSCRIPTIONS)
    if error is not None:
        raise of_the_app(what, error)
    found: list[JsonObject] = body
    return found


def create_subscription(app: AppAccess, callback_url: str, verify_token: str) -> int:
    """Subscribe ``callback_url`` and return the subscription's id.

    The callback must be up, since Strava asks it for an echo before it answers. ``RejectedRequest`` if the callback did
    not echo in time, or if there is a subscription already.
    """
    what = "new push subscription"
    form = _credentials(app) | {"callback_url": callback_url, "verify_token": verify_token}
    number: int = _call(app, "POST", PATH, what, NEW_SUBSCRIPTION, form=form)["id"]
    return number


def delete_subscription(app: AppAccess, subscription_id: int) -> None:
    """End a subscription; ``NotFound`` if there is none with this id."""
    what = f"end of push subscription {subscription_id}"
    _call(app, "DELETE", f"{PATH}/{subscription_id}", what, form=_credentials(app))


def _call(
    app: AppAccess,
    method: str,
    path: str,
    what: str,
    shape: Shape = ANYTHING,
    *,
    query: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
) -> Any:
    """The parsed body of a success; ``None`` for an answer without a body."""
    reservation = app.ledger.reserve(
        Lane.LIVE,  # a person waits for it
        endpoint_of(path),
        None,
        longest=timedelta(seconds=DEADLINE_SECONDS),
        max_wait=app.max_wait,
    )
    url = f"{app.settings.api_url}{path}"
    exchange = partial(send, app.session, method, url, what=what, query=query, form=form)
    understood = partial(read, what, shape=shape, success=_SUCCESS)
    body, error = send_and_settle(app.ledger, reservation, what, exchange, understood)
    if error is not None:
        # No athlete can help by connecting again.
        raise of_the_app(what, error)
    return body


def _credentials(app: AppAccess) -> dict[str, str]:
    return {name: app.settings.required(name) for name in ("client_id", "client_secret")}
