"""Launches imports that are due on a running Dagster, and looks after launches whose run may be lost."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial

from sqlalchemy import Engine

from strava_pipeline.import_runs import run_of
from strava_pipeline.log_context import log_ids
from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.imports.launches import (
    MOST_UNDER_WAY,
    Launch,
    claim_launch,
    look_after,
    record_run,
    release,
)
from webhook_bridge.dagster_api import fate_of, launch_run
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable

log = get_logger(__name__)

# After Dagster refused a launch; it costs the import no attempt.
REFUSED_PAUSE = timedelta(seconds=10)


def launch_imports(
    dagster: DagsterServer, engine: Engine, floor: date, most: int = MOST_UNDER_WAY, *, archive_details: bool = False
) -> int:
    """Launch a run for each import that is due and has room; return how many.

    Months before ``floor`` are never imported; ``most`` of one kind are under way. ``archive_details``: details lack of
    activities of which an archive tells, too. ``DagsterUnavailable`` if Dagster
    does not answer, or refuses a launch, which is then due again.
    """
    look_after(engine, partial(fate_of, dagster))
    launched = 0
    while launch := _claim(engine, floor, most, archive_details=archive_details):
        try:
            place = find_place(dagster)
            run = run_of(place.names, launch)
            run_id = launch_run(dagster, place, run.job, run.run_config, run.tags)
        except DagsterUnavailable:
            # The answer alone may be lost: the run has an older number then, once the import is launched again.
            release(engine, launch, REFUSED_PAUSE)
            raise
        record_run(engine, launch, run_id)
        with log_ids(run_id=run_id, athlete_id=launch.athlete_id):
            log.info("run %s has import %d of athlete %d", run_id, launch.import_id, launch.athlete_id)
        launched += 1
    return launched


def _claim(engine: Engine, floor: date, most: int, *, archive_details: bool) -> Launch | None:
    with engine.begin() as connection:
        return claim_launch(connection, floor, most=most, archive_details=archive_details)
