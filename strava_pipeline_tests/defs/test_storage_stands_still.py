"""Thirty days of webhooks, upkeep, backfills and failures: what Dagster and the pipeline store of them stands still."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg
import pytest
import time_machine
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL, Engine, make_url, text

from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.names import HISTORY_ASSETS, partition_key, range_tags
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse import record_lives
from strava_pipeline.warehouse.record_lives import Life
from strava_pipeline.warehouse.schema.history_tables import job_progress
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import (
    NAMES,
    activities,
    activity_details,
    activity_streams,
    grid_partitions,
    key_of,
    retention,
    route_analyses,
    run_checks,
    run_retention,
    upkeep,
)
from strava_pipeline_tests.defs.webhook_runs import work_off
from strava_pipeline_tests.inbox import connect_riders, store
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn

# After a day of import. On the thirtieth, upkeep compares the whole history.
DAYS = 29
# What happens repeats after so many days.
PERIOD = 4
# Far more than the labels and steps of what happens here.
MOST_TOTALS = 100
# Days that runs, events and records are kept here; failed runs twice as long. The jobs of the night come every two
# days: none of their runs becomes old just as they look.
KEPT = 3
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
MONTHS = [date(2025, month, 1) for month in (8, 9, 10, 11)]
GRID = (activities, activity_details, activity_streams, route_analyses)


@dataclass
class Installation:
    """A code location, its databases, and what each month's last materialization told."""

    location: CodeLocation
    engine: Engine
    owner_engine: Engine
    dagster_database: URL
    last: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        """Let Python and the database tell this time, which goes on from there."""
        ahead = (moment - datetime.now(UTC)).total_seconds()
        clock = (
            "CREATE OR REPLACE FUNCTION ops.clock() RETURNS timestamp with time zone LANGUAGE sql VOLATILE"
            f" AS 'SELECT pg_catalog.clock_timestamp() + {ahead:.6f} * interval ''1 second'''"
        )
        with self.owner_engine.begin() as connection:
            connection.execute(text(clock))
        with time_machine.travel(moment):
            yield

    def note(self, result: dg.ExecuteInProcessResult) -> None:
        """Note what a run's materializations told."""
        for event in result.all_events:
            if event.is_step_materialization:
                told = event.step_materialization_data.materialization
                asset = NAMES.asset_of(told.asset_key.to_user_string())
                if told.partition is not None and asset in HISTORY_ASSETS:
                    self.last[asset, told.partition] = {name: value.value for name, value in told.metadata.items()}

    def run(self, job: dg.JobDefinition) -> None:
        done = job.execute_in_process(instance=self.location.instance, resources=self.location.resources())
        assert done.success

    def backfill(self, first: date, last: date, *, succeeds: bool = True) -> None:
        if not succeeds:
            self.location.strava.faults["/athlete/activities"] = [ZeroDivisionError("a fault")]
        made = dg.Definitions(assets=GRID, resources=self.location.resources())
        # A run is known to be ours by its selection of assets, as Dagster and the command write it.
        done = made.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.location.instance,
            asset_selection=[asset.key for asset in GRID],
            tags=NAMES.backfill_tags(RIDER) | range_tags(RIDER, first, last),
            raise_on_error=False,
        )
        assert done.success == succeeds
        self.note(done)

    def webhook(self, number: int, aspect: str, day: int) -> None:
        self.location.strava.add(number, _start(number, day), name=f"Ride {number} of day {day}")
        store(self.engine, number, aspect_type=aspect, event_time=datetime.now(UTC))
        done = work_off(self.location, self.engine)
        assert done.success
        self.note(done)

    def counts(self) -> dict[str, int]:
        """The rows of each table of Dagster's database and of schema ops."""
        return _counts(self.dagster_database, "public") | _counts(self.engine.url, "ops")


def _start(number: int, day: int) -> datetime:
    """Rides 1 to 4 are of the months that were imported, the others of January."""
    if number <= len(MONTHS):
        month = MONTHS[number - 1]
        return datetime(month.year, month.month, 10, 8, tzinfo=UTC)
    return START + timedelta(days=day, hours=-2)


def _connect(database: URL) -> psycopg.Connection[Any]:
    return psycopg.connect(database.set(drivername="postgresql").render_as_string(hide_password=False))


def _counts(database: URL, schema: str) -> dict[str, int]:
    with _connect(database) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
        found = {}
        for (name,) in names:
            query = SQL("SELECT count(*) FROM {}").format(Identifier(schema, name))
            (found[f"{schema}.{name}"],) = connection.execute(query).fetchone() or (0,)
    return found


@pytest.fixture
def installation(
    instance: dg.DagsterInstance,
    settings: Settings,
    engine: Engine,
    owner_engine: Engine,
    dagster_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Installation:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "100")
    monkeypatch.setenv("STRAVA_RUN_RETENTION_DAYS", str(KEPT))
    monkeypatch.setenv("STRAVA_FAILED_RUN_RETENTION_DAYS", str(2 * KEPT))
    monkeypatch.setenv("STRAVA_INBOX_RETENTION_DAYS", str(KEPT))
    monkeypatch.setenv("STRAVA_AUDIT_RETENTION_DAYS", str(KEPT))
    kept = record_lives._after(job_progress.c.updated_at, timedelta(days=KEPT))
    monkeypatch.setitem(record_lives.LIVES, job_progress, Life("shorter here", kept))
    connect_riders(engine, RIDER)
    register_athlete(instance, NAMES, RIDER)
    return Installation(CodeLocation(instance, StravaStandIn()), engine, owner_engine, make_url(dagster_database))


def live_a_day(installation: Installation, day: int) -> None:
    """Each day a webhook and one thing more, every other day the jobs of the night."""
    turn = day % PERIOD
    with installation.at(START + timedelta(days=day)):
        # A ride of each month is edited once in a period, and a new one comes.
        installation.webhook(turn + 1, "update", day)
        if turn == 0:
            installation.webhook(5, "update" if day else "create", day)
        if turn == 1:
            installation.run(upkeep)
            installation.run(run_checks)
        if turn == 2:
            installation.backfill(MONTHS[0], MONTHS[1])
        if turn == 3:
            installation.backfill(MONTHS[2], MONTHS[3], succeeds=False)
    if turn % 2:
        with installation.at(START + timedelta(days=day, hours=15)):
            installation.run(retention)
            installation.run(run_retention)


# It starts none, but takes as long as tests that do: so it is one of `make integration`.
@pytest.mark.processes
@pytest.mark.long
def test_after_thirty_days_everything_stands_still_and_every_month_is_green(installation: Installation) -> None:
    with installation.at(START - timedelta(days=1)):
        for number in range(1, len(MONTHS) + 1):
            installation.location.strava.add(number, _start(number, 0))
        installation.backfill(MONTHS[0], MONTHS[-1])
    counts = {}
    for day in range(DAYS):
        live_a_day(installation, day)
        counts[day] = installation.counts()
    # Totals have one row for each kind of answer and each step of a duration: the first slow call adds one.
    totals = [each.pop("ops.metric_totals") for each in counts.values()]
    assert 0 < totals[-1] < MOST_TOTALS
    # What happened in a period more leaves as many rows in each other table.
    for day in range(4 * PERIOD, DAYS - PERIOD):
        assert counts[day] == counts[day + PERIOD]
    assert counts[DAYS - 1]["public.runs"] < DAYS * 2
    assert_green(installation)


def assert_green(installation: Installation) -> None:
    """Every month is shown as materialized, by its events alone, with what its last run told."""
    instance = installation.location.instance
    keys = {partition_key(RIDER, month) for month in MONTHS}
    with _connect(installation.dagster_database) as connection:
        connection.execute("UPDATE asset_keys SET cached_status_data = NULL")
    for name in HISTORY_ASSETS:
        asset = key_of(name)
        with installation.at(START + timedelta(days=DAYS)):
            status = get_and_update_asset_status_cache_value(instance, asset, grid_partitions)
        assert status is not None
        assert set(status.deserialize_materialized_partition_subsets(grid_partitions).get_partition_keys()) == keys
        for key in keys:
            of = dg.AssetRecordsFilter(asset, asset_partitions=[key])
            newest = instance.fetch_materializations(of, limit=1).records[0]
            assert newest.asset_materialization is not None
            told = {name: value.value for name, value in newest.asset_materialization.metadata.items()}
            assert told == installation.last[name, key]
            assert instance.get_run_by_id(newest.run_id) is not None
