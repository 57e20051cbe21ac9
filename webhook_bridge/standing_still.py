"""Which schedules and sensors of ours are stopped in Dagster, and what that means: a guest's begin so.

The bridge launches by itself what cannot wait; what these do is not done while they stand still.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from strava_pipeline.names import TRAINING_LOAD_SENSOR, Job
from webhook_bridge.dagster_server import DagsterServer, ask
from webhook_bridge.place import Place

_AUTOMATION = """
query Automation($params: RepositorySelector!) {
  answer: repositoryOrError(repositorySelector: $params) {
    __typename
    ... on Repository {
      schedules { name pipelineName scheduleState { status } }
      sensors { name sensorState { status } }
    }
    ... on Error { message }
  }
}
"""
# What does not happen while the schedule of a job stands still.
_MEANINGS = {
    Job.NEWEST_MONTH: "imports begin only while a bridge runs",
    Job.IMPORT_HISTORY: "imports begin only while a bridge runs",
    Job.SEND_NOTIFICATIONS: "mails that were put off are sent only while a bridge runs",
    Job.UPKEEP: "what Strava does not tell of is not found",
    Job.UPDATE_LAKE: "Parquet files are not written anew",
    Job.RUN_CHECKS: "checks are not reported",
    Job.RETENTION: "old records are not removed",
    Job.RUN_RETENTION: "old runs are not deleted",
}
_SENSORS_MEANING = "training loads are not computed anew"


@dataclass(frozen=True)
class Stopped:
    """A schedule or sensor of ours that is stopped: its name in Dagster, and what does not happen."""

    name: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.name} ({self.meaning})"


def stopped_automation(dagster: DagsterServer, place: Place, timeout_s: float | None = None) -> list[Stopped]:
    """Return what of ours is stopped, by name. ``DagsterUnavailable``."""

    def found(answer: Any) -> list[Stopped]:
        return sorted(_stopped(place, answer), key=lambda stopped: stopped.name)

    return ask(dagster, _AUTOMATION, place.selector, {"Repository"}, found, timeout_s)


def _stopped(place: Place, answer: Any) -> Iterator[Stopped]:
    names = place.names
    meanings = {names.job(job): meaning for job, meaning in _MEANINGS.items() if job in place.jobs}
    for schedule in answer["schedules"]:
        if schedule["pipelineName"] in meanings and schedule["scheduleState"]["status"] == "STOPPED":
            yield Stopped(schedule["name"], meanings[schedule["pipelineName"]])
    for sensor in answer["sensors"]:
        if sensor["name"] == names.schedule(TRAINING_LOAD_SENSOR) and sensor["sensorState"]["status"] == "STOPPED":
            yield Stopped(sensor["name"], _SENSORS_MEANING)
