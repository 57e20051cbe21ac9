"""Athletes at Strava and what they do in a simulated year, drawn from a seed; each change is kept with its time."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from strava_pipeline.mock_strava.shapes import DETAIL_ONLY, JsonObject, type_of
from strava_pipeline.mock_strava.world import Activity, Person, World
from strava_pipeline_tests.strava_stand_in import activity_body, stream_body

DAY_S = 86_400
YEAR_S = 365.25 * DAY_S
FIRST_ATHLETE = 1001
FEWEST_SAMPLES, MOST_SAMPLES = 4, 30
SPORTS = ("Ride", "GravelRide", "Run", "TrailRun")
# Strava's ids grow; gear's are of their own kind.
FIRST_ACTIVITY = 10_000
# Of the activities that change, every second is one of the newest.
NEWEST = 10


@dataclass(frozen=True)
class Recording:
    """Where an activity's bodies come from: a detail, with streams of as many samples as it lasts seconds."""

    body: JsonObject

    @property
    def id(self) -> int:
        number: int = self.body["id"]
        return number

    @property
    def start(self) -> float:
        return datetime.fromisoformat(self.body["start_date"]).timestamp()

    @property
    def private(self) -> bool:
        return bool(self.body["private"])

    def summary(self) -> JsonObject:
        return {name: value for name, value in self.body.items() if name not in DETAIL_ONLY}

    def detail(self, *, all_efforts: bool) -> JsonObject:
        return dict(self.body)

    def streams(self) -> Any:
        return stream_body(self.body["elapsed_time"])

    def laps(self) -> list[JsonObject]:
        raise NotImplementedError

    def zones(self) -> list[JsonObject]:
        raise NotImplementedError


@dataclass(frozen=True)
class Change:
    """One thing that happened at Strava at a time (epoch s); ``event``: the webhook that tells of it, if one does."""

    at: float
    what: str
    event: JsonObject | None = None


@dataclass
class SimulatedWorld:
    """The athletes of the mock, and what happened to each activity; ``rate`` multiplies how much they do."""

    chance: random.Random
    began: float
    athletes: int
    years: int
    activities_a_year: int
    rate: float = 1.0
    strava: World = field(init=False)
    history: dict[int, list[Change]] = field(default_factory=lambda: defaultdict(list))
    _activities: int = FIRST_ACTIVITY
    _bikes: int = 0

    def __post_init__(self) -> None:
        self.strava = World([_person(FIRST_ATHLETE + number) for number in range(self.athletes)])
        for athlete_id in self.strava.people:
            self._buy_bike(athlete_id)
            starts = [self.chance.uniform(0, self.years) for _ in range(self.years * self.activities_a_year)]
            for ago in sorted(starts, reverse=True):
                self._add(athlete_id, self.began - ago * YEAR_S - 3600)

    @property
    def people(self) -> list[int]:
        """The athletes' ids."""
        return list(self.strava.people)

    def scopes(self, athlete_id: int) -> tuple[str, ...]:
        """What an athlete allows: every third does not share private activities."""
        return ("read", "activity:read" if athlete_id % 3 == 0 else "activity:read_all", "profile:read_all")

    def truth(self, athlete_id: int) -> dict[int, JsonObject]:
        """Return the details of the activities that the app may see, by id."""
        sees_private = "activity:read_all" in self.scopes(athlete_id)
        return {
            number: activity.source.detail(all_efforts=True)
            for number, activity in self.strava.people[athlete_id].activities.items()
            if sees_private or not activity.private
        }

    def gear(self, athlete_id: int) -> dict[str, JsonObject]:
        """Return an athlete's gear, retired or not, by id."""
        return self.strava.people[athlete_id].gear

    def plan_day(self, midnight: float) -> Iterator[tuple[float, Callable[[], Change | None]]]:
        """Yield what the athletes will do on a day: when (epoch s), and a function that does it; in no order."""
        habits: dict[Callable[[int, float], Change | None], float] = {
            self._ride: 0.35,
            self._like: 0.2,
            self._rename: 0.05,
            self._edit: 0.06,
            self._crop: 0.03,
            self._delete: 0.03,
            self._hide_or_show: 0.03,
            self._retire_bike: 0.004,
        }
        for athlete_id in self.people:
            for habit, a_day in habits.items():
                at = midnight + self.chance.uniform(0, DAY_S)
                if self.chance.random() < self.rate * a_day:
                    yield at, _doing(habit, athlete_id, at)

    def _ride(self, athlete_id: int, at: float) -> Change:
        # Every tenth is uploaded late.
        late_s = self.chance.uniform(0, 60 * DAY_S) if self.chance.random() < 0.1 else 0.0
        number = self._add(athlete_id, at - late_s - 3600)
        return self._note(athlete_id, number, at, "created", _event("create"))

    def _like(self, athlete_id: int, at: float) -> Change | None:
        return self._change(athlete_id, at, lambda body: {"kudos_count": body["kudos_count"] + 1})

    def _rename(self, athlete_id: int, at: float) -> Change | None:
        if self.chance.random() < 0.5:
            name = f"Ride of {at:.0f}"
            return self._change(athlete_id, at, lambda _: {"name": name}, _event("update", title=name))
        sport = self.chance.choice(SPORTS)
        changes = {"sport_type": sport, "type": type_of(sport)}
        return self._change(athlete_id, at, lambda _: changes, _event("update", type=type_of(sport)))

    def _edit(self, athlete_id: int, at: float) -> Change | None:
        """Change what no webhook tells of."""
        bikes = [bike["id"] for bike in self.strava.people[athlete_id].athlete["bikes"]]
        changes = self.chance.choice(({"gear_id": bikes[-1]}, {"gear_id": None}, {"commute": True}, {"commute": False}))
        return self._change(athlete_id, at, lambda _: changes)

    def _crop(self, athlete_id: int, at: float) -> Change | None:
        def shorter(body: JsonObject) -> JsonObject:
            left = max(FEWEST_SAMPLES - 1, body["elapsed_time"] - self.chance.randint(1, 3))
            return {"elapsed_time": left, "moving_time": left, "distance": 5.0 * left}

        return self._change(athlete_id, at, shorter)

    def _hide_or_show(self, athlete_id: int, at: float) -> Change | None:
        """Change who may see an activity. An app that may not see private ones is told of a deletion or creation."""
        picked = self._pick(athlete_id)
        if picked is None:
            return None
        hides = not picked.private
        changes = {"private": hides, "visibility": "only_me" if hides else "everyone"}
        if "activity:read_all" in self.scopes(athlete_id):
            event = _event("update", private=str(hides).lower())
        else:
            event = _event("delete" if hides else "create")
        return self._change(athlete_id, at, lambda _: changes, event, picked)

    def _delete(self, athlete_id: int, at: float) -> Change | None:
        picked = self._pick(athlete_id)
        if picked is None:
            return None
        self.strava.remove(athlete_id, picked.id)
        return self._note(athlete_id, picked.id, at, "deleted", _event("delete"))

    def _retire_bike(self, athlete_id: int, at: float) -> Change:
        """Take the oldest bike out of the profile, which has another then."""
        bought = self._buy_bike(athlete_id)
        athlete = self.strava.people[athlete_id].athlete
        retired = athlete["bikes"].pop(0)["id"]
        gear = self.gear(athlete_id)
        gear[retired] = gear[retired] | {"retired": True}
        self.history[athlete_id].append(Change(at, f"retired {retired}, bought {bought}"))
        return self.history[athlete_id][-1]

    def _change(
        self,
        athlete_id: int,
        at: float,
        changes: Callable[[JsonObject], JsonObject],
        event: JsonObject | None = None,
        picked: Activity | None = None,
    ) -> Change | None:
        activity = picked or self._pick(athlete_id)
        if activity is None:
            return None
        body = activity.source.detail(all_efforts=True)
        changed = changes(body)
        activity.source = Recording(body | changed)
        return self._note(athlete_id, activity.id, at, f"changed: {changed}", event)

    def _note(self, athlete_id: int, number: int, at: float, what: str, event: JsonObject | None) -> Change:
        about = {"object_type": "activity", "object_id": number, "owner_id": athlete_id, "event_time": int(at)}
        change = Change(at, what, None if event is None else event | about)
        self.history[number].append(change)
        return change

    def _pick(self, athlete_id: int) -> Activity | None:
        found = list(self.strava.people[athlete_id].activities.values())
        if not found:
            return None
        return self.chance.choice(found[-NEWEST:] if self.chance.random() < 0.5 else found)

    def _add(self, athlete_id: int, start: float) -> int:
        self._activities += 1
        seconds = self.chance.randint(FEWEST_SAMPLES, MOST_SAMPLES)
        bikes = [bike["id"] for bike in self.strava.people[athlete_id].athlete["bikes"]]
        body = activity_body(
            self._activities,
            datetime.fromtimestamp(int(start), UTC),
            elapsed_time=seconds,
            moving_time=seconds,
            distance=5.0 * seconds,
            total_elevation_gain=3.0 * (seconds - 1),
            kudos_count=0,
            private=False,
            visibility="everyone",
            commute=False,
            gear_id=self.chance.choice(bikes),
            athlete={"id": athlete_id},
        )
        self.strava.add(athlete_id, Activity(Recording(body)))
        return self._activities

    def _buy_bike(self, athlete_id: int) -> str:
        self._bikes += 1
        bike: JsonObject = {
            "id": f"b{self._bikes}",
            "primary": True,
            "name": f"Bike {self._bikes}",
            "nickname": "",
            "resource_state": 2,
            "retired": False,
            "distance": 1000,
            "converted_distance": 1.0,
        }
        person = self.strava.people[athlete_id]
        person.athlete["bikes"] = [*person.athlete["bikes"], bike]
        person.gear[bike["id"]] = bike | {"resource_state": 3}
        return str(bike["id"])


def _doing(habit: Callable[[int, float], Change | None], athlete_id: int, at: float) -> Callable[[], Change | None]:
    return lambda: habit(athlete_id, at)


def _event(aspect_type: str, **updates: str) -> JsonObject:
    return {"aspect_type": aspect_type, "updates": updates, "subscription_id": 1}


def _person(athlete_id: int) -> Person:
    athlete = {
        "id": athlete_id,
        "firstname": f"Athlete {athlete_id}",
        "ftp": 250,
        "weight": 70.0,
        "bikes": [],
        "shoes": [],
    }
    return Person(athlete, {})
