"""A month that fails in a backfill of Dagster's UI does not take the others along: they are complete soon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
import requests

from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline.names import HISTORY_ASSETS, Asset
from strava_pipeline.settings import load_settings
from strava_pipeline_tests.e2e.conftest import Installation, Mock, everything_up
from strava_pipeline_tests.e2e.test_backfill_interrupted import found
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.ui_backfill import launch_backfill

ATHLETE = CYCLIST.athlete_id
# More than half of all activities, which Strava then lists no more.
LOST = 59
# A month that fails may delay the others by no more.
SOON_SECONDS = 900


@pytest.fixture
def months() -> list[date]:
    """The month before this one, and this month."""
    this = datetime.now(UTC).date().replace(day=1)
    return [(this - timedelta(days=1)).replace(day=1), this]


@pytest.fixture
def mock(installation: Installation, start_mock: Callable[..., Mock], months: list[date]) -> Iterator[Mock]:
    """A mock whose rides are listed; of the earlier month it has lost most since."""
    mock = start_mock("--months", "2")
    installation.output("connect", "--code", mock.new_code(ATHLETE))
    rides = [add_ride(mock, months[0], number) for number in range(LOST)]
    this = datetime.now(UTC)
    add_ride(mock, this.date().replace(day=1), 0)
    span = ("--from", f"{months[0]:%Y-%m}", "--to", f"{months[1]:%Y-%m}", "--assets", Asset.ACTIVITIES)
    installation.output("backfill", "--athlete", str(ATHLETE), *span)
    for ride in rides:
        requests.delete(f"{mock.url}/mock/activities/{ride}?silent=true", timeout=PATIENCE_SECONDS).raise_for_status()
    with everything_up(installation):
        yield mock


def add_ride(mock: Mock, day: date, number: int) -> int:
    """A ride in the first hours of a day, of which Strava tells nobody; its id."""
    start = f"{day}T00:{number:02d}:00Z"
    fields = {"athlete_id": ATHLETE, "sport_type": "Ride", "silent": True, "start_date": start}
    answer = requests.post(f"{mock.url}/mock/activities", json=fields, timeout=PATIENCE_SECONDS)
    answer.raise_for_status()
    return int(answer.json()["id"])


def test_the_other_months_are_complete_within_minutes(
    installation: Installation, mock: Mock, months: list[date], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mock.url
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    database = installation.environment["STRAVA_DATABASE_URL"]
    partitions = [f"{ATHLETE}|{month}" for month in months]
    launch_backfill(load_settings(), HISTORY_ASSETS, partitions)
    failed = "SELECT month, step FROM ops.failed_months"
    eventually(lambda: found(database, failed) == [(months[0], "summary")], "a month that fails")
    missing = (  # of this month: details, samples; and figures, which only recordings have
        "SELECT count(*) FILTER (WHERE d.activity_id IS NULL), count(*) FILTER (WHERE s.activity_id IS NULL),"
        " count(*) FILTER (WHERE s.point_count > 0 AND r.activity_id IS NULL), count(r.activity_id) > 0"
        " FROM strava.activities a LEFT JOIN ops.payloads d ON d.activity_id = a.id AND d.kind = 'detail'"
        " LEFT JOIN strava.activity_streams s ON s.activity_id = a.id"
        " LEFT JOIN strava.route_analyses r ON r.activity_id = a.id"
        " WHERE a.start_date >= date_trunc('month', now() AT TIME ZONE 'UTC')"
    )
    eventually(lambda: found(database, missing) == [(0, 0, 0, True)], "all of this month", SOON_SECONDS)
    runs = "SELECT pipeline_name FROM runs WHERE status = 'FAILURE'"
    assert ("__ASSET_JOB",) in found(installation.environment["DAGSTER_POSTGRES_URL"], runs)
    assert found(database, failed) == [(months[0], "summary")]
