"""Runs of ``webhook_sync`` within the test's process."""

from __future__ import annotations

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.warehouse.inbox.claims import claim_objects
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import op, webhook_sync


def claim(engine: Engine) -> list[int]:
    """The fences of claims on everything that is due."""
    return [found.fence for found in claim_objects(engine, 50)]


def run(location: CodeLocation, fences: list[int]) -> dg.ExecuteInProcessResult:
    return webhook_sync.execute_in_process(
        run_config={"ops": {op("claimed_objects"): {"config": {"fences": fences}}}},
        instance=location.instance,
        resources=location.resources(),
        raise_on_error=False,
    )


def work_off(location: CodeLocation, engine: Engine) -> dg.ExecuteInProcessResult:
    """A run of everything that is due."""
    return run(location, claim(engine))
