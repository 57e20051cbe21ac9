"""Plans of outings, week by week, generated from seeds, so that they are equal on each call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from strava_pipeline.mock_strava.athletes import HIGHEST_BPM, RESTING_BPM, Profile
from strava_pipeline.mock_strava.routes import RIDE, RUN, SEED, TRAIL, Route, Terrain, generate_route
from strava_pipeline.mock_strava.shapes import type_of
from strava_pipeline.mock_strava.tracks import (
    Effort,
    Track,
    generate_indoor_track,
    generate_outdoor_track,
    generate_pool_track,
)

ROUTES = 6
WEEK = timedelta(days=7)
FIRST_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
# No outing takes longer than this.
LONGEST_OUTING = timedelta(hours=5)
NAMES = {
    "Ride": ("Morning Ride", "Lake loop", "Sunday café ride", "Tempo ride", "Commute the long way"),
    "Run": ("Morning Run", "Easy run", "Intervals 5 x 1 km", "Lunch Run", "Long run"),
    "TrailRun": ("Trail Run", "Up the ridge", "Forest loop"),
    "Swim": ("Pool Swim", "Technique"),
}
ODD_NAMES = (
    "Schöne Runde 🚴‍♀️🌤️",
    'The "short" one, it\'s said',
    "First line\nsecond line",
    "",
    '=SUM(1,2); "tabs\tand\\slashes"',
)
ON_FOOT = frozenset({"Run", "TrailRun", "Hike", "Walk"})


@dataclass(frozen=True)
class Plan:
    """One planned outing; ``start`` in epoch s; ``route``: number of one of the athlete's routes."""

    activity_id: int
    start: int
    sport_type: str
    name: str
    route: int
    manual: bool = False
    trainer: bool = False
    private: bool = False
    hides_heartrate: bool = False

    @property
    def type(self) -> str:
        """The older, coarser name of the sport."""
        return type_of(self.sport_type)

    @property
    def on_foot(self) -> bool:
        return self.sport_type in ON_FOOT

    @property
    def in_water(self) -> bool:
        return self.sport_type == "Swim"


def outings_between(profile: Profile, after: datetime, before: datetime) -> Iterator[Plan]:
    """Yield the outings with ``after <= start < before``, oldest first."""
    week = (after - FIRST_MONDAY) // WEEK
    while FIRST_MONDAY + week * WEEK < before + WEEK:
        yield from (plan for plan in _week(profile, week) if after.timestamp() <= plan.start < before.timestamp())
        week += 1


def activity_id_at(start: int, athlete_id: int) -> int:
    """Return an id above 2^32 that grows with time, as Strava's ids do."""
    return start * 10 + athlete_id % 10


def route_for(profile: Profile, plan: Plan) -> Route:
    """Return the route of an outing."""
    return generate_route(profile.athlete_id, profile.home, _terrain(plan), plan.route)


def track_of(profile: Profile, plan: Plan) -> Track | None:
    """Return the visible samples of an outing; ``None`` for a manual entry."""
    if plan.manual:
        return None
    track = _generate_track(profile, plan)
    return replace(track, heartrate=None) if plan.hides_heartrate else track


def _generate_track(profile: Profile, plan: Plan) -> Track:
    rng = np.random.default_rng([SEED, plan.activity_id])
    effort = _effort(profile, plan, rng)
    if plan.in_water:
        return generate_pool_track(int(rng.integers(40, 100)), effort, rng)
    if plan.trainer:
        return generate_indoor_track(int(rng.integers(1800, 4500)), effort, rng)
    return generate_outdoor_track(route_for(profile, plan), effort, rng)


def speed_on_the_flat(profile: Profile, plan: Plan) -> float:
    """Return the athlete's usual speed on the flat, m/s."""
    if plan.in_water:
        return 0.95
    return profile.run_mps if plan.on_foot else profile.ride_mps


def _terrain(plan: Plan) -> Terrain:
    if plan.sport_type == "TrailRun":
        return TRAIL
    return RUN if plan.on_foot else RIDE


def _week(profile: Profile, week: int) -> Iterator[Plan]:
    """Yield three to five outings of a week; special cases take turns, so that each half year has all of them."""
    rng = np.random.default_rng([SEED, profile.athlete_id, week])
    days = np.sort(rng.choice(7, int(rng.integers(3, 6)), replace=False))
    for place, day in enumerate(days):
        sport = str(rng.choice(profile.sports))
        trainer = week % 4 == 1 and place == 1
        if trainer:
            sport = "Ride"
        elif week % 3 == 0 and place == 2:  # noqa: PLR2004  the third outing
            sport = "Swim"
        local = FIRST_MONDAY + week * WEEK + timedelta(days=int(day), seconds=int(rng.integers(6 * 3600, 18 * 3600)))
        start = int(local.replace(tzinfo=profile.zone).timestamp())
        odd = place == 1 and week % 6 < len(ODD_NAMES)
        yield Plan(
            activity_id=activity_id_at(start, profile.athlete_id),
            start=start,
            sport_type=sport,
            name=ODD_NAMES[week % 6] if odd else str(rng.choice(NAMES[sport])),
            route=int(rng.integers(ROUTES)),
            manual=week % 5 == 0 and place == 0,
            trainer=trainer,
            private=week % 3 == 1 and place == 0,
            hides_heartrate=week % 8 == 3 and place == 2,  # noqa: PLR2004  now and then
        )


def _effort(profile: Profile, plan: Plan, rng: np.random.Generator) -> Effort:
    flat = speed_on_the_flat(profile, plan) * float(rng.uniform(0.92, 1.08))
    # The temperature follows the season: warm in July, cold in January.
    day = datetime.fromtimestamp(plan.start, UTC).timetuple().tm_yday
    north = abs(profile.home.latitude)
    season = 27 - 0.35 * north - 0.22 * north * float(np.cos(2 * np.pi * (day - 20) / 365)) + float(rng.normal(0, 2))
    cycling = not plan.on_foot and not plan.in_water
    return Effort(
        flat_mps=flat,
        hill_factor=12.0 if cycling else 3.0,
        fastest_mps=17.5 if cycling else 6.0,
        standing_mps=0.9 if cycling else 0.4,
        load=float(rng.uniform(0.62, 0.85)),
        ftp_w=profile.ftp_w if cycling else None,
        resting_bpm=RESTING_BPM,
        highest_bpm=HIGHEST_BPM,
        cadence=None if plan.in_water else 86.0,
        temperature_c=None if plan.in_water else season,
    )
