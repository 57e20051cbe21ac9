"""Laps, splits, best efforts and segment efforts of a generated activity, computed from its samples."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from strava_pipeline.mock_strava import figures
from strava_pipeline.mock_strava.athletes import Profile
from strava_pipeline.mock_strava.plans import Plan, route_for
from strava_pipeline.mock_strava.routes import Route, Samples, Segment
from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.mock_strava.summaries import start_fields
from strava_pipeline.mock_strava.tracks import Track

KILOMETRE_M = 1000.0
MILE_M = 1609.344
LAP_M = {"Ride": 10_000.0, "Swim": 500.0}
SHORT_LAP_M = 1_000.0
BEST_EFFORTS = {
    "400m": 400, "1/2 mile": 805, "1K": 1000, "1 mile": 1609, "2 mile": 3219, "5K": 5000, "10K": 10_000,
    "15K": 15_000, "10 mile": 16_090, "20K": 20_000, "Half-Marathon": 21_097, "30K": 30_000, "Marathon": 42_195,
}  # fmt: skip
# Segment efforts get ids above 2^53, so that tests notice a client that reads ids as floats.
EFFORT_FACTOR = 100_000_000
_ROUNDING_M = 1e-6


@dataclass(frozen=True)
class Outing:
    """A generated activity: profile of the athlete, plan and samples."""

    profile: Profile
    plan: Plan
    track: Track

    def stretch_fields(self, number: int, name: str, first: int, last: int) -> JsonObject:
        """Return the fields that laps and efforts share, for the samples from ``first`` to ``last``."""
        visibility = "only_me" if self.plan.private else "everyone"
        began = start_fields(self.plan.start + int(self.track.time[first]), self.profile)
        return {
            "id": number,
            "resource_state": 2,
            "name": name,
            "activity": {"id": self.plan.activity_id, "visibility": visibility, "resource_state": 1},
            "athlete": {"id": self.profile.athlete_id, "resource_state": 1},
            "elapsed_time": figures.elapsed_between(self.track, first, last),
            "moving_time": figures.moving_between(self.track, first, last),
            "start_date": began["start_date"],
            "start_date_local": began["start_date_local"],
            "distance": figures.distance_between(self.track, first, last),
        }


def _stretches(track: Track, every_m: float) -> list[tuple[int, int]]:
    """Return the first and last sample of each stretch of ``every_m`` metres; the remainder is one more."""
    last = len(track.time) - 1
    marks = np.searchsorted(track.distance, np.arange(every_m, float(track.distance[-1]), every_m))
    return list(pairwise(sorted({0, *marks.tolist(), last})))


def splits(outing: Outing, every_m: float) -> list[JsonObject]:
    """Return the splits of ``every_m`` metres, the last one shorter."""
    track, found = outing.track, []
    for number, (first, last) in enumerate(_stretches(track, every_m), start=1):
        distance = figures.distance_between(track, first, last)
        moving = figures.moving_between(track, first, last)
        speed = figures.speed_over(distance, moving, 2)
        split = {
            "distance": distance,
            "elapsed_time": figures.elapsed_between(track, first, last),
            "elevation_difference": _rise(track.altitude, first, last),
            "moving_time": moving,
            "split": number,
            "average_speed": speed,
            "average_grade_adjusted_speed": speed if outing.plan.on_foot else None,
            "pace_zone": 2 if outing.plan.on_foot else 0,
        }
        if track.heartrate is not None:
            split["average_heartrate"] = float(track.heartrate[first : last + 1].mean())
        found.append(split)
    return found


def _rise(altitude: Samples | None, first: int, last: int) -> float | None:
    return None if altitude is None else round(float(altitude[last] - altitude[first]), 1)


def laps(outing: Outing) -> list[JsonObject]:
    """Return the laps that a device counts automatically."""
    track = outing.track
    edges = _stretches(track, LAP_M.get(outing.plan.type, SHORT_LAP_M))
    return [
        outing.stretch_fields(outing.plan.activity_id * 10 + number, f"Lap {number}", first, last)
        | {
            "average_speed": figures.speed_over(
                figures.distance_between(track, first, last), figures.moving_between(track, first, last)
            ),
            "max_speed": float(track.velocity[first : last + 1].max()),
            "lap_index": number,
            "split": number,
            "start_index": first,
            "end_index": last,
            "total_elevation_gain": figures.gain_between(track, first, last),
            **figures.means_between(track, first, last),
            **({"pace_zone": 2} if outing.plan.on_foot else {}),
        }
        for number, (first, last) in enumerate(edges, start=1)
    ]


def best_efforts(outing: Outing) -> list[JsonObject]:
    """Return the fastest stretch of each standard distance that the run covers."""
    found = []
    for number, (name, distance) in enumerate(BEST_EFFORTS.items()):
        if distance > outing.track.distance[-1]:
            break
        first, last = _fastest_stretch(outing.track, distance)
        found.append(
            outing.stretch_fields(outing.plan.activity_id * 100 + number, name, first, last)
            | {"distance": distance, "pr_rank": None, "achievements": [], "start_index": first, "end_index": last}
        )
    return found


def _fastest_stretch(track: Track, distance_m: float) -> tuple[int, int]:
    """Return the first and last sample of the fastest stretch of at least ``distance_m``."""
    # A rounding error must not move the end beyond the last sample.
    ends = np.searchsorted(track.distance, track.distance + distance_m - _ROUNDING_M)
    starts = np.flatnonzero(ends < len(track.time))
    first = int(starts[np.argmin(track.time[ends[starts]] - track.time[starts])])
    return first, int(ends[first])


def segment_efforts(outing: Outing) -> list[JsonObject]:
    """Return one effort for each segment on the route; every third is hidden."""
    route = route_for(outing.profile, outing.plan)
    track = outing.track
    efforts = []
    for number, segment in enumerate(route.segments):
        first, last = np.searchsorted(track.distance, (segment.start_m, segment.end_m)).tolist()
        piece = outing.stretch_fields(outing.plan.activity_id * EFFORT_FACTOR + number, segment.name, first, last)
        efforts.append(
            piece
            | {"start_index": first, "end_index": last, **figures.means_between(track, first, last)}
            | {
                "segment": _segment_body(outing.plan, route, segment),
                "pr_rank": None,
                "achievements": [],
                "visibility": piece["activity"]["visibility"],
                "kom_rank": None,
                "hidden": number % 3 == 2,  # noqa: PLR2004  each third is hidden
            }
        )
    return efforts


def _segment_body(plan: Plan, route: Route, segment: Segment) -> JsonObject:
    first, last = np.searchsorted(route.along_m, (segment.start_m, segment.end_m)).tolist()
    heights = route.altitude_m[first : last + 1]
    length = segment.end_m - segment.start_m
    return {
        "id": segment.id,
        "resource_state": 2,
        "name": segment.name,
        "activity_type": plan.type,
        "distance": round(length, 1),
        "average_grade": round(float(heights[-1] - heights[0]) / length * 100, 1),
        "maximum_grade": round(float(route.grade[first : last + 1].max()) * 100, 1),
        "elevation_high": round(float(heights.max()), 1),
        "elevation_low": round(float(heights.min()), 1),
        "start_latlng": [round(float(route.latitude[first]), 6), round(float(route.longitude[first]), 6)],
        "end_latlng": [round(float(route.latitude[last]), 6), round(float(route.longitude[last]), 6)],
        "elevation_profile": None,
        "elevation_profiles": None,
        "climb_category": 0,
        "city": None,
        "state": None,
        "country": None,
        "private": False,
        "hazardous": False,
        "starred": False,
    }
