"""Which of Dagster's runs are one athlete's alone: they go with the athlete, since they show routes and tell ids."""

from __future__ import annotations

from collections.abc import Mapping

from strava_pipeline.names import ATHLETE, NAMES, PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG, athlete_of_key

GONE = "An athlete has left: what was last shown here may have been theirs."


def tags_of_runs(athlete_id: int) -> list[dict[str, str]]:
    """What to look for, one search each: our own tag, and what Dagster gives to runs that were launched in its UI."""
    key = str(athlete_id)
    return [
        {NAMES.athlete_tag: key},
        {f"{PARTITION_TAG}/{ATHLETE}": key},
        {PARTITION_TAG: key},
        {RANGE_START_TAG: key, RANGE_END_TAG: key},
    ]


def is_of_athlete_alone(tags: Mapping[str, str], athlete_id: int) -> bool:
    """Whether no other athlete's partitions were worked on: a run's range may begin or end with another one."""
    ends = (tags[name] for name in (RANGE_START_TAG, RANGE_END_TAG) if name in tags)
    return all(athlete_of_key(end) == str(athlete_id) for end in ends)
