"""The athletes of a mock and their activities, recorded or generated, with later changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from strava_pipeline.mock_strava.shapes import DETAIL_ONLY, JsonObject, type_of

ONLY_ME = "only_me"


class Source(Protocol):
    """The origin of an activity's bodies: a recording, or a plan from which they are generated."""

    @property
    def id(self) -> int: ...
    @property
    def start(self) -> float:
        """Start of the activity, epoch s."""

    @property
    def private(self) -> bool: ...
    def summary(self) -> JsonObject: ...
    def detail(self, *, all_efforts: bool) -> JsonObject:
        """Return the detailed body; a recorded one has all efforts in any case."""

    def streams(self) -> Any:
        """Return the stream set as object or list; ``None`` if there is none."""

    def laps(self) -> list[JsonObject]: ...
    def zones(self) -> list[JsonObject]: ...


@dataclass
class Activity:
    """An activity's source, and the fields that were changed later."""

    source: Source
    changes: JsonObject = field(default_factory=dict)

    @property
    def id(self) -> int:
        return self.source.id

    @property
    def start(self) -> float:
        """Start of the activity, epoch s."""
        changed = self.changes.get("start_date")
        return self.source.start if changed is None else datetime.fromisoformat(changed).timestamp()

    @property
    def private(self) -> bool:
        """Whether only the athlete may see the activity."""
        return bool(self.changes.get("private", self.source.private))

    def summary(self) -> JsonObject:
        """Return the summary, as in the list of activities."""
        listed = {key: value for key, value in self.changes.items() if key not in DETAIL_ONLY}
        return self.source.summary() | listed

    def detail(self, *, all_efforts: bool = True) -> JsonObject:
        """Return the detailed body, with hidden segment efforts only if ``all_efforts``."""
        return self.source.detail(all_efforts=all_efforts) | self.changes

    def change(self, fields: JsonObject) -> None:
        """Set fields of the bodies, and other fields that depend on them."""
        changes = dict(fields)
        if "visibility" in changes:
            changes["private"] = changes["visibility"] == ONLY_ME
        elif "private" in changes:
            changes["visibility"] = ONLY_ME if changes["private"] else "everyone"
        if "start_date" in changes:
            moment = datetime.fromisoformat(changes["start_date"])
            local = moment + timedelta(seconds=self.source.summary().get("utc_offset") or 0)
            changes["start_date_local"] = local.strftime("%Y-%m-%dT%H:%M:%SZ")
        if "sport_type" in changes:
            changes.setdefault("type", type_of(changes["sport_type"]))
        # This makes a new dictionary, since another thread may be reading the old one.
        self.changes = self.changes | changes


@dataclass
class Person:
    """An athlete with activities, stats, zones and gear; ``stats`` and ``zones`` are ``None`` if not recorded."""

    athlete: JsonObject
    activities: dict[int, Activity]
    stats: JsonObject | None = None
    zones: JsonObject | None = None
    gear: dict[str, JsonObject] = field(default_factory=dict)

    @property
    def id(self) -> int:
        number: int = self.athlete["id"]
        return number

    @property
    def name(self) -> str:
        """First and last name, on one line."""
        names = (str(self.athlete.get(key) or "") for key in ("firstname", "lastname"))
        return " ".join(" ".join(names).split())


class World:
    """All athletes of a mock; several threads may read and change them."""

    def __init__(self, people: list[Person]) -> None:
        self.people = {person.id: person for person in people}
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Person]:
        return iter(self.people.values())

    def newest_first(self, athlete_id: int) -> list[Activity]:
        """Return all activities of an athlete, newest first, private ones included."""
        with self._lock:
            found = list(self.people[athlete_id].activities.values())
        return sorted(found, key=lambda activity: (activity.start, activity.id), reverse=True)

    def find(self, athlete_id: int, activity_id: int) -> Activity | None:
        """Return an activity of this athlete, or ``None``."""
        with self._lock:
            return self.people[athlete_id].activities.get(activity_id)

    def owner_of(self, activity_id: int) -> int | None:
        """Return the id of the athlete whose activity this is, or ``None``."""
        with self._lock:
            return next((p.id for p in self.people.values() if activity_id in p.activities), None)

    def add(self, athlete_id: int, activity: Activity) -> None:
        with self._lock:
            self.people[athlete_id].activities[activity.id] = activity

    def remove(self, athlete_id: int, activity_id: int) -> bool:
        """Remove an activity; returns whether it existed."""
        with self._lock:
            return self.people[athlete_id].activities.pop(activity_id, None) is not None
