"""``strava-pipeline backfill``: imports an athlete's months through Dagster, with or without a running webserver."""

from __future__ import annotations

from concurrent.futures import Future, wait
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

from strava_pipeline.cli.backfill_runs import BackfillFailed, Databases, run_to_its_end
from strava_pipeline.cli.closed_home import close_to_others
from strava_pipeline.cli.dead_runs import cancel_own_runs, process_tag
from strava_pipeline.cli.interruptible import interruptible, message_on_interrupt, run_in_thread
from strava_pipeline.errors import ConfigurationError, DatabaseUnavailable
from strava_pipeline.months import enclosing_span, month_span, month_text, parse_month
from strava_pipeline.names import HISTORY_ASSETS, Asset
from strava_pipeline.planned_runs import PlannedRun, plan_in_sequence
from strava_pipeline.settings import load_settings
from strava_pipeline.sync.stopping import stop_wanted

if TYPE_CHECKING:
    from dagster import DagsterInstance, ExecuteInProcessResult, JobDefinition
    from sqlalchemy import Engine

    from strava_pipeline.months import Span

ASSETS = (Asset.ATHLETES, *HISTORY_ASSETS)
CHOICES = (*ASSETS, Asset.LAKE)

# How long an interrupted backfill waits for the request under way.
GRACE_SECONDS = 3.0
INTERRUPTED = "interrupted{}; what is stored is kept: run the same command to go on from there"


@click.command()
@click.option("--athlete", "athlete_id", type=click.IntRange(1, 2**63 - 1), required=True, help="Id of the athlete.")
@click.option("--from", "first", required=True, metavar="YYYY-MM", help="First month.")
@click.option("--to", "last", required=True, metavar="YYYY-MM", help="Last month.")
@click.option("--assets", default=",".join(ASSETS), show_default=True, help="Assets to import, separated by commas.")
def backfill(athlete_id: int, first: str, last: str, assets: str) -> None:
    """Import an athlete's months through Dagster; details and streams that are stored and current cost no request."""
    from rich.console import Console

    from strava_pipeline.cli.backfill_view import look, shown
    from strava_pipeline.cli.instance import open_instance
    from strava_pipeline.defs.partitions import register_athlete
    from strava_pipeline.sync.access import open_tokens
    from strava_pipeline.warehouse.migrate import open_warehouse

    with interruptible(INTERRUPTED.format("")):
        settings = load_settings()
        for needed in ("token_keys", "client_secret"):
            settings.required(needed)
        close_to_others(settings)
        chosen = _chosen(assets)
        start, end = _months(first, last, month_text(settings.history_start))
        runs = list(plan_in_sequence(start, end, chosen))
        with open_warehouse(settings) as engine:
            # Wrong keys or an ended grant would fail every run: they fail here, before the first one.
            open_tokens(settings, engine).access_token(athlete_id)
            span = enclosing_span([month_span(athlete_id, start), month_span(athlete_id, end)])
            with open_instance(settings) as instance:
                register_athlete(instance, athlete_id)
                with shown(lambda: look(engine, settings, span, tuple(chosen)), Console(stderr=True)):
                    databases = Databases(engine, instance, timedelta(hours=settings.outage_patience_hours))
                    outcome = run_in_thread(partial(_run_all, databases, athlete_id, runs))
                    with message_on_interrupt(partial(_stop, outcome, instance, engine, span)):
                        outcome.result()


def _stop(outcome: Future[None], instance: DagsterInstance, engine: Engine, span: Span) -> str:
    """End this process's runs; returns a message that says how far they came."""
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import SQLAlchemyError

    from strava_pipeline.warehouse.progress.job_progress import count_done, note_finished

    try:
        ended = cancel_own_runs(instance, partial(wait, [outcome], GRACE_SECONDS))
        with engine.begin() as connection:
            for run_id in ended:
                note_finished(connection, run_id)
            done = count_done(connection, span)
    except (DatabaseUnavailable, SQLAlchemyError, DagsterPostgresException):
        return INTERRUPTED.format(" (the database does not answer)")
    reached = f"; so far {done.listed} activities, {done.detailed} with their detail, {done.streamed} with samples"
    return INTERRUPTED.format(reached)


def _run_all(databases: Databases, athlete_id: int, runs: list[PlannedRun]) -> None:
    """Execute one run after another. ``BackfillFailed`` at the first that fails."""
    from strava_pipeline.definitions import own_process_defs

    instance, job = databases.instance, own_process_defs().resolve_implicit_global_asset_job_def()
    for run in runs:
        result = run_to_its_end(partial(_execute, instance, job, athlete_id, run), databases)
        if result is None or stop_wanted.is_set():
            return
        click.echo(f"run {result.run_id}  {'success' if result.success else 'failure'}  {run}")
        if not result.success:
            raise BackfillFailed(f"{run} of athlete {athlete_id} failed: {_reason(instance, result.run_id)}")


def _execute(
    instance: DagsterInstance, job: JobDefinition, athlete_id: int, run: PlannedRun, run_id: str
) -> ExecuteInProcessResult:
    """Run the assets in this process, recorded in the instance like any other run."""
    import dagster as dg

    return job.execute_in_process(
        run_id=run_id,
        instance=instance,
        asset_selection=[dg.AssetKey(name) for name in run.selection],
        tags=run.tags(athlete_id) | process_tag(),
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )


def _reason(instance: DagsterInstance, run_id: str) -> str:
    """The error text of a run's first failed step."""
    import dagster as dg

    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    for record in records:
        event = record.event_log_entry.dagster_event
        data = event.step_failure_data if event else None
        if data and data.user_failure_data and data.user_failure_data.description:
            return data.user_failure_data.description
    return f"see run {run_id} in Dagster"


def _chosen(assets: str) -> list[str]:
    chosen = [name.strip() for name in assets.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in CHOICES]
    if unknown or not chosen:
        raise ConfigurationError(f"--assets {assets}: choose from {', '.join(CHOICES)}")
    return chosen


def _months(first: str, last: str, earliest: str) -> tuple[datetime, datetime]:
    """Read --from and --to; ``ConfigurationError`` says which is wrong and why."""
    months = []
    for option, month in (("--from", first), ("--to", last)):
        try:
            parsed = parse_month(month)
        except ValueError:
            raise ConfigurationError(f"{option} {month}: give a month as YYYY-MM") from None
        if parsed > datetime.now(UTC):
            raise ConfigurationError(f"{option} {month} is in the future: give a month up to the current one")
        months.append(parsed)
    if first > last:
        raise ConfigurationError(f"--from {first} is after --to {last}")
    if first < earliest:
        raise ConfigurationError(f"--from {first} is before STRAVA_HISTORY_START, which is {earliest}")
    return months[0], months[1]
