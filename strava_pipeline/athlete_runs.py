"""Which of Dagster's runs are one athlete's alone: they go with the athlete, since they show routes and tell ids."""

from __future__ import annotations

from collections.abc import Mapping

ATHLETE_TAG = "strava/athlete"
# Beside its events Dagster keeps each asset's last materialization once more, and that outlives the run.
ASSETS = (
    "athletes",
    "gear",
    "activities",
    "activity_details",
    "activity_streams",
    "route_analyses",
    "activity_points_parquet",
    "training_load",
)
GONE = "An athlete has left: what was last shown here may have been theirs."
_FIRST = "dagster/asset_partition_range_start"
_LAST = "dagster/asset_partition_range_end"


def tags_of_runs(athlete_id: int) -> list[dict[str, str]]:
    """What to look for, one search each: our own tag, and what Dagster gives to runs that were launched in its UI."""
    key = str(athlete_id)
    return [
        {ATHLETE_TAG: key},
        {"dagster/partition/athlete": key},
        {"dagster/partition": key},
        {_FIRST: key, _LAST: key},
    ]


def is_of_athlete_alone(tags: Mapping[str, str], athlete_id: int) -> bool:
    """Whether no other athlete's partitions were worked on: a run's range may begin or end with another one."""
    ends = (tags[name] for name in (_FIRST, _LAST) if name in tags)
    return all(end.partition("|")[0] == str(athlete_id) for end in ends)
