"""Finds the activity that a file records, where no row of an archive names the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

# How much of the shorter one both must cover, and by how much their distances may differ.
LEAST_OVERLAP: Final = 0.8
MOST_DIFFERENCE: Final = 0.05


@dataclass(frozen=True)
class Outline:
    """Start (UTC), length (s) and distance (m) of an activity, or of a file."""

    id: int
    start: datetime
    elapsed_s: float | None
    distance_m: float | None


@dataclass(frozen=True)
class Match:
    """The activity that a file records; ``None`` if it is one of its own. ``doubt``: why it was not taken for one."""

    activity_id: int | None = None
    doubt: str | None = None


def match(file: Outline, told: Iterable[Outline]) -> Match:
    """Return which of the activities that Strava tells of is the file's: of those that fit, the nearest by its start.

    They fit if they overlap by 80 % of the shorter one, and their distances differ by 5 % at most. An activity that
    only overlaps is a doubt, and so are two that are equally near.
    """
    alike = [each for each in told if _overlap(file, each) >= LEAST_OVERLAP]
    fitting = sorted((abs(each.start - file.start), each.id) for each in alike if _is_as_long(file, each))
    if not fitting:
        others = ", ".join(str(each.id) for each in sorted(alike, key=lambda each: each.id))
        return Match(doubt=f"it lasts as long as activity {others}, but has another distance" if alike else None)
    nearest, activity_id = fitting[0]
    equal = [other for distance, other in fitting if distance == nearest]
    if len(equal) > 1:
        return Match(doubt=f"it is equally like activities {', '.join(map(str, equal))}")
    return Match(activity_id)


def _overlap(one: Outline, other: Outline) -> float:
    """How much of the shorter one both cover, 0 to 1."""
    first, second = one.elapsed_s or 0.0, other.elapsed_s or 0.0
    # One that tells no length is a moment.
    shorter = max(min(first, second), 1.0)
    begin = max(one.start.timestamp(), other.start.timestamp())
    end = min(one.start.timestamp() + max(first, 1.0), other.start.timestamp() + max(second, 1.0))
    return max(0.0, end - begin) / shorter


def _is_as_long(one: Outline, other: Outline) -> bool:
    first, second = one.distance_m or 0.0, other.distance_m or 0.0
    return abs(first - second) <= MOST_DIFFERENCE * max(first, second)
