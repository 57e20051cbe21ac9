"""The Dagster run of an import's launch, as bridge and schedules launch it: its job, its config and its tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from strava_pipeline.names import NAMES, Job
from strava_pipeline.warehouse.imports.launches import Launch

# The one op of each job.
NEWEST_MONTH_OP: Final = "bring_newest_month"
HISTORY_OP: Final = "bring_history"


@dataclass(frozen=True)
class ImportRun:
    """A run to launch: its job, its config, and its tags, by which Dagster finds the run again."""

    job: str
    run_config: Mapping[str, Any]
    tags: Mapping[str, str]


def run_of(launch: Launch) -> ImportRun:
    """Return the run that works on a launch."""
    job, op = (Job.NEWEST_MONTH, NEWEST_MONTH_OP) if launch.begins_newest else (Job.IMPORT_HISTORY, HISTORY_OP)
    config = {"import_id": launch.import_id, "launch_no": launch.launch_no, "athlete_id": launch.athlete_id}
    tags = {NAMES.athlete_tag: str(launch.athlete_id)} | launch_tags(launch)
    return ImportRun(job, {"ops": {op: {"config": config}}}, tags)


def launch_tags(launch: Launch) -> dict[str, str]:
    """Return the tags that only this launch's runs have."""
    return {NAMES.tag("import"): str(launch.import_id), NAMES.tag("launch"): str(launch.launch_no)}
