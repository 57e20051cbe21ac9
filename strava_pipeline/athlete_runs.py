"""Dagster runs of ours that belong to one athlete only.

Runs contain ids and figures, and those of earlier versions pictures of routes: they are deleted when the athlete is
disconnected.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from strava_pipeline.names import (
    ATHLETE,
    PARTITION_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    Names,
    athlete_of_key,
)
from strava_pipeline.our_runs import is_our_run

# The description of a new materialization that hides the last one of an asset.
HIDING_DESCRIPTION = "An athlete was disconnected: this entry hides the last materialization, which may be theirs."


def run_tag_filters(names: Names, athlete_id: int) -> list[dict[str, str]]:
    """Return the tags that find an athlete's runs, one search for each element.

    The first is our own tag; the others are the tags of Dagster for runs that were launched in its UI, and find runs of
    others, too: :func:`goes_with_athlete` tells them apart.
    """
    key = str(athlete_id)
    return [
        {names.athlete_tag: key},
        {f"{PARTITION_TAG}/{ATHLETE}": key},
        {PARTITION_TAG: key},
        {RANGE_START_TAG: key, RANGE_END_TAG: key},
    ]


def goes_with_athlete(
    names: Names, athlete_id: int, assets: Collection[str], tags: Mapping[str, str], *, is_own: bool
) -> bool:
    """Whether a run goes with an athlete who is disconnected: it is ours, and worked on nobody else.

    A run that makes assets of a host, or is of a host's job, stays: what it has made would be gone from Dagster.

    ``assets``: the keys of those that it makes or checks, their parts joined by slashes. ``is_own``: Dagster serves us
    alone.
    """
    # A range may begin or end with another athlete.
    ends = (tags[name] for name in (RANGE_START_TAG, RANGE_END_TAG) if name in tags)
    if any(athlete_of_key(end) != str(athlete_id) for end in ends):
        return False
    return is_our_run(names, assets, tags, is_own=is_own)
