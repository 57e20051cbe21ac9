"""A run of a version before that of the tables touches nothing, and its events go on with the next run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.warehouse.inbox.claims import claim_objects
from strava_pipeline.warehouse.inbox.launches import end_launches, record_run
from strava_pipeline.warehouse.migrate import migrate
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.webhook_runs import claim, run
from strava_pipeline_tests.inbox import connect_riders, states, store
from strava_pipeline_tests.later_revisions import later_revision
from strava_pipeline_tests.strava_stand_in import RIDER


def test_a_webhooks_run_of_an_earlier_version_ends_in_one_line_and_its_events_lose_no_attempt(
    location: CodeLocation, engine: Engine, owner_engine: Engine, tmp_path: Path
) -> None:
    connect_riders(engine, RIDER)
    store(engine, 1)
    fences = claim(engine)
    with later_revision(tmp_path, "0999", "ALTER TABLE ops.users ADD COLUMN season text"):
        migrate(owner_engine)

    done = run(location, fences)

    assert not done.success
    failures = [event for event in done.all_events if event.event_type is dg.DagsterEventType.PIPELINE_FAILURE]
    assert "a later version has upgraded the tables to revision 0999" in str(failures[0].event_specific_data)
    assert location.strava.asked == []
    assert states(engine) == ["launched"]
    # As the dispatcher finds a run that ended before it began.
    record_run(engine, fences, done.run_id)
    end_launches(engine, [done.run_id], wait=timedelta())
    assert states(engine) == ["waiting"]
    (again,) = claim_objects(engine, 1)
    assert again.lost_runs == 0
