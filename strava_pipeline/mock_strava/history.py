"""Generated data: two athletes with months of activities, and new activities for all athletes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from strava_pipeline.mock_strava.athletes import (
    CYCLIST,
    RUNNER,
    Profile,
    cyclist_body,
    gear_bodies,
    profile_like,
    runner_body,
    zone_bodies,
)
from strava_pipeline.mock_strava.details import detail_fields, fine_map, zone_distribution
from strava_pipeline.mock_strava.plans import (
    LONGEST_OUTING,
    Plan,
    activity_id_at,
    outings_between,
    route_for,
    speed_on_the_flat,
    track_of,
)
from strava_pipeline.mock_strava.shapes import JsonObject, stream_set
from strava_pipeline.mock_strava.summaries import summary_body
from strava_pipeline.mock_strava.world import Activity, Person, World

MONTH = timedelta(days=365.25 / 12)
# A new outing takes longer than planned by this factor, because of stops and hills, and ended REST_S seconds ago.
SLOWNESS = 1.3
REST_S = 600
# How many seconds before now a new outing indoors starts.
INDOOR_S = 6_000


@dataclass(frozen=True)
class GeneratedActivity:
    """An activity generated from a plan on each request, so that only its summary takes memory."""

    profile: Profile
    plan: Plan

    @property
    def id(self) -> int:
        return self.plan.activity_id

    @property
    def start(self) -> float:
        return self.plan.start

    @property
    def private(self) -> bool:
        return self.plan.private

    @cached_property
    def _summary(self) -> JsonObject:
        return summary_body(self.profile, self.plan, track_of(self.profile, self.plan))

    def summary(self) -> JsonObject:
        return self._summary

    def detail(self, *, all_efforts: bool) -> JsonObject:
        track = track_of(self.profile, self.plan)
        fine = fine_map(self.plan, track, self._summary["map"]["summary_polyline"])
        body = self._summary | {"map": fine} | detail_fields(self.profile, self.plan, track)
        efforts = [effort for effort in body["segment_efforts"] if all_efforts or not effort["hidden"]]
        return body | {"segment_efforts": efforts}

    def streams(self) -> Any:
        track = track_of(self.profile, self.plan)
        return None if track is None else stream_set(track.series())

    def laps(self) -> list[JsonObject]:
        found: list[JsonObject] = self.detail(all_efforts=False)["laps"]
        return found

    def zones(self) -> list[JsonObject]:
        return zone_distribution(self.profile, track_of(self.profile, self.plan))


def generate_world(months: int, now: float) -> World:
    """Generate two athletes with a history of ``months`` that ends at ``now`` (epoch s)."""
    end = datetime.fromtimestamp(now, UTC)
    people = ((CYCLIST, cyclist_body()), (RUNNER, runner_body()))
    return World(
        [_generate_person(profile, body, end - months * MONTH, end - LONGEST_OUTING) for profile, body in people]
    )


def generate_history(count: int, now: float) -> Person:
    """Generate the cyclist with the newest ``count`` activities before ``now`` (epoch s), as many months as they take.

    A world of as many months tells the same of each of them.
    """
    end = datetime.fromtimestamp(now, UTC) - LONGEST_OUTING
    months = 1
    while True:
        person = _generate_person(CYCLIST, cyclist_body(), end - months * MONTH, end)
        if len(person.activities) >= count:
            newest = sorted(person.activities.items(), reverse=True)[:count]
            return replace(person, activities=dict(newest))
        months *= 2


def generate_activity(world: World, athlete_id: int, now: float, fields: JsonObject) -> Activity:
    """Generate an activity that has just ended, or that started at the ``start_date`` in ``fields``.

    ``sport_type``, ``manual`` and ``trainer`` decide its kind; the other fields replace fields of its body.
    """
    profile = _profile(world, athlete_id)
    shaping = {key: fields[key] for key in ("sport_type", "manual", "trainer") if key in fields}
    plan = replace(Plan(0, 0, profile.sports[0], "Fresh legs", 0), **shaping)
    start = int(now) - _planned_s(profile, plan)
    if "start_date" in fields:
        start = int(datetime.fromisoformat(fields["start_date"]).timestamp())
    number = activity_id_at(start, athlete_id)
    while world.owner_of(number) is not None:
        number += 1
    activity = Activity(GeneratedActivity(profile, replace(plan, activity_id=number, start=start)))
    activity.change({key: value for key, value in fields.items() if key not in {*shaping, "start_date"}})
    return activity


def _planned_s(profile: Profile, plan: Plan) -> int:
    if plan.trainer or plan.in_water:
        return INDOOR_S
    planned = route_for(profile, plan).length_m / speed_on_the_flat(profile, plan)
    return int(planned * SLOWNESS) + REST_S


def _profile(world: World, athlete_id: int) -> Profile:
    known = {profile.athlete_id: profile for profile in (CYCLIST, RUNNER)}.get(athlete_id)
    if known is not None:
        return known
    newest = next(iter(world.newest_first(athlete_id)), None)
    return profile_like(world.people[athlete_id].athlete, newest.summary() if newest else None)


def _generate_person(profile: Profile, body: JsonObject, after: datetime, before: datetime) -> Person:
    plans = outings_between(profile, after, before)
    return Person(
        athlete=body,
        activities={plan.activity_id: Activity(GeneratedActivity(profile, plan)) for plan in plans},
        zones=zone_bodies(profile.ftp_w),
        gear=gear_bodies(profile),
    )
