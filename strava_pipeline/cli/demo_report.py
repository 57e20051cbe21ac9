"""What the demo prints at its end: rows, the new ride, runs, requests, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import click
import requests
from rich.table import Table
from sqlalchemy import Column, Engine, func, select, text

from strava_pipeline.cli.console import add_row, new_table, print_table
from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.ops_tables import api_calls
from strava_pipeline.warehouse.schema.tables import SCHEMA, activities, metadata

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from strava_pipeline.cli.demo import NewRide

TIMEOUT_SECONDS = 30
MOST_RUNS = 100
FAILED = {"FAILURE", "CANCELED"}
# Ids are told above; the long ones would fill the terminal.
NOT_SHOWN = {"activity_id", "athlete_id", "faults", "grades_m", "route_polyline"}


class DemoShowsFault(StravaPipelineError):
    """The demo ran to its end, and what it shows is not right."""


def print_report(engine: Engine, instance: DagsterInstance, mock_url: str, ride: NewRide) -> None:
    """Print everything; ``DemoShowsFault`` if a run failed or Strava had to refuse a request."""
    print_table(_rows_per_table(engine))
    print_table(_ride(engine, ride.activity_id))
    runs = _runs(instance)
    print_table(_runs_table(runs))
    sent, refused = _requests(engine)
    seen = requests.get(f"{mock_url}/mock/calls", timeout=TIMEOUT_SECONDS).json()["totals"]
    counted = sum(calls for endpoint, calls in seen["endpoints"].items() if "/api/" in endpoint)
    click.echo(f"requests to Strava     {sent} (the mock counted {counted})")
    click.echo(f"429s                   {refused} (the mock sent {seen['too_many_requests']})")
    click.echo(f"webhook to analysed    {ride.seconds:.1f} s")
    # One that a schedule has started meanwhile is no failure.
    failed = [run for run in runs if run[1] in FAILED]
    if failed or refused or seen["too_many_requests"]:
        raise DemoShowsFault(f"{len(failed)} runs failed, {refused} requests were refused")


def _rows_per_table(engine: Engine) -> Table:
    table = new_table(("table", "rows"), (1,), title="Rows")
    with engine.connect() as connection:
        for stored in metadata.sorted_tables:
            if stored.schema == SCHEMA:
                count = connection.execute(select(func.count()).select_from(stored)).scalar_one()
                add_row(table, f"{SCHEMA}.{stored.name}", f"{count:,}")
        points = connection.execute(text("SELECT count(*) FROM strava.activity_points")).scalar_one()
    add_row(table, "strava.activity_points (view)", f"{points:,}")
    return table


def _ride(engine: Engine, activity_id: int) -> Table:
    shown: list[Column[Any]] = [*activities.c["id", "athlete_id", "name", "sport_type", "start_date_local"]]
    shown += [column for column in route_analyses.c if column.name not in NOT_SHOWN]
    query = (
        select(*shown)
        .join(route_analyses, route_analyses.c.activity_id == activities.c.id)
        .where(activities.c.id == activity_id)
    )
    with engine.connect() as connection:
        row = connection.execute(query).one()
    table = new_table(("column", "value"), title="The new ride, from strava.activities and strava.route_analyses")
    for column, value in zip(shown, row, strict=True):
        add_row(table, column.name, f"{value:,.1f}" if isinstance(value, float) else str(value))
    return table


def _runs_table(runs: Sequence[Sequence[str]]) -> Table:
    table = new_table(("run", "status", "seconds", "what"), (2,), title="Runs in Dagster")
    for run in runs:
        add_row(table, *run)
    return table


def _runs(instance: DagsterInstance) -> list[tuple[str, str, str, str]]:
    """Id, status, seconds and content of each run, oldest first."""
    rows = []
    for record in reversed(instance.get_run_records(limit=MOST_RUNS)):
        run = record.dagster_run
        seconds = "" if record.end_time is None else f"{record.end_time - (record.start_time or 0):.1f}"
        selected = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ()))
        what = f"{selected} of athlete {run.tags.get('strava/athlete')}" if selected else run.job_name
        rows.append((run.run_id[:8], run.status.value, seconds, what))
    return rows


def _requests(engine: Engine) -> tuple[int, int]:
    """Requests sent, and how many of them Strava refused for its limits."""
    refused = func.count().filter(api_calls.c.status == HTTPStatus.TOO_MANY_REQUESTS)
    with engine.connect() as connection:
        sent, too_many = connection.execute(select(func.count(), refused).select_from(api_calls)).one()
    return sent, too_many
