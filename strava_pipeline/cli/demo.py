"""``strava-pipeline demo``: runs the whole pipeline on this machine, from an empty folder to an analysed ride."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from strava_pipeline.cli.console import say
from strava_pipeline.cli.demo_system import System, first_month, running_system
from strava_pipeline.cli.progress_lines import ProgressLines
from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.extras import Extra, ensure_installed
from strava_pipeline.home import home_from_environment
from strava_pipeline.http_session import new_http_session
from strava_pipeline.months import months_between
from strava_pipeline.names import HISTORY_ASSETS, PROFILE_ASSETS, RANGE_END_TAG, RANGE_START_TAG, Asset
from strava_pipeline.planned_runs import plan_side_by_side

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from sqlalchemy import Engine

    from webhook_bridge.dagster_server import DagsterServer

# Generous time limits, since a loaded machine is slow.
HISTORY_SECONDS = 400
RIDE_SECONDS = 200
LOAD_SECONDS = 200
POLL_SECONDS = 0.2
TIMEOUT_SECONDS = 30


class DemoFailed(StravaPipelineError):
    """A run of the demo failed, or a step took too long."""


@click.command()
@click.option("--archive", is_flag=True, help="Show what an athlete's archive gives, without an app, instead.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of the made-up archive; a new one if it is left out.")
@click.option(
    "--activities", type=click.IntRange(1, 5_000), default=300, show_default=True, help="Of the made-up archive."
)
def demo(archive: bool, seed: int | None, activities: int) -> None:
    """Show the whole pipeline at work against a mock Strava, then end. The data stay for you to look at.

    Empties $STRAVA_HOME if it holds an earlier demo; refuses to start if it holds anything else.
    """
    ensure_installed(Extra.LOCAL, "strava-pipeline demo")
    if archive:
        from strava_pipeline.cli.demo_archive import show_archive

        show_archive(secrets.randbelow(2**32) if seed is None else seed, activities)
        return
    from strava_pipeline.cli.demo_report import collect_report
    from webhook_bridge.dagster_server import DagsterServer

    with ProgressLines() as lines, running_system(lines) as system:
        dagster = DagsterServer.from_settings(system.settings)
        athletes = _connect_everybody(system)
        system.wait_until_ready()
        _import_history(system, dagster, athletes)
        ride, seconds = _new_ride(system, athletes[0])
        _compute_loads(system, dagster, athletes)
        report = collect_report(system.engine, system.instance, system.mock_url, ride, seconds)
    report.show()
    click.echo()
    say(f"The data stay in {system.settings.home} until the next demo. To look at them, run make up in a checkout,")
    click.echo("or strava-pipeline up with the same STRAVA_HOME elsewhere. The mock Strava has ended, so nothing more")
    click.echo("can be fetched.")


def _connect_everybody(system: System) -> list[int]:
    """Connect each athlete of the mock by an authorization code; returns the athletes' ids."""
    from strava_pipeline.cli.athletes import connect_athlete
    from strava_pipeline.strava.oauth import authorize_url

    with new_http_session(None) as mock:
        known = mock.get(f"{system.mock_url}/mock/athletes", timeout=TIMEOUT_SECONDS).json()
        for athlete in known:
            consent = f"{authorize_url(system.settings)}&athlete={athlete['id']}"
            redirect = mock.get(consent, allow_redirects=False, timeout=TIMEOUT_SECONDS)
            connect_athlete(system.settings, system.engine, redirect.headers["Location"])
            system.lines.say(
                f"athlete {athlete['id']} is connected ({athlete['name']}, {athlete['activities']} activities)",
                lambda: "connecting the athletes",
            )
    return [athlete["id"] for athlete in known]


def _import_history(system: System, dagster: DagsterServer, athletes: Collection[int]) -> None:
    """Have Dagster import every month of every athlete."""
    from strava_pipeline.cli.demo_progress import history_line
    from webhook_bridge.planned_launch import launch_planned

    first, last = first_month(), datetime.now(UTC)
    months = len(athletes) * len(list(months_between(first, last)))
    launched: list[str] = []
    # Dagster takes seconds to start each run, one after another: launch the long ones first.
    for assets in (HISTORY_ASSETS, PROFILE_ASSETS):
        for athlete_id in athletes:
            launched += launch_planned(dagster, athlete_id, plan_side_by_side(first, last, assets))
    now = partial(history_line, system.engine, system.instance, athletes, months)
    system.lines.say(f"Dagster has {len(launched)} runs to do: profiles, and {months} months of activities", now)
    _wait(partial(_have_succeeded, system.instance, launched), HISTORY_SECONDS, "the import of the history")
    system.lines.say(now(), lambda: "the history is imported")


def _new_ride(system: System, athlete_id: int) -> tuple[int, float]:
    """Have the mock record a ride and deliver its signed webhook; returns the ride's id, and the s to its analysis."""
    from strava_pipeline.cli.callback import local_callback
    from strava_pipeline.cli.demo_progress import ride_line, runs_line

    callback = local_callback(system.settings)
    new = {"athlete_id": athlete_id, "sport_type": "Ride"}
    with new_http_session(None) as mock:
        told = mock.put(f"{system.mock_url}/mock/callback", json={"url": callback}, timeout=TIMEOUT_SECONDS)
        told.raise_for_status()
        sent_at = datetime.now(UTC)
        added = mock.post(f"{system.mock_url}/mock/activities", json=new, timeout=TIMEOUT_SECONDS)
        added.raise_for_status()
    ride: int = added.json()["id"]
    system.lines.say(f"the mock delivers a signed webhook for the new ride {ride}", partial(ride_line, system.instance))
    analysed: datetime = _wait(partial(_analysed_at, system.engine, ride), RIDE_SECONDS, "the new ride's analysis")
    seconds = (analysed - sent_at).total_seconds()
    system.lines.say(
        f"the new ride is analysed, {seconds:.1f} s after its webhook was sent", partial(runs_line, system.instance)
    )
    return ride, seconds


def _analysed_at(engine: Engine, activity_id: int) -> datetime | None:
    from strava_pipeline.warehouse.analysis.analyses import analysed_at

    with engine.connect() as connection:
        return analysed_at(connection, activity_id)


def _compute_loads(system: System, dagster: DagsterServer, athletes: Sequence[int]) -> None:
    """Have Dagster compute all athletes' training loads in one run, and wait until no run is under way."""
    from strava_pipeline.cli.demo_progress import runs_line
    from webhook_bridge.dagster_api import launch_assets
    from webhook_bridge.dagster_place import find_place

    everybody = {RANGE_START_TAG: str(athletes[0]), RANGE_END_TAG: str(athletes[-1])}
    launched = launch_assets(dagster, find_place(dagster), [Asset.TRAINING_LOAD], everybody)
    system.lines.say("Dagster computes the training loads", partial(runs_line, system.instance))
    _wait(partial(_have_succeeded, system.instance, [launched]), LOAD_SECONDS, "the training loads")
    _wait(partial(_is_idle, system.instance), LOAD_SECONDS, "the end of all runs")


def _have_succeeded(instance: DagsterInstance, run_ids: Collection[str]) -> bool:
    """Whether each of these runs has succeeded. ``DemoFailed`` as soon as any run has failed or was canceled."""
    from dagster import DagsterRunStatus as Status
    from dagster import RunsFilter

    failed = instance.get_runs(RunsFilter(statuses=[Status.FAILURE, Status.CANCELED]), limit=1)
    if failed:
        raise DemoFailed(f"run {failed[0].run_id} failed: see the logs in {home_from_environment() / 'logs'}")
    return instance.get_runs_count(RunsFilter(run_ids=list(run_ids), statuses=[Status.SUCCESS])) == len(run_ids)


def _is_idle(instance: DagsterInstance) -> bool:
    """Whether no run is under way. The webhook's run ends some time after its data are stored."""
    return all(run.is_finished for run in instance.get_runs())


def _wait(look: Callable[[], Any], seconds: float, what: str) -> Any:
    """Call ``look`` until it finds something, and return that. ``DemoFailed`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise DemoFailed(
                f"{what} took more than {seconds:.0f} s: see the logs in {home_from_environment() / 'logs'}"
            )
        time.sleep(POLL_SECONDS)
    return found
