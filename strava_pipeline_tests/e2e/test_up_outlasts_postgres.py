"""Postgres is stopped below everything that `up` runs, in the midst of a backfill and an import: both end well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from sqlalchemy import make_url

from strava_pipeline.local.logins import Login
from strava_pipeline.mock_strava.athletes import CYCLIST, RUNNER
from strava_pipeline.settings import load_settings
from strava_pipeline_tests.conftest import EMPTY, new_database, opened
from strava_pipeline_tests.e2e.conftest import Installation, Mock, everything_up
from strava_pipeline_tests.e2e.test_backfill_interrupted import counts, found
from strava_pipeline_tests.e2e.test_outage import ASSETS, SLOW, answered, months, set_faults
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.moody_server import MoodyDatabase
from strava_pipeline_tests.ui_backfill import launch_backfill
from strava_pipeline_tests.wishes import is_whole, wish_for

IMPORT_SECONDS = 900


@pytest.fixture
def up(
    embedded: Installation,
    moody: MoodyDatabase,
    start_mock: Callable[..., Mock],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Installation, Mock]]:
    """Everything is up, on a server of this test's own, with two connected athletes."""
    with new_database(moody.on.server, EMPTY, Login.DAGSTER) as dagsters:
        embedded.environment |= {
            "STRAVA_DATABASE_URL": moody.address,
            "DAGSTER_POSTGRES_URL": moody.on.server.url(dagsters, Login.DAGSTER),
        }
        mock = start_mock("--months", "2")
        for athlete in (CYCLIST, RUNNER):
            embedded.output("connect", "--code", mock.new_code(athlete.athlete_id))
        for name, value in embedded.environment.items():
            monkeypatch.setenv(name, value)
        with everything_up(embedded):
            yield embedded, mock
            moody.on.cheer_up()


def are_answered(mock: Mock, athlete_id: int) -> bool:
    """Whether some requests for an athlete's activities were answered."""
    return len(answered(mock, athlete_id)) >= 3


def test_a_backfill_of_the_ui_and_an_import_outlast_a_stopped_postgres(
    up: tuple[Installation, Mock], moody: MoodyDatabase
) -> None:
    installation, mock = up
    set_faults(mock, SLOW)
    launch_backfill(load_settings(), ASSETS, [f"{RUNNER.athlete_id}|{month}" for month in months()])
    with opened(make_url(moody.address)) as engine:
        asked = wish_for(engine, athlete_id=CYCLIST.athlete_id)
        for athlete in (CYCLIST, RUNNER):
            few = partial(are_answered, mock, athlete.athlete_id)
            eventually(few, "requests of the backfill and of the import")
        daemon = installation.home / "logs" / "dagster-daemon.log"
        moody.on.stop()
        # Dagster's daemon has tried as often as it does.
        eventually(lambda: "too many retries for DB connection" in daemon.read_text(), "a daemon without its database")
        moody.on.start()
        storage = installation.environment["DAGSTER_POSTGRES_URL"]
        eventually(lambda: found(storage, "SELECT status FROM bulk_actions") == [("COMPLETED_SUCCESS",)], "its end")
        eventually(lambda: is_whole(engine, asked), "an import in which nothing lacks", IMPORT_SECONDS)
    listed, detailed, streamed = counts(installation)
    assert listed == detailed == streamed > 20
    for athlete in (CYCLIST, RUNNER):
        assert set(answered(mock, athlete.athlete_id).values()) == {1}
