"""Asset checks: green for a complete copy, red or yellow with the reason for one that is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, update

from strava_pipeline.defs.checks import (
    CHECKS_OF,
    Check,
    athletes_are_heard_of,
    details_complete,
    nothing_put_aside,
    nothing_twice,
    streams_complete,
    values_in_range,
)
from strava_pipeline.errors import RejectedRequest
from strava_pipeline.months import Span
from strava_pipeline.names import Asset
from strava_pipeline.settings import Settings
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.activities.activity_store import count_absent
from strava_pipeline.warehouse.activities.month_checks import check_changed_months
from strava_pipeline.warehouse.activities.tombstones import add_tombstones
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.quota_tables import outages
from strava_pipeline.watch.alert_checks import CHECK_NAMES
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import CHECKS, activities, activity_details, activity_streams, key_of
from strava_pipeline_tests.inbox import connect_riders, store
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.watch.test_evaluation import away
from strava_pipeline_tests.watch.watched import Watched

JUNE = f"{RIDER}|2025-06-01"
JUNE_SPAN = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))


Checking = Callable[[Check], tuple[bool, str]]


@pytest.fixture
def check(engine: Engine) -> Checking:
    """Tells whether a check passes, and what it found."""

    def result_of(check: Check) -> tuple[bool, str]:
        check_changed_months(engine)
        with engine.connect() as connection:
            result: Any = check(connection)
        found = result.metadata.get("found")
        return result.passed, found.value if found else ""

    return result_of


@pytest.fixture
def month(location: CodeLocation, engine: Engine) -> CodeLocation:
    """Three rides of June, with details and streams."""
    for number in (1, 2, 3):
        location.strava.add(number, datetime(2025, 6, number, tzinfo=UTC))
    sync = location.strava.sync(engine)
    list(import_summaries(sync, [JUNE_SPAN]))
    import_details(sync, JUNE_SPAN)
    import_streams(sync, JUNE_SPAN)
    return location


@pytest.mark.usefixtures("month")
def test_a_complete_copy_passes(engine: Engine, check: Checking) -> None:
    for checks in CHECKS_OF.values():
        for each in checks:
            if each is not athletes_are_heard_of:
                assert check(each) == (True, "")


@pytest.mark.usefixtures("month")
@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"distance": -1}, "a distance below zero"),
        ({"max_heartrate": 251}, "a heart rate over 250 bpm"),
        ({"start_date": datetime.now(UTC) + timedelta(days=3)}, "a start in the future"),
        ({"moving_time": -5}, "a time below zero"),
    ],
)
def test_a_value_that_cannot_be_is_found(engine: Engine, values: dict[str, Any], what: str, check: Checking) -> None:
    with engine.begin() as connection:
        connection.execute(update(tables.activities).where(tables.activities.c.id == 2).values(**values))
    assert check(values_in_range) == (False, f"- activity 2 of athlete {RIDER}: {what}")


def test_a_ride_that_is_there_under_two_ids_is_found(month: CodeLocation, engine: Engine, check: Checking) -> None:
    month.strava.add(9, datetime(2025, 6, 2, tzinfo=UTC))
    list(import_summaries(month.strava.sync(engine), [JUNE_SPAN]))
    assert check(nothing_twice) == (False, f"- activity 9 of athlete {RIDER}: as activity 2")


def test_what_is_put_aside_is_red_until_it_is_stored(month: CodeLocation, engine: Engine, check: Checking) -> None:
    month.strava.edit(2, name="Renamed")
    month.strava.faults["/activities/2"] = [RejectedRequest("activity 2: odd")]
    sync = month.strava.sync(engine)
    list(import_summaries(sync, [JUNE_SPAN]))
    assert check(details_complete) == (False, f"- athlete {RIDER}: 1 still missing, 0 put aside")
    import_details(sync, JUNE_SPAN)
    assert check(nothing_put_aside) == (False, f"- athlete {RIDER}: 1 activities put aside")
    assert check(details_complete) == (True, f"- athlete {RIDER}: 0 still missing, 1 put aside")
    import_details(sync, JUNE_SPAN)
    assert check(nothing_put_aside) == (True, "")


def test_missing_streams_are_found(month: CodeLocation, engine: Engine, check: Checking) -> None:
    with engine.begin() as connection:
        connection.execute(tables.activity_streams.delete().where(tables.activity_streams.c.activity_id == 1))
    assert check(streams_complete) == (False, f"- athlete {RIDER}: 1 still missing, 0 put aside")


def test_an_odd_summary_is_on_the_list_until_it_is_gone_or_well(
    month: CodeLocation, engine: Engine, check: Checking
) -> None:
    month.strava.edit(2, moving_time="long")
    sync = month.strava.sync(engine)
    list(import_summaries(sync, [JUNE_SPAN]))
    assert not check(nothing_put_aside)[0]
    month.strava.edit(2, moving_time=200)
    list(import_summaries(sync, [JUNE_SPAN]))
    assert check(nothing_put_aside) == (True, "")


@pytest.mark.usefixtures("location")
def test_an_athlete_of_whom_nothing_is_heard_is_named(engine: Engine, check: Checking) -> None:
    connect_riders(engine, RIDER)
    assert check(athletes_are_heard_of) == (False, f"- athlete {RIDER} (overdue): no event so far")
    store(engine, 1)
    heard, told = check(athletes_are_heard_of)
    assert heard
    assert told.startswith(f"- athlete {RIDER}: last event 0 days ago, ")


@pytest.mark.usefixtures("location")
def test_of_several_athletes_those_who_are_overdue_are_named_with_their_silence(engine: Engine) -> None:
    connect_riders(engine, RIDER, 2002, 2003)
    store(engine, 1)
    store(engine, 2, owner_id=2002)
    long_ago = datetime.now(UTC) - timedelta(days=30, hours=1)
    with engine.begin() as connection:
        ours = webhook_events.c.owner_id == 2002
        connection.execute(update(webhook_events).where(ours).values(received_at=long_ago))
    with engine.connect() as connection:
        result: Any = athletes_are_heard_of(connection)
    assert not result.passed
    assert result.description == "not heard of for three weeks: 2002, 2003"
    lines = result.metadata["found"].value.splitlines()
    assert lines[0] == "- athlete 2003 (overdue): no event so far"
    assert lines[1] == f"- athlete 2002 (overdue): last event 30 days ago, {long_ago:%Y-%m-%d %H:%M} UTC"
    assert lines[2].startswith(f"- athlete {RIDER}: last event 0 days ago, ")


def test_checks_run_with_the_assets_they_are_about(month: CodeLocation) -> None:
    theirs = [each for each in CHECKS if each.check_key.asset_key != key_of(Asset.ATHLETES)]
    result = month.materialize(activities, activity_details, activity_streams, *theirs, partition_key=JUNE)
    assert result.success
    names = {evaluation.check_name for evaluation in result.get_asset_check_evaluations()}
    assert names == {"as_listed", *(definition.check_key.name for definition in theirs)}


def test_alerts_show_on_the_assets_that_they_concern(engine: Engine, settings: Settings) -> None:
    watched = Watched(engine, settings)
    watched.insert(outages, away("api"))
    watched.look()
    told = {}
    with engine.connect() as connection:
        for asset in (Asset.ACTIVITIES, Asset.ATHLETES):
            for each in CHECKS_OF[asset]:
                if each.__name__ in CHECK_NAMES.values():
                    result = each(connection)
                    found = {name: value.value for name, value in result.metadata.items()}
                    told[asset, each.__name__] = (result.passed, result.severity, found)
    error, warning = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    assert told == {
        (Asset.ACTIVITIES, "no_critical_alert"): (False, error, {"alerts": "strava_away: Strava does not answer"}),
        (Asset.ACTIVITIES, "no_warning"): (True, warning, {}),
        (Asset.ATHLETES, "no_critical_alert"): (True, error, {}),
        (Asset.ATHLETES, "no_warning"): (True, warning, {}),
    }


def test_listed_activities_are_counted_against_the_stored_ones(month: CodeLocation) -> None:
    (told,) = month.materialize(activities, partition_key=JUNE).get_asset_check_evaluations()
    assert told.passed
    assert {name: found.value for name, found in told.metadata.items()} == {"listed": 3, "absent": 0}


def test_a_listed_activity_that_is_not_stored_is_counted_unless_it_has_gone_since(engine: Engine) -> None:
    moment = datetime.now(UTC)
    with engine.begin() as connection:
        add_tombstones(connection, RIDER, [2], moment, "deleted after it was listed")
        assert count_absent(connection, [1, 2], moment - timedelta(minutes=1)) == 1
