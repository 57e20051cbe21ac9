"""What a webhook sets off, from the claim to the figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, Row, insert, select, update

from strava_pipeline.errors import AppInactive, NeedsReauthorization, QuotaExhausted, RetriableStravaError
from strava_pipeline.jobs.webhook_sync import WRITTEN_ASSETS, webhook_sync
from strava_pipeline.strava.quota import Lane
from strava_pipeline.warehouse import analysis_tables, tables
from strava_pipeline.warehouse.ops_tables import users, webhook_events
from strava_pipeline.warehouse.webhook_events import ClaimedEvent, NewEvent, Stored, claim_events, store_event
from strava_pipeline_tests.dagster.conftest import CodeLocation
from strava_pipeline_tests.strava_stand_in import RIDER

AT = datetime(2025, 6, 10, tzinfo=UTC)
JUNE = f"{RIDER}|2025-06-01"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1))


def claim(engine: Engine, activity: int, aspect: str = "create", kind: str = "activity") -> ClaimedEvent:
    """An event that came in and was claimed."""
    event = NewEvent(
        event_key=f"{kind}-{activity}-{aspect}",
        subscription_id=5,
        object_type=kind,
        object_id=activity,
        aspect_type=aspect,
        owner_id=RIDER,
        event_time=AT,
        updates={},
        signed=True,
    )
    assert store_event(engine, event) is Stored.NEW
    (claimed,) = claim_events(engine, 1)
    return claimed


def run(location: CodeLocation, *events: ClaimedEvent) -> dg.ExecuteInProcessResult:
    claims = [{"event_id": event.claim.event_id, "fence": event.claim.fence} for event in events]
    return webhook_sync.execute_in_process(
        run_config={"ops": {"claimed_events": {"config": {"claims": claims}}}},
        instance=location.instance,
        resources=location.resources(),
        raise_on_error=False,
    )


def row(engine: Engine, event: ClaimedEvent) -> Row[Any]:
    with engine.connect() as connection:
        return connection.execute(select(webhook_events).where(webhook_events.c.id == event.claim.event_id)).one()


def names(engine: Engine) -> dict[int, str]:
    with engine.connect() as connection:
        return {row.id: row.name for row in connection.execute(select(tables.activities))}


def test_a_new_activity_is_fetched_stored_analysed_and_shown(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT)
    event = claim(engine, 1)
    result = run(location, event)
    assert result.success
    assert row(engine, event).state == "done"
    assert location.strava.asked == ["/activities/1", "/activities/1/streams"]
    assert location.lanes == [Lane.LIVE]
    assert {name: location.materialized(name) for name in WRITTEN_ASSETS} == {name: {JUNE} for name in WRITTEN_ASSETS}
    with engine.connect() as connection:
        assert connection.execute(select(analysis_tables.route_analyses.c.distance_m)).scalar_one() == 15.0


def test_an_update_replaces_what_is_stored(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT)
    assert run(location, claim(engine, 1)).success
    location.strava.edit(1, name="Renamed")
    assert run(location, claim(engine, 1, "update")).success
    assert names(engine) == {1: "Renamed"}


def test_a_deletion_is_confirmed_before_anything_is_erased(location: CodeLocation, engine: Engine) -> None:
    for number in (1, 2):
        location.strava.add(number, AT)
        assert run(location, claim(engine, number)).success
    location.strava.delete(1)
    forged, real = claim(engine, 2, "delete"), claim(engine, 1, "delete")
    assert run(location, forged, real).success
    assert names(engine) == {2: "Ride 2"}
    assert {row(engine, event).state for event in (forged, real)} == {"done"}


def test_a_deletion_of_what_was_never_stored_is_done(location: CodeLocation, engine: Engine) -> None:
    event = claim(engine, 1, "delete")
    assert run(location, event).success
    assert row(engine, event).state == "done"
    assert location.materialized("activities") == set()


def test_an_activity_that_strava_does_not_have_becomes_a_dead_letter(location: CodeLocation, engine: Engine) -> None:
    event = claim(engine, 99)
    result = run(location, event)
    assert not result.success
    stored = row(engine, event)
    assert (stored.state, stored.error_class, stored.attempts) == ("dead", "transient", 1)
    assert "/activities/99" in stored.error


def test_one_events_dead_letter_does_not_stop_the_others(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT)
    location.strava.add(3, AT)
    events = [claim(engine, number) for number in (1, 99, 3)]
    assert not run(location, *events).success
    assert [row(engine, event).state for event in events] == ["done", "dead", "done"]
    assert names(engine) == {1: "Ride 1", 3: "Ride 3"}


def test_an_athlete_without_a_grant_becomes_a_permanent_dead_letter(location: CodeLocation, engine: Engine) -> None:
    location.strava.faults["/activities/1"] = [NeedsReauthorization("connect again")]
    event = claim(engine, 1)
    assert not run(location, event).success
    assert (row(engine, event).state, row(engine, event).error_class) == ("dead", "permanent")


def test_a_used_up_quota_makes_the_event_wait(location: CodeLocation, engine: Engine) -> None:
    retry_at = datetime.now(UTC) + timedelta(hours=3)
    location.strava.faults["/activities/1"] = [QuotaExhausted("used up", retry_at=retry_at)]
    event = claim(engine, 1)
    run(location, event)
    stored = row(engine, event)
    assert (stored.state, stored.not_before, stored.attempts) == ("waiting", retry_at, 0)


def test_an_app_that_is_switched_off_makes_the_event_wait(location: CodeLocation, engine: Engine) -> None:
    location.strava.faults["/activities/1"] = [AppInactive("its owner needs a subscription")]
    event = claim(engine, 1)
    run(location, event)
    stored = row(engine, event)
    assert (stored.state, stored.attempts) == ("waiting", 0)
    assert stored.not_before > datetime.now(UTC) + timedelta(minutes=50)


def test_a_fault_that_passes_is_retried_under_the_same_claim(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT)
    location.strava.faults["/activities/1"] = [RetriableStravaError("no connection")]
    event = claim(engine, 1)
    assert run(location, event).success
    assert (row(engine, event).state, row(engine, event).fence) == ("done", 1)


def test_a_claim_that_no_longer_holds_does_nothing(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT)
    old = claim(engine, 1)
    with engine.begin() as connection:
        connection.execute(update(webhook_events).values(lease_until=LONG_AGO))
    (new,) = claim_events(engine, 1)
    assert run(location, old).success
    assert location.strava.asked == []
    assert row(engine, old).state == "launched"
    assert run(location, new).success
    assert row(engine, new).state == "done"
    # The same run once more, as a launch whose answer was lost would have it.
    location.strava.new_requests()
    assert run(location, new).success
    assert location.strava.new_requests() == []


def test_an_event_about_the_athlete_needs_no_request(location: CodeLocation, engine: Engine) -> None:
    event = claim(engine, RIDER, "update", kind="athlete")
    assert run(location, event).success
    assert row(engine, event).state == "done"
    assert location.strava.asked == []
