"""Writes the archive that Strava would send an athlete of the mock: a real zip with real recordings.

Ids and figures are those that the mock's API tells of the same activities.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from strava_pipeline.mock_strava.archive_activity import generated, told_activity
from strava_pipeline.mock_strava.archive_languages import LANGUAGES, Language
from strava_pipeline.mock_strava.archive_recordings import Way, archived_recording
from strava_pipeline.mock_strava.archive_row import cells, media_names, row_values
from strava_pipeline.mock_strava.archive_tables import csv_text, side_tables
from strava_pipeline.mock_strava.world import Activity, Person

# Columns of activities.csv: the widths of real archives, the newest first.
LAYOUTS: Final = (103, 99, 94, 87, 10)
# Those of the narrowest, which has no second half.
_TEN: Final = (0, 1, 2, 3, 4, 5, 6, 9, 11, 12)
_GPX_SHARE: Final = 0.06
# Fewer recordings than these have none that is cropped, or failed.
_ENOUGH: Final = 4
_JPEG: Final = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xd9"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenArchive:
    """What was written, and of which seed. ``ways``: how the recording of each activity comes, by its id."""

    path: Path
    athlete_id: int
    language: str
    layout: int
    seed: int
    ways: dict[int, Way]

    def counts(self) -> Counter[Way]:
        return Counter(self.ways.values())


def write_archive(
    path: Path,
    *,
    athlete: Person,
    activities: Sequence[Activity],
    language: str | None = None,
    seed: int = 1,
    layout: int = LAYOUTS[0],
    taken: datetime | None = None,
) -> WrittenArchive:
    """Write an athlete's archive of these made-up activities.

    ``language``: a key of :data:`LANGUAGES`; ``None``: the seed chooses. ``layout``: how many columns the table has,
    one of :data:`LAYOUTS`. The seed chooses the order of the rows, too, and which recordings are GPX, cropped or
    missing. ``taken``: when Strava wrote it (UTC); ``None``: now.
    """
    rng = np.random.default_rng(seed)
    chosen = str(rng.choice(sorted(LANGUAGES)))
    words = LANGUAGES[language or chosen]
    ordered = sorted(activities, key=lambda activity: activity.id, reverse=bool(rng.integers(2)))
    ways = _ways(ordered, rng)
    at = (taken or datetime.now(UTC)).astimezone(UTC).timetuple()[:6]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:

        def write(name: str, data: bytes) -> None:
            member = zipfile.ZipInfo(name, at)
            is_packed = name.endswith((".gz", ".jpg"))
            member.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            archive.writestr(member, data)

        headers = _columns(words, layout)
        rows = [list(headers.values())]
        for activity in ordered:
            told = told_activity(activity)
            recording = archived_recording(told, ways[activity.id])
            gear = athlete.gear.get(told.body["gear_id"] or "")
            values = row_values(told, words, recording.filename, gear, athlete.athlete.get("weight"))
            rows.append(cells(values, headers, words))
            if recording.data is not None:
                write(recording.filename, recording.data)
            for name in media_names(activity.id, told.body["total_photo_count"]):
                write(name, _JPEG)
        write("activities.csv", csv_text(rows).encode())
        for name, data in side_tables(athlete, words).items():
            write(name, data)
    return WrittenArchive(
        path=path, athlete_id=athlete.id, language=words.code, layout=layout, seed=seed, ways=ways
    )  # fmt: skip


def _columns(language: Language, layout: int) -> dict[str, str]:
    """Return the header of each column of a layout, by the column's name."""
    if layout not in LAYOUTS:
        raise ValueError(f"no archive has a table of {layout} columns: choose one of {', '.join(map(str, LAYOUTS))}")
    headers = language.column_headers()
    names = list(headers)
    kept = [names[at] for at in _TEN] if layout == len(_TEN) else [*names[: layout - 1], names[-1]]
    return {name: headers[name] for name in kept}


def _ways(activities: Sequence[Activity], rng: np.random.Generator) -> dict[int, Way]:
    """Choose how the recording of each activity comes, by its id."""
    plans = {activity.id: generated(activity).plan for activity in activities}
    ways = {number: Way.NONE if plan.manual else Way.WHOLE for number, plan in plans.items()}
    outdoors = [number for number, plan in plans.items() if not (plan.manual or plan.trainer or plan.in_water)]
    shuffled = [int(number) for number in rng.permutation(outdoors)]
    if len(shuffled) >= _ENOUGH:
        ways[shuffled.pop()], ways[shuffled.pop()] = Way.UNCROPPED, Way.FAILED
    # Strava's app has no power meter.
    runs = [number for number in shuffled if plans[number].on_foot]
    for place, number in enumerate(runs[: max(2, round(_GPX_SHARE * len(activities)))]):
        ways[number] = Way.APP_UPLOAD if place % 2 else Way.APP
    return ways
