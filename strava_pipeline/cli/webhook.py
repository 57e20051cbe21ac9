"""``strava-pipeline webhook``: manages the app's webhook subscription, and simulates a delivery."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import click
import requests

from strava_pipeline.cli.callback import CallbackUnreachable, check_handshake, local_callback, public_callback, shown
from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import say
from strava_pipeline.errors import ConfigurationError, StravaPipelineError
from strava_pipeline.settings import Settings
from strava_pipeline.strava.mapping.fields import JsonObject
from strava_pipeline.strava.subscriptions import (
    AppAccess,
    create_subscription,
    delete_subscription,
    list_subscriptions,
)

TIMEOUT_SECONDS = 10


class DeliveryFailed(StravaPipelineError):
    """The bridge did not take a simulated delivery."""


@click.group()
def webhook() -> None:
    """Manage the app's webhook subscription; simulate a delivery."""


@webhook.command()
def subscribe() -> None:
    """Have Strava deliver this app's events to the bridge.

    The bridge must be running, and reachable at STRAVA_BRIDGE_PUBLIC_URL.
    """
    settings = command_settings()
    check_handshake(settings)
    callback = public_callback(settings)
    with _app_access(settings) as app:
        existing = list_subscriptions(app)
        if existing:
            subscription_id = _same_callback(existing[0], callback)
            say(f"subscription {subscription_id} exists already, with this callback")
        else:
            verify_token = settings.required("webhook_verify_token")
            subscription_id = create_subscription(app, callback, verify_token)
            say(f"subscription {subscription_id}: Strava delivers to {shown(callback)}")
    if settings.webhook_subscription_id != subscription_id:
        say(f"STRAVA_WEBHOOK_SUBSCRIPTION_ID={subscription_id}")
        say("put this line into the bridge's settings, and restart the bridge", err=True)


@contextmanager
def _app_access(settings: Settings) -> Iterator[AppAccess]:
    from strava_pipeline.sync.access import COMMAND_MAX_WAIT, open_app_access
    from strava_pipeline.warehouse.migrate import open_warehouse

    with open_warehouse(settings) as engine:
        yield open_app_access(settings, engine, COMMAND_MAX_WAIT)


def _same_callback(subscription: JsonObject, callback: str) -> int:
    """The id of a subscription to this callback; ``ConfigurationError`` if it has another callback."""
    if subscription.get("callback_url") != callback:
        raise ConfigurationError(
            f"the app has subscription {subscription.get('id')} to {shown(str(subscription.get('callback_url')))},"
            " another callback than this bridge's, and Strava allows one: end it with `strava-pipeline webhook"
            " unsubscribe`"
        )
    return int(subscription["id"])


@webhook.command()
def status() -> None:
    """Show the app's subscription, and check the callback.

    Says whether the subscription is this bridge's, and whether the callback answers a handshake.
    """
    settings = command_settings()
    with _app_access(settings) as app:
        existing = list_subscriptions(app)
    if not existing:
        say("subscription  none: `strava-pipeline webhook subscribe` makes one")
    for subscription in existing:
        say(f"subscription  {subscription.get('id')} to {shown(str(subscription.get('callback_url')))}")
        say(f"setting       {_judged_setting(settings, subscription.get('id'))}")
    if settings.bridge_public_url is None:
        say("callback      STRAVA_BRIDGE_PUBLIC_URL is not set")
        return
    callback = public_callback(settings)
    if existing and existing[0].get("callback_url") != callback:
        say(f"callback      this bridge has another one: {shown(callback)}")
    try:
        check_handshake(settings)
    except CallbackUnreachable as error:
        say(f"handshake     {error}")
    else:
        say("handshake     answered")


def _judged_setting(settings: Settings, subscription_id: object) -> str:
    configured = settings.webhook_subscription_id
    if configured is None:
        return "STRAVA_WEBHOOK_SUBSCRIPTION_ID is not set: events of any subscription are accepted"
    return f"STRAVA_WEBHOOK_SUBSCRIPTION_ID is {'the same' if configured == subscription_id else configured}"


@webhook.command()
def unsubscribe() -> None:
    """End the app's subscription, whichever callback it has."""
    settings = command_settings()
    with _app_access(settings) as app:
        existing = list_subscriptions(app)
        for subscription in existing:
            delete_subscription(app, int(subscription["id"]))
            say(f"ended subscription {subscription['id']}: Strava delivers no more events")
    if not existing:
        say("there is no subscription")


@webhook.command()
@click.option("--athlete", "athlete_id", type=click.IntRange(1, 2**63 - 1), required=True, help="Id of the athlete.")
@click.option("--activity", "activity_id", type=click.IntRange(1, 2**63 - 1), required=True, help="Its id.")
@click.option(
    "--aspect",
    type=click.Choice(["create", "update", "delete"]),
    default="create",
    show_default=True,
    help="What happened to the activity.",
)
@click.option("--title", help="The new title, for an update.")
@click.option("--url", help="The callback; the bridge on this machine if not given.")
def simulate(athlete_id: int, activity_id: int, aspect: str, title: str | None, url: str | None) -> None:
    """Deliver a simulated event to the bridge.

    The event is about one activity, and signed as Strava would. Prints the bridge's answer.
    """
    settings = command_settings()
    event = {
        "object_type": "activity",
        "object_id": activity_id,
        "aspect_type": aspect,
        "updates": {} if title is None else {"title": title},
        "owner_id": athlete_id,
        "subscription_id": settings.webhook_subscription_id or 1,
        "event_time": int(time.time()),
    }
    body = json.dumps(event).encode()
    target = url or local_callback(settings)
    try:
        answer = requests.post(target, data=body, headers=_headers(settings, body), timeout=TIMEOUT_SECONDS)
    except requests.RequestException as error:
        # The URL is not shown, since its path may end in a secret.
        raise DeliveryFailed(
            f"the bridge cannot be reached ({type(error).__name__}): start strava-pipeline up or bridge"
        ) from None
    if answer.status_code != HTTPStatus.OK:
        raise DeliveryFailed(f"the bridge answered {answer.status_code}: {answer.text.strip()[:200]}")
    say(answer.text.strip())


def _headers(settings: Settings, body: bytes) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    timestamp = str(int(time.time()))
    for secret in settings.signing_secrets()[:1]:
        signature = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers["X-Strava-Signature"] = f"t={timestamp},v1={signature}"
    return headers
