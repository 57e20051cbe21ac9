"""Jobs and schedules of imports as tests run them."""

from __future__ import annotations

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.import_runs import run_of
from strava_pipeline.warehouse.imports.launches import Launch
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import NAMES, import_history, newest_month
from strava_pipeline_tests.wishes import launch

JOBS = {True: newest_month, False: import_history}


def launched(engine: Engine) -> Launch:
    """Claim the launch that comes next."""
    found = launch(engine)
    assert found is not None
    return found


def run(location: CodeLocation, found: Launch) -> dg.ExecuteInProcessResult:
    """Execute the run that a launch becomes."""
    planned = run_of(NAMES, found)
    return JOBS[found.begins_newest].execute_in_process(
        run_config=dict(planned.run_config),
        tags=dict(planned.tags),
        instance=location.instance,
        resources=location.resources(),
        raise_on_error=False,
    )


def tick(instance: dg.DagsterInstance, schedule: dg.ScheduleDefinition) -> tuple[list[dg.RunRequest], str | None]:
    """The runs that a schedule asks for, and why it asks for none."""
    with dg.build_schedule_context(instance=instance) as context:
        ticked = schedule.evaluate_tick(context)
    return list(ticked.run_requests or []), ticked.skip_message
