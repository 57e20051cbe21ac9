"""Dagster runs that belong to one athlete only.

Runs contain ids and pictures of routes, so they are deleted when the athlete is disconnected.
"""

from __future__ import annotations

from collections.abc import Mapping

from strava_pipeline.names import ATHLETE, NAMES, PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG, athlete_of_key

# The description of a new materialization that hides the last one of an asset.
HIDING_DESCRIPTION = "An athlete was disconnected: this entry hides the last materialization, which may be theirs."


def run_tag_filters(athlete_id: int) -> list[dict[str, str]]:
    """Return the tags that find an athlete's runs, one search for each element.

    The first is our own tag; the others are the tags of Dagster for runs that were launched in its UI.
    """
    key = str(athlete_id)
    return [
        {NAMES.athlete_tag: key},
        {f"{PARTITION_TAG}/{ATHLETE}": key},
        {PARTITION_TAG: key},
        {RANGE_START_TAG: key, RANGE_END_TAG: key},
    ]


def is_only_of_athlete(tags: Mapping[str, str], athlete_id: int) -> bool:
    """Whether a run with these tags worked on this athlete only: a range may begin or end with another athlete."""
    ends = (tags[name] for name in (RANGE_START_TAG, RANGE_END_TAG) if name in tags)
    return all(athlete_of_key(end) == str(athlete_id) for end in ends)
