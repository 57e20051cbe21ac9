"""``strava-pipeline webhook``: deliveries to the bridge, as Strava would send them."""

from __future__ import annotations

import hashlib
import hmac
import json
import time

import click
import requests

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.settings import Settings, load_settings

TIMEOUT_SECONDS = 10
OK = 200


class DeliveryFailed(StravaPipelineError):
    """The bridge did not take a simulated delivery."""


@click.group()
def webhook() -> None:
    """Webhook deliveries."""


@webhook.command()
@click.option("--athlete", "athlete_id", type=click.IntRange(1, 2**63 - 1), required=True, help="Whose activity.")
@click.option("--activity", "activity_id", type=click.IntRange(1, 2**63 - 1), required=True, help="Which activity.")
@click.option(
    "--aspect",
    type=click.Choice(["create", "update", "delete"]),
    default="create",
    show_default=True,
    help="What happened to it.",
)
@click.option("--title", help="The new title, for an update.")
@click.option("--url", help="The callback. Without it: the bridge on this machine.")
def simulate(athlete_id: int, activity_id: int, aspect: str, title: str | None, url: str | None) -> None:
    """Deliver one event about an activity to the bridge, signed as Strava would; prints the bridge's answer."""
    settings = load_settings()
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
    target = url or callback_url(settings)
    try:
        answer = requests.post(target, data=body, headers=_headers(settings, body), timeout=TIMEOUT_SECONDS)
    except requests.RequestException as error:
        # The path may end in a secret: only the setting is named.
        raise DeliveryFailed(f"the bridge cannot be reached ({type(error).__name__}): is it running?") from None
    if answer.status_code != OK:
        raise DeliveryFailed(f"the bridge answered {answer.status_code}: {answer.text.strip()[:200]}")
    click.echo(answer.text.strip())


def callback_url(settings: Settings) -> str:
    """Where the bridge of this machine takes deliveries."""
    token = settings.webhook_path_token.get_secret_value() if settings.webhook_path_token else ""
    path = f"/webhooks/strava/{token}" if token else "/webhooks/strava"
    return f"http://127.0.0.1:{settings.bridge_port}{path}"


def _headers(settings: Settings, body: bytes) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    timestamp = str(int(time.time()))
    for secret in settings.signing_secrets()[:1]:
        signature = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers["X-Strava-Signature"] = f"t={timestamp},v1={signature}"
    return headers
