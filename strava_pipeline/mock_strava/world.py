"""The athletes of a mock and their activities, recorded or made up, and the changes made to them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from strava_pipeline.errors import ConfigurationError

JsonObject = dict[str, Any]


@dataclass
class Recording:
    """One activity: its fullest body, and its streams (``None``: there are none), made when first asked for."""

    body: JsonObject
    streams: Callable[[], Any] = field(default=lambda: None, repr=False)

    @property
    def start(self) -> float:
        """When it starts, epoch s."""
        return datetime.fromisoformat(self.body["start_date"]).timestamp()


@dataclass
class Person:
    """An athlete with everything that hangs on them."""

    athlete: JsonObject
    activities: dict[int, Recording]
    stats: JsonObject = field(default_factory=dict)
    zones: JsonObject = field(default_factory=dict)
    gear: dict[str, JsonObject] = field(default_factory=dict)

    @property
    def id(self) -> int:
        number: int = self.athlete["id"]
        return number


class World:
    """All athletes of a mock; safe to read and change from several threads."""

    def __init__(self, people: list[Person]) -> None:
        self.people = {person.id: person for person in people}
        self._lock = threading.Lock()

    def newest_first(self, athlete_id: int) -> list[Recording]:
        with self._lock:
            found = list(self.people[athlete_id].activities.values())
        return sorted(found, key=lambda recording: recording.start, reverse=True)

    def find(self, athlete_id: int, activity_id: int) -> Recording | None:
        with self._lock:
            return self.people[athlete_id].activities.get(activity_id)

    def owner_of(self, activity_id: int) -> int | None:
        with self._lock:
            return next((p.id for p in self.people.values() if activity_id in p.activities), None)

    def add(self, athlete_id: int, recording: Recording) -> None:
        with self._lock:
            self.people[athlete_id].activities[recording.body["id"]] = recording

    def remove(self, athlete_id: int, activity_id: int) -> bool:
        with self._lock:
            return self.people[athlete_id].activities.pop(activity_id, None) is not None


def load_recordings(folder: Path) -> World:
    """The athletes recorded in a folder, or in its sub-folders. ``ConfigurationError`` if there are none."""
    candidates = [folder, *sorted(child for child in folder.glob("*") if child.is_dir())]
    homes = [candidate for candidate in candidates if (candidate / "athlete.json").is_file()]
    if not homes:
        raise ConfigurationError(f"--recordings {folder}: no athlete.json in it or in a folder of it")
    return World([_person(home) for home in homes])


def _person(home: Path) -> Person:
    streams = {int(path.stem): path for path in (home / "streams").glob("*.json")}
    recordings = [Recording(_read(path)) for path in sorted((home / "activities").glob("*.json"))]
    for recording in recordings:
        path = streams.get(recording.body["id"])
        if path is not None:
            recording.streams = lambda path=path: _read(path)  # type: ignore[misc]  # binds the loop's value
    return Person(
        athlete=_read(home / "athlete.json"),
        activities={recording.body["id"]: recording for recording in recordings},
        stats=_read(home / "stats.json", {}),
        zones=_read(home / "zones.json", {}),
        gear={path.stem: _read(path) for path in (home / "gear").glob("*.json")},
    )


def _read(path: Path, missing: Any = None) -> Any:
    if missing is not None and not path.exists():
        return missing
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--recordings: {path} cannot be read: {type(error).__name__}") from None


def athletes_in(world: World) -> Iterator[tuple[int, str, int]]:
    """Id, name and number of activities of each athlete."""
    for person in world.people.values():
        name = " ".join(str(person.athlete.get(key) or "") for key in ("firstname", "lastname")).strip()
        yield person.id, name, len(person.activities)
