"""``strava-pipeline backfill``: imports an athlete's months through Dagster.

Our own needs no webserver for that; a host's is asked through its webserver.
"""

from __future__ import annotations

from concurrent.futures import Future, wait
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from strava_pipeline.cli.backfill_runs import BackfillFailed, Databases, opened, run_to_its_end
from strava_pipeline.cli.closed_home import close_to_others
from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.dagsters_database import storage_errors, without_dagsters_tries
from strava_pipeline.cli.interruptible import interruptible, message_on_interrupt, run_in_thread
from strava_pipeline.cli.own_runs import cancel_own_runs
from strava_pipeline.cli.run_reasons import kinds, reasons
from strava_pipeline.defs.run_process import process_tag
from strava_pipeline.errors import ConfigurationError, DatabaseUnavailable
from strava_pipeline.months import add_months, enclosing_span, month_span, month_text, parse_month
from strava_pipeline.names import HISTORY_ASSETS, OWN_NAMES, Asset
from strava_pipeline.planned_runs import PlannedRun, plan_in_sequence
from strava_pipeline.redaction import get_logger
from strava_pipeline.sync.months_at_work import MonthsFailed
from strava_pipeline.sync.stopping import stop_wanted
from strava_pipeline.warehouse.states import ImportStep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagster import DagsterInstance, ExecuteInProcessResult, JobDefinition
    from sqlalchemy import Engine

    from strava_pipeline.cli.held_import import HeldImport
    from strava_pipeline.months import Span
    from strava_pipeline.settings import Settings

ASSETS = (Asset.ATHLETES, *HISTORY_ASSETS)
CHOICES = (*ASSETS, Asset.LAKE)
DEFAULT_ASSETS = ",".join(ASSETS)
# What an activity may lack of an asset.
STEPS = {
    Asset.ACTIVITIES: ImportStep.SUMMARY,
    Asset.DETAILS: ImportStep.DETAIL,
    Asset.STREAMS: ImportStep.STREAMS,
}

log = get_logger(__name__)
# How long an interrupted backfill waits for the request under way.
GRACE_SECONDS = 3.0
INTERRUPTED = "interrupted{}; what is stored is kept: run the same command to go on from there"


@click.command()
@click.option("--athlete", "athlete_id", type=click.IntRange(1, 2**63 - 1), required=True, help="Id of the athlete.")
@click.option("--from", "first", required=True, metavar="YYYY-MM", help="First month.")
@click.option("--to", "last", required=True, metavar="YYYY-MM", help="Last month.")
@click.option("--assets", default=DEFAULT_ASSETS, show_default=True, help="Assets to import, separated by commas.")
def backfill(athlete_id: int, first: str, last: str, assets: str) -> None:
    """Import an athlete's months through Dagster; details and streams that are stored and current cost no request."""
    from rich.console import Console

    from strava_pipeline.cli.backfill_view import look, shown
    from strava_pipeline.cli.hosts_backfill import assets_there, run_in_hosts_dagster
    from strava_pipeline.cli.whose_dagster import hosts_dagster
    from strava_pipeline.sync.access import check_access
    from strava_pipeline.sync.handed_in_months import asks_strava
    from strava_pipeline.warehouse.migrate import open_warehouse

    with interruptible(INTERRUPTED.format("")):
        settings = command_settings()
        close_to_others(settings)
        chosen = _chosen(assets)
        start, end = _months(first, last, month_text(settings.history_start))
        with open_warehouse(settings) as engine:
            if asks_strava(engine, athlete_id):
                for needed in ("token_keys", "client_secret"):
                    settings.required(needed)
                # Wrong keys or an ended grant would fail every run: they fail here, before the first one.
                check_access(settings, engine, athlete_id)
            host = hosts_dagster(settings)
            if host is not None:
                chosen = assets_there(host, chosen, is_default=assets == DEFAULT_ASSETS)
            runs = list(plan_in_sequence(start, end, chosen))
            span = enclosing_span([month_span(athlete_id, start), month_span(athlete_id, end)])
            _say_saved(engine, settings, span)
            with shown(lambda: look(engine, settings, span, tuple(chosen)), Console(stderr=True)):
                if host is not None:
                    run_in_hosts_dagster(host, athlete_id, runs, partial(_missing, engine, athlete_id))
                else:
                    _run_in_own_dagster(settings, engine, span, runs, chosen)


def _say_saved(engine: Engine, settings: Settings, span: Span) -> None:
    """Say how many requests what was handed in saves, if any."""
    from strava_pipeline.warehouse.archives.overview import saved_requests

    with engine.connect() as connection:
        saved = saved_requests(connection, span, archive_details=settings.archive_details)
    if saved.requests:
        click.echo(str(saved), err=True)


def _run_in_own_dagster(
    settings: Settings, engine: Engine, span: Span, runs: list[PlannedRun], chosen: list[str]
) -> None:
    """Execute the runs in this process, recorded in our own instance."""
    from strava_pipeline.cli.held_import import ask_for_import
    from strava_pipeline.cli.instance import open_instance
    from strava_pipeline.defs.partitions import register_athlete
    from strava_pipeline.warehouse.retention import earliest_month

    athlete_id, months = span.athlete_id, (span.start.date(), add_months(span.end, -1).date())
    with open_instance(settings) as instance:
        register_athlete(instance, OWN_NAMES, athlete_id)
        with opened(settings, engine, instance) as databases, without_dagsters_tries():
            held = ask_for_import(engine, athlete_id, months, chosen, earliest_month(settings))
            outcome = run_in_thread(partial(held.work, partial(_run_all, databases, athlete_id, runs)))
            with message_on_interrupt(partial(_stop, outcome, databases, held, span)):
                outcome.result()


def _stop(outcome: Future[None], databases: Databases, held: HeldImport, span: Span, number: int) -> str:
    """End this process's runs after a signal; returns a message that says how far they came, and how to go on."""
    from sqlalchemy.exc import SQLAlchemyError

    from strava_pipeline.warehouse.progress.job_progress import count_done, note_finished

    database_errors: tuple[type[Exception], ...] = (DatabaseUnavailable, *storage_errors())
    ended, goes_on = list[str](), None
    try:
        databases.check()
        ended = cancel_own_runs(databases.instance, partial(wait, [outcome], GRACE_SECONDS))
    except database_errors as error:
        # It may be Dagster's alone: the import can still be paused.
        log.debug("no run was canceled in Dagster: %s", error)
    try:
        goes_on = held.stop(number)
        with databases.engine.begin() as connection:
            for run_id in ended:
                note_finished(connection, run_id)
            done = count_done(connection, span)
    except (DatabaseUnavailable, SQLAlchemyError):
        return f"interrupted (the database does not answer); what is stored is kept, and {goes_on or held.goes_on}"
    reached = f"; so far {done.listed} activities, {done.detailed} with their detail, {done.streamed} with samples"
    return f"interrupted{reached}; what is stored is kept, and {goes_on}"


def _run_all(databases: Databases, athlete_id: int, runs: list[PlannedRun]) -> None:
    """Execute one run after another. ``BackfillFailed`` says at the end which runs failed, what is missing, and why.

    After a run that failed for some of its months only, the next one is executed; after any other failure none is.
    """
    from strava_pipeline.definitions import own_process_defs

    instance, job = databases.instance, own_process_defs().resolve_implicit_global_asset_job_def()
    told = []
    for run in runs:
        result = _result(partial(_execute, instance, job, athlete_id, run), databases, f"{run} of athlete {athlete_id}")
        if result is None or stop_wanted.is_set():
            return
        lacks = databases.patiently(partial(_missing, databases.engine, athlete_id, [run]))
        state = "failure" if not result.success else "incomplete" if lacks else "success"
        click.echo(f"run {result.run_id}  {state}  {run}")
        if not result.success:
            why = databases.patiently(partial(reasons, instance, result.run_id))
            told.append(f"{run} of athlete {athlete_id} failed: {'; '.join(why)}")
            if databases.patiently(partial(kinds, instance, result.run_id)) != {MonthsFailed.__name__}:
                raise BackfillFailed("; ".join(told))
    lacks = databases.patiently(partial(_missing, databases.engine, athlete_id, runs))
    if lacks:
        told.append(f"{lacks}; the same command tries them again")
    if told:
        raise BackfillFailed("; ".join(told))


def _result(
    execute: Callable[[str], ExecuteInProcessResult], databases: Databases, what: str
) -> ExecuteInProcessResult | None:
    """The result of a run; ``BackfillFailed`` with the reason if it failed where Dagster has no event for it."""
    from dagster import DagsterError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return run_to_its_end(execute, databases)
    except (DagsterError, SQLAlchemyError, OSError) as error:
        line = str(error).strip().partition("\n")[0]
        raise BackfillFailed(f"{what} failed outside its steps: {type(error).__name__}: {line}") from error


def _missing(engine: Engine, athlete_id: int, runs: Sequence[PlannedRun]) -> str:
    """What the months of these runs lack of their assets, in words; empty if nothing."""
    from strava_pipeline.warehouse.progress.missing import missing

    spans = [month_span(athlete_id, month) for run in runs for month in (run.first, run.last) if month]
    steps = {STEPS[name] for run in runs for name in run.assets if name in STEPS}
    if not spans:
        return ""
    with engine.connect() as connection:
        found = missing(connection, enclosing_span(spans), steps)
    return str(found) if found.count else ""


def _execute(
    instance: DagsterInstance, job: JobDefinition, athlete_id: int, run: PlannedRun, run_id: str
) -> ExecuteInProcessResult:
    """Run the assets in this process, recorded in the instance like any other run."""
    import dagster as dg

    return job.execute_in_process(
        run_id=run_id,
        instance=instance,
        asset_selection=[dg.AssetKey(OWN_NAMES.asset_path(name)) for name in run.selection],
        tags=run.tags(OWN_NAMES, athlete_id) | process_tag(OWN_NAMES),
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )


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
