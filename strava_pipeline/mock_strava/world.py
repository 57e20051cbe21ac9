"""The athletes of a mock and their activities, recorded or made up, and the changes made to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from strava_pipeline.mock_strava.shapes import DETAIL_ONLY, JsonObject, type_of

ONLY_ME = "only_me"


class Source(Protocol):
    """Where an activity's bodies come from: a recording, or a plan that is carried out when asked for."""

    @property
    def id(self) -> int: ...
    @property
    def start(self) -> float:
        """When it starts, epoch s."""

    @property
    def private(self) -> bool: ...
    def summary(self) -> JsonObject: ...
    def detail(self, *, all_efforts: bool) -> JsonObject:
        """The fullest body; what was recorded is shown whole."""

    def streams(self) -> Any:
        """The stream set in either form; ``None``: there is none."""

    def laps(self) -> list[JsonObject]: ...
    def zones(self) -> list[JsonObject]: ...


@dataclass
class Activity:
    """A source, and the fields that were changed since."""

    source: Source
    changes: JsonObject = field(default_factory=dict)

    @property
    def id(self) -> int:
        return self.source.id

    @property
    def start(self) -> float:
        """When it starts, epoch s."""
        changed = self.changes.get("start_date")
        return self.source.start if changed is None else datetime.fromisoformat(changed).timestamp()

    @property
    def private(self) -> bool:
        """Whether only its athlete sees it."""
        return bool(self.changes.get("private", self.source.private))

    def summary(self) -> JsonObject:
        """The body as listed."""
        listed = {key: value for key, value in self.changes.items() if key not in DETAIL_ONLY}
        return self.source.summary() | listed

    def detail(self, *, all_efforts: bool = True) -> JsonObject:
        """The fullest body there is; hidden segment efforts only with ``all_efforts``."""
        return self.source.detail(all_efforts=all_efforts) | self.changes

    def change(self, fields: JsonObject) -> None:
        """Set fields of the bodies; what follows from them follows."""
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
        # A new dictionary: another thread may be reading the old one.
        self.changes = self.changes | changes


@dataclass
class Person:
    """An athlete with everything that hangs on them; ``stats`` and ``zones``: ``None`` where none were recorded."""

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
    """All athletes of a mock; safe to read and change from several threads."""

    def __init__(self, people: list[Person]) -> None:
        self.people = {person.id: person for person in people}
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Person]:
        return iter(self.people.values())

    def newest_first(self, athlete_id: int) -> list[Activity]:
        """All activities of an athlete, private ones included."""
        with self._lock:
            found = list(self.people[athlete_id].activities.values())
        return sorted(found, key=lambda activity: (activity.start, activity.id), reverse=True)

    def find(self, athlete_id: int, activity_id: int) -> Activity | None:
        """An activity of this athlete."""
        with self._lock:
            return self.people[athlete_id].activities.get(activity_id)

    def owner_of(self, activity_id: int) -> int | None:
        """Whose activity this is."""
        with self._lock:
            return next((p.id for p in self.people.values() if activity_id in p.activities), None)

    def add(self, athlete_id: int, activity: Activity) -> None:
        with self._lock:
            self.people[athlete_id].activities[activity.id] = activity

    def remove(self, athlete_id: int, activity_id: int) -> bool:
        """Whether there was one to remove."""
        with self._lock:
            return self.people[athlete_id].activities.pop(activity_id, None) is not None
