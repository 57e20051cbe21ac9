"""The demo's report, printed at its end: rows, the new ride, runs, requests, seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from rich.table import Table
from sqlalchemy import Engine

from strava_pipeline.cli.console import add_row, new_table, print_table
from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.http_session import new_http_session
from strava_pipeline.names import OWN_NAMES, PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG, athlete_of_key
from strava_pipeline.warehouse.analysis.analyses import analysed_activity
from strava_pipeline.warehouse.quota.api_calls import count_calls
from strava_pipeline.warehouse.row_counts import POINTS, row_counts

if TYPE_CHECKING:
    from dagster import DagsterInstance

TIMEOUT_SECONDS = 30
MOST_RUNS = 100
FAILED = {"FAILURE", "CANCELED"}
# Columns with long values, which would fill the terminal.
NOT_SHOWN = {"faults", "grades_m", "route_polyline"}


class DemoShowsFault(StravaPipelineError):
    """The demo ran to its end, but a run failed or Strava refused a request."""


@dataclass(frozen=True)
class Report:
    """Tables and lines to print once all processes have ended; ``fault`` says what went wrong, if anything."""

    tables: Sequence[Table]
    lines: Sequence[str]
    fault: str | None

    def show(self) -> None:
        """Print tables and lines; ``DemoShowsFault`` if there is a fault."""
        for table in self.tables:
            print_table(table)
        for line in self.lines:
            click.echo(line)
        if self.fault is not None:
            raise DemoShowsFault(self.fault)


def collect_report(engine: Engine, instance: DagsterInstance, mock_url: str, ride: int, seconds: float) -> Report:
    """Collect the demo's results; ``seconds``: from the new ride's webhook to its analysis."""
    runs = _runs(instance)
    with engine.connect() as connection:
        calls = count_calls(connection)
    with new_http_session(None) as mock:
        seen = mock.get(f"{mock_url}/mock/calls", timeout=TIMEOUT_SECONDS).json()["totals"]
    counted = sum(count for endpoint, count in seen["endpoints"].items() if "/api/" in endpoint)
    # A run that a schedule has just started is unfinished; that is no failure.
    failed = [run for run in runs if run[1] in FAILED]
    is_faulty = failed or calls.refused or seen["too_many_requests"]
    return Report(
        [rows_per_table(engine), _ride(engine, ride), _runs_table(runs)],
        [
            f"requests to Strava     {calls.sent} (the mock counted {counted})",
            f"429s                   {calls.refused} (the mock sent {seen['too_many_requests']})",
            f"webhook to analysed    {seconds:.1f} s",
        ],
        f"{len(failed)} runs failed, {calls.refused} requests were refused" if is_faulty else None,
    )


def rows_per_table(engine: Engine) -> Table:
    """Return a table of the tables, with the number of rows of each."""
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
        selected = ", ".join(sorted(key.path[-1] for key in run.asset_selection or ()))
        what = f"{selected} of {_whose(run.tags)}" if selected else run.job_name
        rows.append((run.run_id[:8], run.status.value, seconds, what))
    return rows


def _whose(tags: Mapping[str, str]) -> str:
    """The athletes that a run's tags name: one, or the first and the last of several."""
    names = (OWN_NAMES.athlete_tag, PARTITION_TAG, RANGE_START_TAG, RANGE_END_TAG)
    keys = (tags[name] for name in names if name in tags)
    return ", ".join(dict.fromkeys(athlete_of_key(key) for key in keys))
