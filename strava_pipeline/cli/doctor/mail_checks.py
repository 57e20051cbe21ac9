"""Checks of the ways in which people are told: the mail server, ride summaries, and where alerts go."""

from __future__ import annotations

from collections.abc import Iterator

from strava_pipeline.cli.doctor.findings import EXCHANGE_SECONDS, Check, Finding, ok, warn
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.notifications.alert_channels import AlertChannels
from strava_pipeline.notifications.outbox import open_outbox
from strava_pipeline.notifications.smtp import check_login, parse_smtp_url
from strava_pipeline.settings import Settings

OFF = "off: STRAVA_SMTP_URL is not set"


def check_mail_server(settings: Settings) -> Iterator[Finding]:
    """Connect to the mail server and log in; no mail is sent."""
    if settings.smtp_url is None:
        yield ok(OFF)
        return
    server = parse_smtp_url(settings.smtp_url.get_secret_value(), settings.ca_bundle)
    check_login(server, EXCHANGE_SECONDS)
    yield ok(f"{server} {'takes connections' if server.username is None else 'logs us in'}")


def check_summaries(settings: Settings) -> Iterator[Finding]:
    """Check the settings of ride summaries; a mail server may be there for alerts alone."""
    try:
        outbox = open_outbox(settings)
    except ConfigurationError as error:
        if settings.alert_to is None:
            raise
        yield warn(f"athletes get no mails: {error}")
        return
    yield ok(OFF if outbox is None else f"by {outbox.server}, from {outbox.sender.addr_spec}")


def check_alert_channels(settings: Settings) -> Iterator[Finding]:
    """Check that alerts go somewhere, and that the settings of each way can be used; nothing is sent."""
    channels = AlertChannels.from_settings(settings)
    ways = []
    if channels.mail is not None:
        ways.append(f"by mail to {_counted(len(channels.mail.recipients), 'address', 'addresses')}")
    if channels.push is not None:
        ways.append(f"through Apprise to {_counted(len(channels.push.services), 'service', 'services')}")
    if ways:
        yield ok(f"{' and '.join(ways)}; strava-pipeline alerts test sends one")
    else:
        yield warn(
            "nobody is told of an alert", "set STRAVA_ALERT_TO or STRAVA_ALERT_URLS; docs/operations.md has the steps"
        )


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


MAIL_CHECKS = (
    Check("mail server", check_mail_server, "correct STRAVA_SMTP_URL; docs/mails.md has its forms"),
    Check("ride summaries", check_summaries, "docs/mails.md lists what mails need"),
    Check("alert channels", check_alert_channels),
)
