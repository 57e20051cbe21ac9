"""``strava-pipeline demo``: the whole pipeline at work on this machine, from an empty folder to a ride in a table."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import requests

from strava_pipeline.cli.console import say
from strava_pipeline.errors import ConfigurationError, StravaPipelineError
from strava_pipeline.settings import Settings, home_from_environment, load_settings, settings_file

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from sqlalchemy import Engine

MONTHS = 6
MARK = "# Written by strava-pipeline demo: this folder is emptied whenever the demo starts."
# Strava's own limits would make half a year of two athletes a matter of hours.
SETTINGS_FILE = """\
{mark}
STRAVA_API_URL=http://127.0.0.1:{mock_port}/api/v3
STRAVA_OAUTH_URL=http://127.0.0.1:{mock_port}/oauth
STRAVA_CLIENT_ID=1
STRAVA_CLIENT_SECRET={client_secret}
STRAVA_TOKEN_KEYS={token_keys}
STRAVA_OPERATOR_TOKEN={operator_token}
STRAVA_QUOTA_SHORT_LIMIT=5000
STRAVA_QUOTA_LONG_LIMIT=50000
STRAVA_IMPORT_BATCH_INTERVAL_SECONDS=0
STRAVA_WEBHOOK_VERIFY_TOKEN={verify_token}
STRAVA_WEBHOOK_SIGNING_SECRETS={signing_secret}
STRAVA_WEBHOOK_SUBSCRIPTION_ID=1
STRAVA_HISTORY_START={history_start}
"""
GRID_ASSETS = ("activities", "activity_details", "activity_streams", "route_analyses")
BACKFILL_SECONDS = 400
RIDE_SECONDS = 200
POLL_SECONDS = 0.2
TIMEOUT_SECONDS = 30


class DemoFailed(StravaPipelineError):
    """Something the demo shows did not happen."""


@dataclass(frozen=True)
class Demo:
    """What the steps of the demo share."""

    settings: Settings
    engine: Engine
    instance: DagsterInstance
    mock_url: str
    began: float

    def say(self, text: str) -> None:
        """One line with the seconds since the start."""
        say(f"[{time.monotonic() - self.began:5.1f} s] {text}")


@dataclass(frozen=True)
class NewRide:
    """The ride that the webhook announced, and the seconds from the announcement to its analysed row."""

    activity_id: int
    seconds: float


@click.command()
def demo() -> None:
    """Show the whole pipeline at work against a mock Strava; ends by itself and leaves its data for a look.

    Empties $STRAVA_HOME if it holds an earlier demo, and refuses if it holds anything else.
    """
    from strava_pipeline.cli.demo_report import print_report

    with _running_system() as running:
        athletes = _connect_everybody(running)
        _backfill(running, athletes)
        ride = _new_ride(running, athletes[0])
        running.say(f"the new ride is analysed, {ride.seconds:.1f} s after its webhook was sent")
        _wait(lambda: _is_idle(running.instance), RIDE_SECONDS, "the end of all runs")
        print_report(running.engine, running.instance, running.mock_url, ride)
        click.echo()
        say(f"The data stay in {running.settings.home} until the next demo. For a look, make up serves them from a")
        click.echo("checkout, elsewhere strava-pipeline up with the same STRAVA_HOME. The mock Strava ends now, so")
        click.echo("nothing more can be fetched there.")


@contextmanager
def _running_system() -> Iterator[Demo]:
    """Postgres, mock Strava, Dagster and bridge, on free ports; all of them ended afterwards."""
    began = time.monotonic()
    from strava_pipeline.local.listeners import listen_at
    from strava_pipeline.local.services import LOOPBACK, bridge, dagster_services, mock_strava
    from strava_pipeline.local.supervisor import Supervisor, free_port

    home = _fresh_home()
    mock_port = free_port()
    _write_settings(home, mock_port)
    with (
        listen_at(LOOPBACK, 0, "Dagster's webserver") as for_dagster,
        listen_at(LOOPBACK, 0, "the bridge") as for_bridge,
        Supervisor() as supervisor,
    ):
        dagster_port, bridge_port = (listener.getsockname()[1] for listener in (for_dagster, for_bridge))
        _only_our_environment(
            STRAVA_BRIDGE_PORT=str(bridge_port), DAGSTER_WEBSERVER_URL=f"http://{LOOPBACK}:{dagster_port}"
        )
        settings = load_settings()
        supervisor.start(mock_strava(home, mock_port, {}))

        from strava_pipeline.cli.instance import dagster_environment, open_instance
        from strava_pipeline.warehouse.migrate import open_warehouse

        environment = dagster_environment(settings)
        with open_warehouse(settings) as engine, open_instance(settings) as instance:
            for service in dagster_services(home, for_dagster, environment):
                supervisor.start(service)
            supervisor.start(bridge(home, for_bridge, environment))
            running = Demo(settings, engine, instance, f"http://127.0.0.1:{mock_port}", began)
            running.say("Postgres is up; starting the mock Strava, Dagster and the bridge")
            supervisor.wait_until_ready()
            running.say("all of them answer")
            yield running


def _fresh_home() -> Path:
    """An empty folder; one that holds anything but an earlier demo is not touched."""
    from strava_pipeline.local.postgres import is_in_use, using_server

    home = home_from_environment()
    marked = settings_file(home).is_file() and settings_file(home).read_text(encoding="utf-8").startswith(MARK)
    if home.exists() and any(home.iterdir()) and not marked:
        raise ConfigurationError(f"STRAVA_HOME {home} is not empty: the demo wants a folder of its own")
    if is_in_use(home):
        raise ConfigurationError(f"something is running in {home}: stop it first")
    if marked:
        with using_server(home):
            pass  # one that a killed demo left behind is stopped with this, before its folder goes
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, mode=0o700)
    return home


def _write_settings(home: Path, mock_port: int) -> None:
    from strava_pipeline.cli.operator_token import new_token
    from strava_pipeline.keyring import generate_key

    text = SETTINGS_FILE.format(
        mark=MARK,
        mock_port=mock_port,
        client_secret=secrets.token_hex(20),
        token_keys=generate_key(),
        operator_token=new_token(),
        verify_token=secrets.token_urlsafe(24),
        signing_secret=secrets.token_urlsafe(32),
        history_start=_months()[0],
    )
    path = settings_file(home)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _only_our_environment(**variables: str) -> None:
    """Settings of a real installation must not reach the demo, nor the demo's the real one."""
    for name in list(os.environ):
        if name.startswith(("STRAVA_", "DAGSTER_")) and name != "STRAVA_HOME":
            del os.environ[name]
    os.environ.update(variables)


def _connect_everybody(running: Demo) -> list[int]:
    """Connect each athlete of the mock by an authorization code; returns their ids."""
    from strava_pipeline.cli.athletes import connect_athlete
    from strava_pipeline.strava.oauth import authorize_url

    known = requests.get(f"{running.mock_url}/mock/athletes", timeout=TIMEOUT_SECONDS).json()
    for athlete in known:
        consent = f"{authorize_url(running.settings)}&athlete={athlete['id']}"
        redirect = requests.get(consent, allow_redirects=False, timeout=TIMEOUT_SECONDS)
        connect_athlete(running.settings, running.engine, redirect.headers["Location"])
        running.say(f"athlete {athlete['id']} is connected ({athlete['name']}, {athlete['activities']} activities)")
    return [athlete["id"] for athlete in known]


def _backfill(running: Demo, athletes: list[int]) -> None:
    """Backfill every month of every athlete, as the operator does in Dagster's UI."""
    from webhook_bridge.dagster_api import DagsterServer, launch_backfill

    dagster = DagsterServer.from_settings(running.settings)
    wanted: dict[str, set[str]] = {"gear": set(), GRID_ASSETS[-1]: set()}
    for athlete_id in athletes:
        tags = {"strava/athlete": str(athlete_id), "strava/lane": "backfill", "dagster/priority": "-10"}
        months = [f"{athlete_id}|{month}" for month in _months()]
        for assets, partitions in ((("athletes", "gear"), [str(athlete_id)]), (GRID_ASSETS, months)):
            launch_backfill(dagster, assets, partitions, tags)
            wanted[assets[-1]].update(partitions)
    running.say("backfills are requested; Dagster's daemon takes them up every 30 s")
    _wait(lambda: _is_materialized(running.instance, wanted), BACKFILL_SECONDS, "the backfills")
    running.say(f"{sum(map(len, wanted.values()))} partitions are materialized")


def _is_materialized(instance: DagsterInstance, wanted: Mapping[str, set[str]]) -> bool:
    """Whether every wanted partition of each asset is there. ``DemoFailed`` as soon as a run has failed."""
    import dagster as dg

    failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    if failed:
        raise DemoFailed(f"run {failed[0].run_id} failed: see the logs in {home_from_environment() / 'logs'}")
    return all(
        partitions <= instance.get_materialized_partitions(dg.AssetKey(asset)) for asset, partitions in wanted.items()
    )


def _is_idle(instance: DagsterInstance) -> bool:
    """Whether no run is under way: the last one has still to end when its data are there."""
    return all(run.is_finished for run in instance.get_runs())


def _new_ride(running: Demo, athlete_id: int) -> NewRide:
    """Let the mock record a ride and deliver its signed webhook; wait for the analysed row."""
    from strava_pipeline.cli.callback import local_callback
    from strava_pipeline.warehouse.analysis.analyses import analysed_at

    callback = local_callback(running.settings)
    requests.put(
        f"{running.mock_url}/mock/callback", json={"url": callback}, timeout=TIMEOUT_SECONDS
    ).raise_for_status()
    sent_at = datetime.now(UTC)
    added = requests.post(
        f"{running.mock_url}/mock/activities",
        json={"athlete_id": athlete_id, "sport_type": "Ride"},
        timeout=TIMEOUT_SECONDS,
    )
    added.raise_for_status()
    activity_id: int = added.json()["id"]
    running.say(f"the mock delivers a signed webhook for the new ride {activity_id}")

    def found_analysed() -> datetime | None:
        with running.engine.connect() as connection:
            return analysed_at(connection, activity_id)

    found: datetime = _wait(found_analysed, RIDE_SECONDS, "the analysis of the new ride")
    return NewRide(activity_id, (found - sent_at).total_seconds())


def _wait(look: Callable[[], Any], seconds: float, what: str) -> Any:
    """What ``look`` finds, once it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise DemoFailed(f"{what} did not come within {seconds:.0f} s: see the logs in {home_from_environment()}")
        time.sleep(POLL_SECONDS)
    return found


def _months() -> list[str]:
    """The demo's months up to this one (UTC), as partition keys."""
    today = datetime.now(UTC)
    last = today.year * 12 + today.month - 1
    return [f"{number // 12:04d}-{number % 12 + 1:02d}-01" for number in range(last - MONTHS, last + 1)]
