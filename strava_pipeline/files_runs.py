"""The Dagster run that takes an athlete's files from the watched folder, for bridge and schedule: config and tags."""

from __future__ import annotations

from typing import Any, Final

from strava_pipeline.names import Names

# The plain name of the job's first op.
TAKE_FILES_OP: Final = "take_files"
# So many athletes have a run in the queue or at work; the others wait for their turn.
MOST_AT_ONCE: Final = 5


def files_config(names: Names, athlete_id: int) -> dict[str, Any]:
    """Return the config of the run for an athlete."""
    return {"ops": {names.op(TAKE_FILES_OP): {"config": {"athlete_id": athlete_id}}}}


def files_tags(names: Names, athlete_id: int) -> dict[str, str]:
    """Return the tags of the run, which goes with the athlete."""
    return {names.athlete_tag: str(athlete_id)}
