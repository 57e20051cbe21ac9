"""Checks of Dagster: its folder and database, its webserver, our code location there, and its daemon."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from strava_pipeline.cli.doctor.findings import Check, Finding, fail, ok, warn
from strava_pipeline.cli.doctor.instance_blocks import missing_blocks
from strava_pipeline.cli.doctor.machine_checks import TOKEN_KEYS
from strava_pipeline.cli.whose_dagster import has_hosts_storage
from strava_pipeline.home import HomeEntry
from strava_pipeline.local.dagster_home import INSTANCE_FILE
from strava_pipeline.local.running_postgres import PostgresNotRunning, with_running_postgres
from strava_pipeline.names import Job
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.dagster_database import NoDagsterDatabase, check_dagster_database
from webhook_bridge.dagster_api import check_answers, required_daemons, try_launch
from webhook_bridge.dagster_place import NoPlace, look_for_place
from webhook_bridge.dagster_server import GLANCE_SECONDS, DagsterServer
from webhook_bridge.dispatcher import sync_config
from webhook_bridge.place import Place
from webhook_bridge.standing_still import stopped_automation

WEBSERVER, LOCATION = "webserver", "code location"
START = "start strava-pipeline up, or your Dagster, and check DAGSTER_WEBSERVER_URL"
READ_BLOCKS = "docs/storage.md#a-dagsteryaml-of-your-own says what happens without them"
SWITCH_ON = "switch it on in Dagster's UI, Automation, if you need it"


def check_instance(settings: Settings) -> Iterator[Finding]:
    """Check that Dagster's folder is there, where it is not ours to make, and has the blocks that our runs count on."""
    home = settings.dagster_home
    if home is None:
        ours = settings.home / HomeEntry.DAGSTER
        yield ok(f"{ours}{'' if ours.exists() else ', which strava-pipeline up makes'}")
    elif (home / INSTANCE_FILE).is_file():
        yield ok(f"{home}, by DAGSTER_HOME")
    elif home.is_dir():
        yield ok(f"{home}, by DAGSTER_HOME, with Dagster's defaults: {INSTANCE_FILE} is not there")
    else:
        yield fail(f"DAGSTER_HOME: {home} is missing", "create it, or unset DAGSTER_HOME")
        return
    if home is not None and (missing := missing_blocks(home / INSTANCE_FILE)):
        yield warn(f"{INSTANCE_FILE} lacks {'; '.join(missing)}", READ_BLOCKS)


def check_storage(settings: Settings) -> Iterator[Finding]:
    """Check that Dagster's login can make, or use, its tables in its database, where that is ours to name."""
    if settings.dagster_home is not None and has_hosts_storage(settings):
        yield ok(f"not looked at: Dagster in {settings.dagster_home} has another storage than ours")
        return
    if settings.dagster_postgres_url is None and not settings.is_embedded and not settings.keeps_data_in_home:
        yield ok("not looked at: this container has no DAGSTER_POSTGRES_URL, and a bridge needs none")
        return
    try:
        check_dagster_database(with_running_postgres(settings))
    except PostgresNotRunning as error:
        yield warn(f"not checked: {error}")
    except NoDagsterDatabase as error:
        # Not made yet, or not needed: commands may run elsewhere than a Dagster that is not ours.
        yield warn(str(error))
    else:
        yield ok("Dagster's login can use its database")


def check_webserver(settings: Settings) -> Iterator[Finding]:
    """Check that Dagster's webserver answers a signed request."""
    settings.header_for_dagster()  # its error says what to do
    if settings.token_keys is None and settings.client_id is None:
        yield warn("not asked: requests are signed with keys, and there are none yet", "strava-pipeline up makes them")
        return
    check_answers(DagsterServer.from_settings(settings))
    yield ok(f"{settings.dagster_webserver_url} answers")


def check_location(settings: Settings) -> Iterator[Finding]:
    """Check that Dagster has our jobs, and would launch the one of webhooks: by a dry run, which launches nothing."""
    dagster = DagsterServer.from_settings(settings)
    try:
        place = look_for_place(dagster, GLANCE_SECONDS)
    except NoPlace as error:
        yield fail(str(error))  # it says what to do
        return
    try_launch(dagster, place, Job.WEBHOOK_SYNC, sync_config(place.names, [0]))
    yield ok(f"{place}: {place.names.job(Job.WEBHOOK_SYNC)} can be launched")


def check_automation(settings: Settings) -> Iterator[Finding]:
    """Check which schedules and sensors of ours stand still in Dagster, and whether its old runs are deleted."""
    dagster = DagsterServer.from_settings(settings)
    place = look_for_place(dagster, GLANCE_SECONDS)
    stopped = stopped_automation(dagster, place, GLANCE_SECONDS)
    for each in stopped:
        yield warn(f"{each.name} is stopped: {each.meaning}", SWITCH_ON)
    if not stopped:
        yield ok("no schedule or sensor of ours is stopped")
    if Job.RUN_RETENTION not in place.jobs:
        yield _about_old_runs(place)


def _about_old_runs(place: Place) -> Finding:
    told = "old runs of ours are not deleted in Dagster: delete_runs is off"
    return warn(told) if place.is_own else ok(f"{told}, as by default for a guest")


def check_daemon(settings: Settings) -> Iterator[Finding]:
    """Check that each daemon that Dagster needs gave a sign of life."""
    daemons = required_daemons(DagsterServer.from_settings(settings))
    silent = [daemon for daemon in daemons if not daemon.is_healthy]
    for daemon in silent:
        since = (
            "never" if daemon.beat_at is None else f"last at {datetime.fromtimestamp(daemon.beat_at, UTC):%F %T} UTC"
        )
        yield fail(
            f"{daemon.kind} gives no sign of life ({since})", "start dagster-daemon, which strava-pipeline up runs"
        )
    if not daemons:
        yield warn("Dagster says that it needs no daemon", "queue and schedules need one: see its dagster.yaml")
    elif not silent:
        yield ok(f"{len(daemons)} alive: {', '.join(sorted(daemon.kind.lower() for daemon in daemons))}")


DAGSTER_CHECKS = (
    Check("Dagster's folder", check_instance),
    Check("Dagster's database", check_storage),
    # A request to it is signed by the keys.
    Check(WEBSERVER, check_webserver, START, needs=TOKEN_KEYS),
    Check(LOCATION, check_location, "Dagster's UI, Deployment, shows its state", needs=WEBSERVER),
    Check("automation", check_automation, needs=LOCATION),
    Check("daemon", check_daemon, START, needs=WEBSERVER),
)
