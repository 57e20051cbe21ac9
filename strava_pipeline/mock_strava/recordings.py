"""Recorded answers of Strava, served unchanged: one folder per athlete, one file per body.

An activity is listed as ``summaries/<id>.json`` says, if it is there, else as its body in ``activities`` does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.mock_strava.shapes import JsonObject, summary_of
from strava_pipeline.mock_strava.world import Activity, Person, World


@dataclass(frozen=True)
class RecordedActivity:
    """One recorded activity: its most detailed body, and the athlete's folder with its other parts."""

    body: JsonObject
    home: Path

    @property
    def id(self) -> int:
        number: int = self.body["id"]
        return number

    @property
    def start(self) -> float:
        return datetime.fromisoformat(self.body["start_date"]).timestamp()

    @property
    def private(self) -> bool:
        return bool(self.body.get("private"))

    def summary(self) -> JsonObject:
        return summary_of(self._read_part("summaries") or self.body)

    def detail(self, *, all_efforts: bool) -> JsonObject:  # noqa: ARG002  served as recorded
        return self.body

    def streams(self) -> Any:
        return self._read_part("streams")

    def laps(self) -> list[JsonObject]:
        found: list[JsonObject] = self._read_part("laps") or self.body.get("laps") or []
        return found

    def zones(self) -> list[JsonObject]:
        found: list[JsonObject] = self._read_part("zones") or []
        return found

    def _read_part(self, kind: str) -> Any:
        return _read_if_there(self.home / kind / f"{self.id}.json")


def load_recordings(folder: Path) -> World:
    """Return the athletes recorded in a folder or its sub-folders; ``ConfigurationError`` if there are none."""
    candidates = [folder, *sorted(child for child in folder.glob("*") if child.is_dir())]
    homes = [candidate for candidate in candidates if (candidate / "athlete.json").is_file()]
    if not homes:
        raise ConfigurationError(f"--recordings {folder}: no athlete.json in it or in a folder of it")
    return World([_person(home) for home in homes])


def _person(home: Path) -> Person:
    sources = [RecordedActivity(_read(path), home) for path in sorted((home / "activities").glob("*.json"))]
    return Person(
        athlete=_read(home / "athlete.json"),
        activities={source.id: Activity(source) for source in sources},
        stats=_read_if_there(home / "stats.json"),
        zones=_read_if_there(home / "zones.json"),
        gear={path.stem: _read(path) for path in (home / "gear").glob("*.json")},
    )


def _read_if_there(path: Path) -> Any:
    return _read(path) if path.exists() else None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--recordings: {path} cannot be read: {type(error).__name__}") from None
