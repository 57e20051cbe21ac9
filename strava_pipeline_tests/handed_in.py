"""Hands in archives and files for an athlete, as an import does, but made up in a line."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Engine

from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.files.figures import activity_figures
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.recording import Channel, Device, RecordedLap, Recording, recording_id
from strava_pipeline.files.shaping import shape
from strava_pipeline.warehouse.archives.athletes import ensure_athlete
from strava_pipeline.warehouse.archives.files import HandedFile, store_file
from strava_pipeline.warehouse.archives.imports import begin_import, end_import
from strava_pipeline.warehouse.archives.merging import Merged, merge
from strava_pipeline.warehouse.archives.recordings import store_recording, to_read
from strava_pipeline.warehouse.archives.rows import store_rows
from strava_pipeline.warehouse.athletes.told_profiles import settle_profile
from strava_pipeline.warehouse.states import ArchiveKind, CameBy
from strava_pipeline_tests.strava_stand_in import RIDER

TAKEN = datetime(2025, 8, 1, tzinfo=UTC)
STEP_S = 10


def archive_row(activity_id: int, start: datetime, **more: Any) -> ArchiveRow:
    """An hour's ride of 18 km, unless ``more`` says something else."""
    told: dict[str, Any] = {
        "name": "Archived ride",
        "sport_word": "Ride",
        "sport": "Ride",
        "elapsed_s": 3600.0,
        "moving_s": 3500.0,
        "distance_m": 18000.0,
    }
    return ArchiveRow(id=activity_id, start=start, **(told | more))


def made_recording(start: datetime, *, seconds: int = 3600, mps: float = 5.0, **more: Any) -> Recording:
    """A FIT with a record every ten seconds, at even speed."""
    time = np.arange(0, seconds + 1, STEP_S, dtype=float)
    told: dict[str, Any] = {
        "kind": FileKind.FIT,
        "distance": time * mps,
        "heartrate": 120 + time % 7,
        "altitude": 100 + time / 100,
        "channels": (Channel(name="stance_time", unit="ms", values=time + 0.5),),
        "laps": (
            RecordedLap(start_s=0.0, elapsed_s=seconds / 2, timer_s=seconds / 2, distance_m=mps * seconds / 2),
            RecordedLap(start_s=seconds / 2, elapsed_s=seconds / 2, timer_s=seconds / 2, distance_m=mps * seconds / 2),
        ),
        "device": Device(manufacturer="garmin", product="Edge 530"),
        "sport": "Ride",
    }
    return Recording(start=start, time=time, **(told | more))


@dataclass
class HandIn:
    """Hands in for one athlete; ``recordings``: what a reader would find in the bytes, by id."""

    engine: Engine
    athlete_id: int = RIDER
    recordings: dict[int, Recording] = field(default_factory=dict)

    def archive(
        self,
        rows: Sequence[ArchiveRow],
        taken_at: datetime = TAKEN,
        files: Sequence[tuple[int, bytes, Recording]] = (),
        *,
        options: dict[str, Any] | None = None,
        content: str | None = None,
    ) -> int:
        """Hand in an archive with these rows, and files that rows name; return the import's number."""
        named = content or repr((rows, taken_at, [(row_id, plain) for row_id, plain, _ in files]))
        number = self._begin(ArchiveKind.ARCHIVE, named, taken_at, options)
        with self.engine.begin() as connection:
            store_rows(connection, number, self.athlete_id, rows)
            for row_id, plain, recording in files:
                store_file(connection, number, self.handed(plain, recording, row_id))
            merge(connection, self.athlete_id, [row.id for row in rows])
            end_import(connection, number, {})
        return number

    def file(self, plain: bytes, recording: Recording, taken_at: datetime = TAKEN) -> tuple[int, Merged]:
        """Hand in one file; return the import's number, and what became of it."""
        number = self._begin(ArchiveKind.FILES, repr(plain), taken_at, None)
        with self.engine.begin() as connection:
            store_file(connection, number, self.handed(plain, recording, None))
            merged = merge(connection, self.athlete_id, [])
            end_import(connection, number, {})
        return number, merged

    def read(self, activity_ids: Collection[int]) -> int:
        """Read whatever is to be read of these activities; return how many files were."""
        with self.engine.connect() as connection:
            wanted = to_read(connection, self.athlete_id, activity_ids)
        for each in wanted:
            recording = self.recordings[each.recording_id]
            shaped = shape(
                recording,
                start=each.start,
                elapsed_s=each.elapsed_s,
                distance_m=each.distance_m,
                activity_id=each.activity_id,
                athlete_id=self.athlete_id,
            )
            with self.engine.begin() as connection:
                assert store_recording(connection, each, recording, shaped)
        return len(wanted)

    def _begin(self, kind: ArchiveKind, content: str, taken_at: datetime, options: dict[str, Any] | None) -> int:
        with self.engine.begin() as connection:
            ensure_athlete(connection, self.athlete_id)
            begun = begin_import(
                connection,
                athlete_id=self.athlete_id,
                kind=kind,
                name="export.zip",
                content_hash=hashlib.sha256(content.encode()).hexdigest(),
                taken_at=taken_at,
                came_by=CameBy.COMMAND,
                options=options,
            )
            settle_profile(connection, self.athlete_id)
            return begun.id

    def handed(self, plain: bytes, recording: Recording, row_id: int | None = None) -> HandedFile:
        """Return a file as it is stored, and know what a reader would find in it."""
        number = recording_id(plain)
        self.recordings[number] = recording
        return HandedFile(
            athlete_id=self.athlete_id,
            recording_id=number,
            name=f"activities/{plain.decode()}.fit.gz",
            row_id=row_id,
            kind=recording.kind,
            body=gzip.compress(plain, mtime=0),
            figures=activity_figures(recording),
        )


def later(moment: datetime, seconds: float) -> datetime:
    return moment + timedelta(seconds=seconds)
