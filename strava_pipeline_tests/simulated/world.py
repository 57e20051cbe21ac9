"""Athletes at Strava and what they do in a simulated year, drawn from a seed; each state is kept with its time."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from strava_pipeline.mock_strava.athletes import zone_bodies
from strava_pipeline.mock_strava.shapes import DETAIL_ONLY, JsonObject, type_of
from strava_pipeline.mock_strava.world import Activity, Person, World
from strava_pipeline_tests.simulated.truth import Scopes, Truth, sees
from strava_pipeline_tests.strava_stand_in import activity_body, stream_body

DAY_S = 86_400
YEAR_S = 365.25 * DAY_S
FIRST_ATHLETE = 1001
# Earlier than everything else.
BEFORE = 0.0
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


Habit = Callable[[int, float], Change | None]


@dataclass
class SimulatedWorld:
    """The athletes of the mock, what happened to each activity and profile, and what was true when.

    ``rate`` multiplies how much athletes do.
    """

    chance: random.Random
    began: float
    athletes: int
    years: int
    activities_a_year: int
    rate: float = 1.0
    strava: World = field(init=False)
    truth: Truth = field(default_factory=Truth)
    # What each athlete's grant at Strava covers; it may be lost all the same.
    allowed: dict[int, Scopes] = field(default_factory=dict)
    history: dict[int, list[Change]] = field(default_factory=lambda: defaultdict(list))
    _activities: int = FIRST_ACTIVITY
    _bikes: int = 0
    _rides: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.strava = World([_person(FIRST_ATHLETE + number) for number in range(self.athletes)])
        for athlete_id in self.strava.people:
            self._buy_bike(athlete_id, BEFORE)
            starts = [self.chance.uniform(0, self.years) for _ in range(self.years * self.activities_a_year)]
            for ago in sorted(starts, reverse=True):
                self._add(athlete_id, self.began - ago * YEAR_S - 3600, BEFORE)
            self._show_profile(athlete_id, BEFORE)
            self.allowed[athlete_id] = self.usual_scopes(athlete_id)

    @property
    def people(self) -> list[int]:
        """The athletes' ids."""
        return list(self.strava.people)

    @staticmethod
    def usual_scopes(athlete_id: int) -> Scopes:
        """What an athlete allows: every third does not share private activities."""
        return ("read", "activity:read" if athlete_id % 3 == 0 else "activity:read_all", "profile:read_all")

    def visible(self, athlete_id: int) -> dict[int, JsonObject]:
        """Return the details of the activities that the app may see now, by id."""
        scopes = self.truth.grants[athlete_id].newest.scopes
        bodies = {
            number: activity.source.detail(all_efforts=True)
            for number, activity in self.strava.people[athlete_id].activities.items()
        }
        return {number: body for number, body in bodies.items() if scopes is not None and sees(scopes, body)}

    def plan_day(self, midnight: float) -> Iterator[tuple[float, Callable[[float], Change | None]]]:
        """Yield what the athletes will do on a day: when (epoch s), and a function that does it then; in no order."""
        habits: dict[Habit, float] = {
            self._ride: 0.35,
            self._like: 0.2,
            self._rename: 0.05,
            self._edit: 0.06,
            self._crop: 0.03,
            self.delete: 0.03,
            self._hide_or_show: 0.03,
            self._retire_bike: 0.004,
            self._rename_bike: 0.01,
            self._change_profile: 0.04,
        }
        for athlete_id in self.people:
            for habit, a_day in habits.items():
                at = midnight + self.chance.uniform(0, DAY_S)
                if self.chance.random() < self.rate * a_day:
                    yield at, partial(habit, athlete_id)

    def _ride(self, athlete_id: int, at: float) -> Change:
        # Every tenth is uploaded late.
        late_s = self.chance.uniform(0, 60 * DAY_S) if self.chance.random() < 0.1 else 0.0
        number = self._add(athlete_id, at - late_s - 3600, at)
        self._rides[athlete_id] += 1
        self._show_profile(athlete_id, at)
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
        if "activity:read_all" in self.allowed[athlete_id]:
            event = _event("update", private=str(hides).lower())
        else:
            event = _event("delete" if hides else "create")
        return self._change(athlete_id, at, lambda _: changes, event, picked)

    def delete(self, athlete_id: int, at: float) -> Change | None:
        """Delete one of an athlete's activities."""
        picked = self._pick(athlete_id)
        if picked is None:
            return None
        self.strava.remove(athlete_id, picked.id)
        self.truth.activities[picked.id].set(at, None)
        return self._note(athlete_id, picked.id, at, "deleted", _event("delete"))

    def _retire_bike(self, athlete_id: int, at: float) -> Change:
        """Take the oldest bike out of the profile, which has another then."""
        bought = self._buy_bike(athlete_id, at)
        athlete = self.strava.people[athlete_id].athlete
        retired = athlete["bikes"].pop(0)["id"]
        self._change_gear(athlete_id, at, retired, {"retired": True})
        return self._note_profile(athlete_id, at, f"retired {retired}, bought {bought}")

    def _rename_bike(self, athlete_id: int, at: float) -> Change:
        athlete = self.strava.people[athlete_id].athlete
        name = f"Bike of {at:.0f}"
        athlete["bikes"] = [*athlete["bikes"][:-1], athlete["bikes"][-1] | {"name": name}]
        self._change_gear(athlete_id, at, athlete["bikes"][-1]["id"], {"name": name})
        return self._note_profile(athlete_id, at, f"renamed a bike: {name}")

    def _change_profile(self, athlete_id: int, at: float) -> Change:
        """Change the name, the weight, or the FTP, on which the zones of power depend.

        Zones of heart rate stay: figures keep those under which they were computed, and so would depend on the hour.
        """
        changes = self.chance.choice(
            (
                {"firstname": f"Athlete of {at:.0f}"},
                {"weight": self.chance.randint(500, 900) / 10},
                {"ftp": self.chance.randint(150, 350)},
            )
        )
        self.strava.people[athlete_id].athlete |= changes
        self._show_profile(athlete_id, at)
        return self._note_profile(athlete_id, at, f"changed: {changes}")

    def _show_profile(self, athlete_id: int, at: float) -> None:
        """Bring the totals up to date, and keep what the profile is from now on."""
        person, rides = self.strava.people[athlete_id], self._rides[athlete_id]
        totals = {"count": rides, "distance": 1000.0 * rides, "moving_time": 600 * rides, "elapsed_time": 700 * rides}
        person.stats = {"all_ride_totals": totals | {"elevation_gain": 9.0 * rides}}
        zones = zone_bodies(person.athlete["ftp"])["power"]["zones"]
        about = {name: person.athlete[name] for name in ("firstname", "ftp", "weight")}
        self.truth.profiles[athlete_id].set(at, {"athlete": about, "zones": zones, "totals": totals})

    def _change_gear(self, athlete_id: int, at: float, gear_id: str, changes: JsonObject) -> None:
        gear = self.strava.people[athlete_id].gear
        gear[gear_id] = gear[gear_id] | changes
        self.truth.gear[gear_id].set(at, gear[gear_id])

    def _note_profile(self, athlete_id: int, at: float, what: str) -> Change:
        self.history[athlete_id].append(Change(at, what))
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
        self.truth.activities[activity.id].set(at, body | changed)
        return self._note(athlete_id, activity.id, at, f"changed: {changed}", event)

    def _note(self, athlete_id: int, number: int, at: float, what: str, event: JsonObject | None) -> Change:
        """Keep a change; Strava tells the app only of activities that it sees, or saw before."""
        about = {"object_type": "activity", "object_id": number, "owner_id": athlete_id, "event_time": int(at)}
        told = event is not None and self._is_told(athlete_id, number)
        change = Change(at, what, event | about if event is not None and told else None)
        self.history[number].append(change)
        return change

    def _is_told(self, athlete_id: int, number: int) -> bool:
        scopes = self.allowed[athlete_id]
        bodies = self.truth.activities[number].values[-2:]
        return any(body is not None and sees(scopes, body) for body in bodies)

    def _pick(self, athlete_id: int) -> Activity | None:
        found = list(self.strava.people[athlete_id].activities.values())
        if not found:
            return None
        return self.chance.choice(found[-NEWEST:] if self.chance.random() < 0.5 else found)

    def _add(self, athlete_id: int, start: float, at: float) -> int:
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
        self.truth.activities[self._activities].set(at, body)
        return self._activities

    def _buy_bike(self, athlete_id: int, at: float) -> str:
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
        self.truth.gear[bike["id"]].set(at, person.gear[bike["id"]])
        return str(bike["id"])


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
