"""The Dagster run of an import's launch, for bridge and schedules: its job, config and tags, and what its status says.

Both launch the same runs, and take a status for the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from strava_pipeline.names import Job, Names
from strava_pipeline.warehouse.imports.launches import Fate, Launch

# The plain name of the one op of each job.
NEWEST_MONTH_OP: Final = "bring_newest_month"
HISTORY_OP: Final = "bring_history"
# The end of a canceled run is waited for so long. A worker that died brings none, where Dagster does not watch runs.
CANCELING_SECONDS: Final = 600.0
# A run takes up its launch within seconds of its start. One that died in between never does; one that is late finds
# its import launched anew, and does nothing.
TAKE_UP_SECONDS: Final = 600.0


@dataclass(frozen=True)
class ImportRun:
    """A run to launch: the plain name of its job, its config, and its tags, by which Dagster finds the run again."""

    job: str
    run_config: Mapping[str, Any]
    tags: Mapping[str, str]


def run_of(names: Names, launch: Launch) -> ImportRun:
    """Return the run that works on a launch."""
    job, op = (Job.NEWEST_MONTH, NEWEST_MONTH_OP) if launch.begins_newest else (Job.IMPORT_HISTORY, HISTORY_OP)
    config = {"import_id": launch.import_id, "launch_no": launch.launch_no, "athlete_id": launch.athlete_id}
    tags = {names.athlete_tag: str(launch.athlete_id)} | launch_tags(names, launch)
    return ImportRun(job, {"ops": {names.op(op): {"config": config}}}, tags)


def launch_tags(names: Names, launch: Launch) -> dict[str, str]:
    """Return the tags that only this launch's runs have."""
    return {names.tag("import"): str(launch.import_id), names.tag("launch"): str(launch.launch_no)}


def fate_of_run(status: str, *, started_at: float | None, changed_at: float | None, moment: float) -> Fate:
    """Return what a run's status, in Dagster's words, says of its launch at a moment.

    ``started_at``: when the run began, ``changed_at``: when its status last changed, each if known (epoch, s).
    """
    match status:
        case "SUCCESS" | "FAILURE":
            return Fate.ENDED
        case "CANCELED":
            return Fate.CANCELED
        case "STARTED":
            # By then one that lives has taken up its launch.
            is_late = started_at is not None and moment - started_at >= TAKE_UP_SECONDS
            return Fate.ENDED if is_late else Fate.AT_WORK
        case "CANCELING":
            # A person's cancel is not lost if the run does not end.
            is_late = changed_at is not None and moment - changed_at >= CANCELING_SECONDS
            return Fate.CANCELED if is_late else Fate.TO_COME
        case _:
            return Fate.TO_COME
