"""Checks of the running bridge, and of what Strava delivers to it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

from strava_pipeline.cli.callback import (
    CallbackAway,
    CallbackUnreachable,
    check_handshake,
    public_callback,
    shown,
)
from strava_pipeline.cli.doctor.database_checks import TABLES, reading
from strava_pipeline.cli.doctor.findings import EXCHANGE_SECONDS, Check, Finding, fail, ok, warn
from strava_pipeline.errors import RetriableStravaError, StravaPipelineError
from strava_pipeline.settings import Settings
from strava_pipeline.settings_values import LOOPBACK_HOSTS
from strava_pipeline.strava.http import new_session, send
from strava_pipeline.strava.mapping.fields import JsonObject
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import APP, Lane
from strava_pipeline.strava.subscriptions import look_up_subscriptions
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.quota.status import scope_status
from strava_pipeline.warehouse.states import RejectReason, Severity
from strava_pipeline.warehouse.watch.alerts import standing_alerts
from strava_pipeline.warehouse.watch.deliveries import recent_deliveries
from strava_pipeline.warehouse.watch.heartbeats import Role, heartbeats_of
from strava_pipeline.watch.rules import RULES_BY_NAME

LONGEST_BODY = 200
LOOK_BACK = timedelta(days=1)
# Bridges give one each half minute.
SIGN_OF_LIFE = timedelta(minutes=2)
UNREACHED = "STRAVA_BRIDGE_PUBLIC_URL is not set, so Strava delivers nothing: upkeep finds what is new"
SUBSCRIBE = "run strava-pipeline webhook subscribe"


def check_bridge(settings: Settings) -> Iterator[Finding]:
    """Check that a bridge answers on this machine, or that one elsewhere gives signs of life."""
    url = f"http://127.0.0.1:{settings.bridge_port}"
    try:
        answer = send(new_session(), "GET", f"{url}/health/live", what=url, deadline_s=EXCHANGE_SECONDS)
    except RetriableStravaError:
        yield _bridge_elsewhere(settings, url)
        return
    if answer.status == HTTPStatus.OK:
        yield ok(f"{url} answers")
    else:
        body = answer.body.decode("utf-8", "replace").strip()[:LONGEST_BODY]
        yield fail(f"{url}/health/live answers {answer.status}: {body}", "restart the bridge; its log has the reason")


def _bridge_elsewhere(settings: Settings, url: str) -> Finding:
    # Another check tells of a database that cannot be read.
    with suppress(StravaPipelineError), reading(settings) as connection:
        for beat in heartbeats_of(connection, now(connection) - SIGN_OF_LIFE):
            if beat.role == Role.BRIDGE and beat.host != socket.gethostname():
                return ok(f"none here; the one on {beat.host} gave a sign of life at {beat.beat_at:%R} UTC")
    return warn(f"none answers at {url}", "start strava-pipeline up or bridge, unless it runs elsewhere")


def check_callback(settings: Settings) -> Iterator[Finding]:
    """Send a handshake to the public callback as Strava does: it resolves, its certificate holds, the bridge answers.

    Whether Strava can reach it, too, cannot be told from here.
    """
    from webhook_bridge.webhooks import takes_deliveries

    if settings.bridge_public_url is None:
        yield ok(UNREACHED)
        return
    if not takes_deliveries(settings):
        yield ok("no app is set up, so nobody calls it")
        return
    host = urlsplit(settings.bridge_public_url).hostname or ""
    try:
        addresses = {str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        yield fail(f"{host} has no address", "check STRAVA_BRIDGE_PUBLIC_URL, or enter the name into DNS")
        return
    yield from _shaken_hands(settings)
    if host not in LOOPBACK_HOSTS and not any(ipaddress.ip_address(each).is_global for each in addresses):
        yield warn(
            f"{host} is {', '.join(sorted(addresses))} here, which is no address in the Internet",
            "make sure that the name has a public address elsewhere: Strava delivers to that one",
        )


def _shaken_hands(settings: Settings) -> Iterator[Finding]:
    try:
        check_handshake(settings)
    except CallbackAway as error:
        yield warn(
            str(error), "open this address from outside: where a router does not lead back, it cannot be told from here"
        )
    except CallbackUnreachable as error:
        yield fail(str(error))
    else:
        yield ok(f"{shown(public_callback(settings))} answers a handshake")


def check_subscription(settings: Settings) -> Iterator[Finding]:
    """Compare the app's subscription with the settings.

    Strava counts this request, so it is sent only if one is left. It is not booked, since that would be a row.
    """
    if settings.client_id is None and settings.client_secret is None:
        yield ok("no app is set up, so there is none")
        return
    settings.require("client_id", "client_secret")
    with reading(settings) as connection:
        windows = scope_status(connection, RateLimits.from_settings(settings), APP, now(connection))
    if min(window.calls_left[Lane.LIVE] for window in windows) < 1:
        yield warn(
            "not asked: no request is left of Strava's limits", "run doctor again later; see strava-pipeline quota"
        )
        return
    existing = look_up_subscriptions(settings, new_session(settings.ca_bundle), EXCHANGE_SECONDS)
    if existing:
        yield from _judged_subscription(settings, existing[0])
    elif settings.bridge_public_url is None:
        yield ok(f"the app has none; {UNREACHED}")
    else:
        yield warn("the app has none: Strava delivers nothing, and upkeep finds what is new", SUBSCRIBE)


def _judged_subscription(settings: Settings, subscription: JsonObject) -> Iterator[Finding]:
    found, ours = subscription.get("id"), settings.webhook_subscription_id
    callback = str(subscription.get("callback_url"))
    if ours is None:
        yield warn(
            f"the app's is {found}, and STRAVA_WEBHOOK_SUBSCRIPTION_ID is not set: deliveries of any are taken",
            f"set STRAVA_WEBHOOK_SUBSCRIPTION_ID={found}, and restart the bridge",
        )
    elif ours != found:
        yield fail(
            f"Strava delivers for subscription {found}, and the bridge refuses all but {ours}",
            f"set STRAVA_WEBHOOK_SUBSCRIPTION_ID={found}, and restart the bridge",
        )
    if settings.bridge_public_url is not None and callback != public_callback(settings):
        yield fail(
            f"subscription {found} delivers to {shown(callback)}, and not to {shown(public_callback(settings))}",
            f"run strava-pipeline webhook unsubscribe, then {SUBSCRIBE.removeprefix('run ')}",
        )
    elif ours == found:
        yield ok(f"{found}, to {shown(callback)}")


def check_deliveries(settings: Settings) -> Iterator[Finding]:
    """Tell what became of the last day's deliveries, and warn of those of another subscription."""
    with reading(settings) as connection:
        recent = recent_deliveries(connection, now(connection) - LOOK_BACK)
    ours = settings.webhook_subscription_id
    for each in recent:
        # With the settings as they are now.
        is_refused = ours is not None and each.subscription_id not in (None, ours)
        if each.reason == RejectReason.SUBSCRIPTION and is_refused:
            yield warn(
                f"{each.deliveries:,} of the last day were refused: they are of subscription {each.subscription_id},"
                f" and ours is {ours}",
                "see subscription above: set STRAVA_WEBHOOK_SUBSCRIPTION_ID to the app's, or end the other one",
            )
    told = ", ".join(f"{each.deliveries:,} {' '.join(filter(None, (each.outcome, each.reason)))}" for each in recent)
    yield ok(f"of the last day: {told}" if recent else "none within the last day")


def check_alerts(settings: Settings) -> Iterator[Finding]:
    """Tell the alerts that are on, as the bridges found them."""
    with reading(settings) as connection:
        standing = standing_alerts(connection)
    known = [alert for alert in standing if alert.rule in RULES_BY_NAME]
    for alert in known:
        rule = RULES_BY_NAME[alert.rule]
        whom = f" (athlete {alert.athlete_id})" if alert.athlete_id else ""
        find = fail if rule.severity is Severity.CRITICAL else warn
        yield find(f"{rule.summary}{whom}, since {alert.since:%F %R} UTC: {alert.detail}", rule.what_to_do)
    if not known:
        yield ok("none is on that this version knows" if standing else "none is on")


LIVE_CHECKS = (
    Check("bridge", check_bridge),
    Check("callback", check_callback),
    Check("subscription", check_subscription, needs=TABLES),
    Check("deliveries", check_deliveries, needs=TABLES),
    Check("alerts", check_alerts, needs=TABLES),
)
