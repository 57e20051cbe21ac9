"""What the demo prints at its end: rows, the new ride, runs, requests, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import requests
from rich.table import Table
from sqlalchemy import Engine

from strava_pipeline.cli.console import add_row, new_table, print_table
from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.warehouse.analysis.analyses import analysed_activity
from strava_pipeline.warehouse.quota.api_calls import count_calls
from strava_pipeline.warehouse.row_counts import POINTS, row_counts

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from strava_pipeline.cli.demo import NewRide

TIMEOUT_SECONDS = 30
MOST_RUNS = 100
FAILED = {"FAILURE", "CANCELED"}
# Long ones, which would fill the terminal.
NOT_SHOWN = {"faults", "grades_m", "route_polyline"}


class DemoShowsFault(StravaPipelineError):
    """The demo ran to its end, and what it shows is not right."""


def print_report(engine: Engine, instance: DagsterInstance, mock_url: str, ride: NewRide) -> None:
    """Print everything; ``DemoShowsFault`` if a run failed or Strava had to refuse a request."""
    print_table(_rows_per_table(engine))
    print_table(_ride(engine, ride.activity_id))
    runs = _runs(instance)
    print_table(_runs_table(runs))
    with engine.connect() as connection:
        calls = count_calls(connection)
    seen = requests.get(f"{mock_url}/mock/calls", timeout=TIMEOUT_SECONDS).json()["totals"]
    counted = sum(calls for endpoint, calls in seen["endpoints"].items() if "/api/" in endpoint)
    click.echo(f"requests to Strava     {calls.sent} (the mock counted {counted})")
    click.echo(f"429s                   {calls.refused} (the mock sent {seen['too_many_requests']})")
    click.echo(f"webhook to analysed    {ride.seconds:.1f} s")
    # One that a schedule has started meanwhile is no failure.
    failed = [run for run in runs if run[1] in FAILED]
    if failed or calls.refused or seen["too_many_requests"]:
        raise DemoShowsFault(f"{len(failed)} runs failed, {calls.refused} requests were refused")


def _rows_per_table(engine: Engine) -> Table:
    table = new_table(("table", "rows"), (1,), title="Rows")
    with engine.connect() as connection:
        counts = row_counts(connection)
    for name, count in counts.items():
        add_row(table, f"strava.{name}{' (view)' if name == POINTS else ''}", f"{count:,}")
    return table


def _ride(engine: Engine, activity_id: int) -> Table:
    with engine.connect() as connection:
        row = analysed_activity(connection, activity_id)
    table = new_table(("column", "value"), title="The new ride, from strava.activities and strava.route_analyses")
    for name, value in row.items():
        if name not in NOT_SHOWN:
            add_row(table, name, f"{value:,.1f}" if isinstance(value, float) else str(value))
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
