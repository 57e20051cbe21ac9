"""Launches the runs of archive imports that wait, such as uploads, on a running Dagster."""

from __future__ import annotations

from sqlalchemy import Engine

from strava_pipeline.archive_runs import archive_config, archive_tags, import_tags
from strava_pipeline.log_context import log_ids
from strava_pipeline.names import Job
from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.archives.imports import fail_import
from strava_pipeline.warehouse.archives.launches import (
    MOST_LAUNCHES,
    ToLaunch,
    claim_to_launch,
    give_up_stuck,
    release,
)
from strava_pipeline.warehouse.imports.launches import Fate
from webhook_bridge.dagster_api import fate_of_tags, launch_run
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable

log = get_logger(__name__)

TOO_MANY = f"{MOST_LAUNCHES} runs ended before they began: see them in Dagster, and try again"


def launch_archive_imports(dagster: DagsterServer, engine: Engine) -> int:
    """Launch a run for each archive import that waits and has its turn; return how many. Several bridges may do so.

    What is stuck for good is noted as failed before. ``DagsterUnavailable`` if Dagster does not answer, or refuses a
    launch, which then does not count.
    """
    with engine.begin() as connection:
        for gone in give_up_stuck(connection):
            log.warning("archive import %d of athlete %d failed: %s", gone.id, gone.athlete_id, gone.failure)
    launched = 0
    while launch := _claim(engine):
        with log_ids(athlete_id=launch.athlete_id):
            try:
                launched += _launch(dagster, engine, launch)
            except DagsterUnavailable:
                # The answer alone may be lost: of two runs, the second finds the import at work or done.
                with engine.begin() as connection:
                    release(connection, launch)
                raise
    return launched


def _launch(dagster: DagsterServer, engine: Engine, launch: ToLaunch) -> bool:
    place = find_place(dagster)
    if launch.launches:
        fate = fate_of_tags(dagster, import_tags(place.names, launch.import_id))
        if fate in {Fate.TO_COME, Fate.AT_WORK}:
            return False  # it has yet to come: it is asked for again after a while
    if launch.launches >= MOST_LAUNCHES:
        with engine.begin() as connection:
            fail_import(connection, launch.import_id, TOO_MANY)
        return False
    config = archive_config(place.names, launch.athlete_id, launch.import_id)
    tags = archive_tags(place.names, launch.athlete_id, launch.import_id)
    run_id = launch_run(dagster, place, Job.ARCHIVE_IMPORT, config, tags)
    with log_ids(run_id=run_id):
        log.info("run %s has archive import %d of athlete %d", run_id, launch.import_id, launch.athlete_id)
    return True


def _claim(engine: Engine) -> ToLaunch | None:
    with engine.begin() as connection:
        return claim_to_launch(connection)
