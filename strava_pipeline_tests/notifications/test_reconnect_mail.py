"""The mail that asks an athlete to connect again: what it says, when it goes out, and when it does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, func, insert, update

from strava_pipeline.keyring import Keyring
from strava_pipeline.notifications.mail_links import read_reconnect_link, read_unsubscribe_link
from strava_pipeline.notifications.outbox import send_due
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.mail import mail_queue
from strava_pipeline.warehouse.mail.consent import end_mails
from strava_pipeline.warehouse.mail.reconnect import ask_to_reconnect
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline_tests.mail_consent import with_address
from strava_pipeline_tests.mail_server import MailServerStandIn
from strava_pipeline_tests.notifications.conftest import ADDRESS
from strava_pipeline_tests.strava_stand_in import RIDER

Stored = Callable[[], Row[Any]]


@pytest.fixture(autouse=True)
def gone(engine: Engine) -> None:
    """An athlete whose grant has just ended."""
    with engine.begin() as connection:
        connection.execute(insert(users).values(with_address(RIDER, ADDRESS) | {"state": "needs_reauth"}))
        ask_to_reconnect(connection, RIDER)


def sent(engine: Engine, settings: Settings) -> list[str]:
    return [str(result) for result in send_due(engine, settings)]


def test_the_mail_has_a_link_for_this_athlete_alone(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, keyring: Keyring
) -> None:
    assert sent(engine, mail_settings) == [f"mail that asks athlete {RIDER} to connect again: sent"]
    (mail,) = smtp.mails
    assert smtp.recipients == [ADDRESS]
    assert mail["Subject"] == "Connect your Strava account again"
    assert mail["Message-ID"].startswith("<reconnect-")
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        (found,) = set(re.findall(r"https://bridge\.example\.org/mail/reconnect/([\w.-]+)", part.get_content()))
        link = read_reconnect_link(found, keyring)
        assert link is not None
        assert (link.athlete_id, link.generation, link.is_over) == (RIDER, 1, False)
        assert abs(datetime.fromtimestamp(link.expires_at, UTC) - datetime.now(UTC) - timedelta(days=30)) < timedelta(
            minutes=5
        )
    end = mail["List-Unsubscribe"].strip("<>").rpartition("/")[2]
    assert read_unsubscribe_link(end, keyring) is not None


def connect_again(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(state="active", generation=2))


def unsubscribe(engine: Engine) -> None:
    with engine.begin() as connection:
        end_mails(connection, RIDER, f"unsubscribe-{RIDER}")


def give_another(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(email="other@example.org", email_confirmed_at=None))


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (connect_again, "the athlete need not connect again"),
        (unsubscribe, "the athlete wants no mails"),
        (give_another, "the address is not confirmed"),
    ],
)
def test_what_happens_before_it_is_sent_counts(
    engine: Engine,
    mail_settings: Settings,
    smtp: MailServerStandIn,
    stored: Stored,
    happens: Callable[[Engine], None],
    reason: str,
) -> None:
    happens(engine)
    sent(engine, mail_settings)
    assert smtp.mails == []
    assert (stored().state, stored().reason) == ("skipped", reason)


def test_without_a_mail_server_it_is_not_sent(engine: Engine, settings: Settings, stored: Stored) -> None:
    sent(engine, settings)
    assert (stored().state, stored().reason) == ("skipped", "mail is off: STRAVA_SMTP_URL is not set")


def test_a_process_that_died_while_sending_leaves_one_mail_with_the_same_id(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn
) -> None:
    # Claimed, and never heard of again: after the lease the next one sends it.
    assert mail_queue.claim_next(engine) is not None
    assert sent(engine, mail_settings) == []
    with engine.begin() as connection:
        connection.execute(update(notifications).values(next_try_at=func.clock_timestamp()))
    assert len(sent(engine, mail_settings)) == 1
    # Died after the server's word and before the commit: a second one, which mailboxes know by its id and link.
    with engine.begin() as connection:
        connection.execute(
            update(notifications).values(state="pending", next_try_at=func.clock_timestamp(), finished_at=None)
        )
    assert len(sent(engine, mail_settings)) == 1
    first, second = smtp.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert first.get_body(("plain",)).get_content() == second.get_body(("plain",)).get_content()  # type: ignore[union-attr]  # both have one


def test_it_waits_a_week_for_the_mail_server(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, stored: Stored
) -> None:
    smtp.data += ["451 later", "451 later"]
    sent(engine, mail_settings)
    assert (stored().state, stored().attempts) == ("pending", 1)
    with engine.begin() as connection:
        week_old = func.clock_timestamp() - timedelta(days=7)
        connection.execute(update(notifications).values(next_try_at=func.clock_timestamp(), created_at=week_old))
    sent(engine, mail_settings)
    assert stored().state == "failed"
    assert stored().reason.startswith("given up after 2 tries: ")
