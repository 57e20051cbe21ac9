"""``strava-pipeline webhook``: manages the app's webhook subscription, and simulates a delivery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from strava_pipeline.cli.callback import CallbackUnreachable, check_handshake, local_callback, public_callback, shown
from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import say
from strava_pipeline.cli.simulated_delivery import activity_event, deauthorization_event, deliver
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import Settings
from strava_pipeline.strava.mapping.fields import JsonObject
from strava_pipeline.strava.subscriptions import (
    AppAccess,
    create_subscription,
    delete_subscription,
    list_subscriptions,
)


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
@click.option("--activity", "activity_id", type=click.IntRange(1, 2**63 - 1), help="Id of the activity.")
@click.option(
    "--aspect",
    type=click.Choice(["create", "update", "delete"]),
    help="What happened to the activity; update if you name a change, else create.",
)
@click.option("--title", help="Its new title.")
@click.option("--private/--not-private", default=None, help="Whether only its athlete may see it now.")
@click.option("--deauthorize", is_flag=True, help="The athlete ended the grant at Strava; instead of an activity.")
@click.option("--public-url", "public", is_flag=True, help="Deliver to STRAVA_BRIDGE_PUBLIC_URL, as Strava does.")
@click.option("--url", help="The callback; the bridge on this machine if not given.")
def simulate(
    athlete_id: int,
    activity_id: int | None,
    aspect: str | None,
    title: str | None,
    private: bool | None,
    deauthorize: bool,
    public: bool,
    url: str | None,
) -> None:
    """Deliver a simulated event to the bridge.

    The event is about one activity, or a deauthorization, and signed as Strava would. Prints the bridge's answer:
    "new" if the event was stored, "duplicate" if it was there, "unknown_owner" if no such athlete is connected.
    """
    if public and url is not None:
        raise click.UsageError("give --public-url or --url, not both")
    settings = command_settings()
    updates = _updates(title, private)
    if deauthorize:
        if activity_id is not None or aspect is not None or updates:
            raise click.UsageError("--deauthorize is about the athlete: give nothing about an activity with it")
        event = deauthorization_event(settings, athlete_id)
    elif activity_id is None:
        raise click.UsageError("give --activity ID or --deauthorize")
    else:
        event = activity_event(settings, athlete_id, activity_id, _aspect(aspect, updates), updates)
    say(deliver(settings, event, url or (public_callback if public else local_callback)(settings)))


def _updates(title: str | None, private: bool | None) -> dict[str, str]:
    """What changed, in Strava's names and as the texts that Strava sends."""
    told = {"title": title, "private": None if private is None else str(private).lower()}
    return {name: text for name, text in told.items() if text is not None}


def _aspect(given: str | None, updates: dict[str, str]) -> str:
    if updates and given not in {None, "update"}:
        raise click.UsageError(f"a {given} changes nothing: --title and --private go with an update")
    return given or ("update" if updates else "create")
