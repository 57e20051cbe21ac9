"""From a webhook to a mail: one for each new activity, none for what is old, none for what was imported."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, Row, insert, select, text, update

from strava_pipeline.warehouse.inbox.claims import claim_objects
from strava_pipeline.warehouse.inbox.events import NewEvent, Stored
from strava_pipeline.warehouse.mail.consent import confirm_address, consent_of, give_address
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.states import EventSource
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import (
    loaded,
    notifications_every_five_minutes,
    op,
    send_notifications,
    webhook_sync,
)
from strava_pipeline_tests.inbox import store_event
from strava_pipeline_tests.mail_consent import with_address
from strava_pipeline_tests.mail_server import MailServerStandIn, mail_server
from strava_pipeline_tests.notifications.conftest import ADDRESS, hilly_streams
from strava_pipeline_tests.strava_stand_in import RIDER

TABLES = (
    "activities",
    "laps",
    "activity_streams",
    "route_analyses",
    "climbs",
    "power_curve",
    "distance_efforts",
    "computed_splits",
    "zone_times",
    "route_matches",
    "training_load",
)


@pytest.fixture(autouse=True)
def smtp(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServerStandIn]:
    """A mail server that takes the mails of an athlete who gave an address."""
    with engine.begin() as connection:
        connection.execute(insert(users).values(with_address(RIDER, ADDRESS)))
    with mail_server() as server:
        monkeypatch.setenv("STRAVA_SMTP_URL", server.url)
        monkeypatch.setenv("STRAVA_MAIL_FROM", "Rides <rides@example.org>")
        monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", "https://bridge.example.org")
        yield server


def deliver(engine: Engine, activity: int, aspect: str = "create", source: EventSource = EventSource.WEBHOOK) -> None:
    event = NewEvent(
        event_key=f"{activity}-{aspect}-{source}",
        subscription_id=5,
        object_type="activity",
        object_id=activity,
        aspect_type=aspect,
        owner_id=RIDER,
        event_time=datetime.now(UTC),
        updates={},
        signed=True,
        source=source,
    )
    assert store_event(engine, event) is Stored.NEW


def run(location: CodeLocation, engine: Engine) -> dg.ExecuteInProcessResult:
    """A run for everything that is due."""
    fences = [claim.fence for claim in claim_objects(engine, 10)]
    return webhook_sync.execute_in_process(
        run_config={"ops": {op("claimed_objects"): {"config": {"fences": fences}}}},
        instance=location.instance,
        resources=location.resources(),
        raise_on_error=False,
    )


def send(location: CodeLocation) -> dg.ExecuteInProcessResult:
    return send_notifications.execute_in_process(instance=location.instance, resources=location.resources())


def ride(location: CodeLocation, number: int, *, hours_ago: float = 2, **more: Any) -> None:
    location.strava.streams[number] = hilly_streams()
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=hours_ago)
    measured = {"distance": 24_000, "moving_time": 3_000, "elapsed_time": 3_600, "device_watts": True}
    location.strava.add(number, start, **measured | more)


def mails(engine: Engine) -> list[Row[Any]]:
    with engine.connect() as connection:
        return list(connection.execute(select(notifications).order_by(notifications.c.id)).all())


def test_a_webhook_for_a_new_ride_ends_in_one_mail_with_pictures_and_in_all_tables(
    location: CodeLocation, engine: Engine, smtp: MailServerStandIn
) -> None:
    ride(location, 1, name="Over the pass")
    deliver(engine, 1)
    assert run(location, engine).success
    (mail,) = smtp.mails
    assert (mail["To"], mail["Subject"]) == (ADDRESS, "Over the pass: 24.0 km, 50:00")
    assert [part.get_content_type() for part in mail.walk()].count("image/png") >= 3
    with engine.connect() as connection:
        rows = {
            name: connection.execute(text(f"SELECT count(*) FROM strava.{name}")).scalar_one()  # noqa: S608  names above
            for name in TABLES
        }
        assert [name for name, count in rows.items() if not count] == []
        assert connection.execute(select(webhook_events.c.state)).scalar_one() == "done"
    assert [(row.state, row.attempts, row.reason) for row in mails(engine)] == [("sent", 1, None)]
    # Told once more, changed, sent by hand: still one mail.
    deliver(engine, 1, "update")
    assert run(location, engine).success
    assert send(location).success
    assert len(smtp.mails) == 1


def test_a_create_that_comes_with_its_update_is_one_mail(
    location: CodeLocation, engine: Engine, smtp: MailServerStandIn
) -> None:
    ride(location, 1)
    deliver(engine, 1)
    deliver(engine, 1, "update")
    assert run(location, engine).success
    assert len(smtp.mails) == 1


def test_an_edited_ride_gives_no_mail(location: CodeLocation, engine: Engine, smtp: MailServerStandIn) -> None:
    ride(location, 1)
    deliver(engine, 1, "update")
    assert run(location, engine).success
    assert (mails(engine), smtp.mails) == ([], [])


def test_a_ride_that_upkeep_finds_gives_one_mail(
    location: CodeLocation, engine: Engine, smtp: MailServerStandIn
) -> None:
    ride(location, 1)
    deliver(engine, 1, "create", EventSource.RECONCILE)
    assert run(location, engine).success
    assert len(smtp.mails) == 1
    # The delivery that comes after all is no second news.
    deliver(engine, 1)
    assert run(location, engine).success
    assert len(smtp.mails) == 1


def test_a_ride_of_last_week_gives_no_mail(location: CodeLocation, engine: Engine, smtp: MailServerStandIn) -> None:
    ride(location, 1, hours_ago=7 * 24)
    deliver(engine, 1)
    assert run(location, engine).success
    assert [(row.state, row.reason) for row in mails(engine)] == [("skipped", "the activity ended more than 24 h ago")]
    assert smtp.mails == []


def test_a_mail_server_that_is_away_costs_the_event_nothing(
    location: CodeLocation, persistent: dg.DagsterInstance, engine: Engine, smtp: MailServerStandIn
) -> None:
    smtp.rcpt.append("451 come back later")
    ride(location, 1)
    deliver(engine, 1)
    assert run(location, engine).success
    with engine.connect() as connection:
        stored = connection.execute(select(webhook_events)).one()
    assert (stored.state, stored.attempts) == ("done", 0)
    assert [row.state for row in mails(engine)] == ["pending"]
    assert requested(persistent) == 0
    with engine.begin() as connection:
        connection.execute(update(notifications).values(next_try_at=datetime.now(UTC)))
    assert requested(persistent) == 1
    held = persistent.create_run_for_job(loaded(send_notifications), tags=dict(send_notifications.run_tags))
    assert requested(persistent) == 0, "a run for mails is to come"
    persistent.delete_run(held.run_id)
    assert send(location).success
    assert [(row.state, row.attempts) for row in mails(engine)] == [("sent", 2)]
    assert len(smtp.mails) == 1
    assert requested(persistent) == 0


def requested(instance: dg.DagsterInstance) -> int:
    """How many runs the schedule asks for now."""
    with dg.build_schedule_context(instance=instance) as context:
        return len(notifications_every_five_minutes.evaluate_tick(context).run_requests or [])


def test_an_address_is_asked_by_the_schedule_and_gets_rides_once_it_is_confirmed(
    location: CodeLocation, persistent: dg.DagsterInstance, engine: Engine, smtp: MailServerStandIn
) -> None:
    with engine.begin() as connection:
        give_address(connection, RIDER, "new@example.org")
    assert requested(persistent) == 1
    assert send(location).success
    assert smtp.recipients == ["new@example.org"]
    ride(location, 1)
    deliver(engine, 1)
    assert run(location, engine).success
    assert [(row.kind, row.state, row.reason) for row in mails(engine)] == [
        ("confirmation", "sent", None),
        ("ride_summary", "skipped", "the address is not confirmed"),
    ]
    with engine.begin() as connection:
        consent = consent_of(connection, RIDER)
        assert consent is not None
        confirm_address(connection, consent)
    ride(location, 2)
    deliver(engine, 2)
    assert run(location, engine).success
    assert smtp.recipients == ["new@example.org"] * 2
    assert requested(persistent) == 0


def test_a_dead_letter_beside_it_delays_a_mail_and_loses_none(
    location: CodeLocation, engine: Engine, smtp: MailServerStandIn
) -> None:
    ride(location, 1)
    ride(location, 2, athlete={"id": 999})
    deliver(engine, 1)
    deliver(engine, 2)
    assert not run(location, engine).success
    assert send(location).success
    assert [row.state for row in mails(engine)] == ["sent"]
    assert len(smtp.mails) == 1
