"""Reads a damaged file as the product does, and checks that what it gives can be stored."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.activity_fields import activity_columns, extra_columns
from strava_pipeline.files.archive.gear import gear_by_id
from strava_pipeline.files.archive.names import ACTIVITIES, RECORDINGS
from strava_pipeline.files.archive.opening import open_archive
from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.files.archive.side_tables import read_bikes, read_preferences, read_profile, read_shoes
from strava_pipeline.files.archive.table import activity_table
from strava_pipeline.files.recording import Recording
from strava_pipeline.files.shaping import Shaped
from strava_pipeline.sync.archive_reading import Asked, Outline, Read, Terms, Unread, answer
from strava_pipeline_tests.fuzzed.inputs import Input, Kind

NOW = datetime(2026, 12, 1, tzinfo=UTC)
TERMS = Terms(athlete_id=1)
OUTLINES = (
    Outline(1),
    Outline(1, datetime(2026, 3, 1, 8, tzinfo=UTC), 30, 100.0),
    Outline(1, datetime(2026, 3, 1, 8, tzinfo=UTC) + timedelta(days=400), 0, 0.0),
)
# Postgres' integer and bigint.
_INTEGER, _BIGINT = 2**31, 2**63
_BIGINTS = frozenset({"id", "upload_id", "recording_id", "athlete_id"})
_LONGEST_REFUSAL = 1_000


def read_input(given: Input, folder: Path) -> bool:
    """Read an input; returns whether anything of it was read. Anything but a refusal in one line is an error."""
    try:
        match given.kind:
            case Kind.TABLE | Kind.SIDE_TABLE:
                return _read_tables(folder, given)
            case Kind.ZIP:
                path = folder / "a.zip"
                path.write_bytes(given.data)
                return _read_archive(path)
            case _:
                outline = OUTLINES[given.number % len(OUTLINES)]
                return _read_recording(Asked("a.fit.gz", given.data, outline), check=given.number % 8 == 0)
    except UnreadableFile as refused:
        _check_refusal(str(refused))
        return False


def _read_recording(asked: Asked, *, check: bool = False) -> bool:
    match answer(asked, dataclasses.replace(TERMS, check=check)):
        case Read() as read:
            _check_recording(read.recording)
            _check_shaped(read.shaped)
            check_storable(read.figures, "figures")
            return True
        case Unread(fault=fault):
            _check_refusal(fault)
    return False


def _read_tables(folder: Path, given: Input) -> bool:
    place = folder / "archive"
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    (place / given.name).write_bytes(given.data)
    return _read_archive(place)


def _read_archive(path: Path) -> bool:
    """Read all of an archive, tables and recordings."""
    with open_archive(path) as members:
        profile, preferences = read_profile(members), read_preferences(members)
        bikes, shoes = read_bikes(members), read_shoes(members)
        for what in (profile, preferences, *bikes, *shoes):
            if what is not None:
                check_storable(dataclasses.asdict(what), "side tables")
        found = sum((profile is not None, preferences.ftp_w is not None, bool(bikes), bool(shoes)))
        for name in members.listing.sizes:
            if name.startswith(RECORDINGS):
                try:
                    found += _read_recording(Asked(name, members.read(name), OUTLINES[0]))
                except UnreadableFile as refused:
                    _check_refusal(str(refused))
        if ACTIVITIES in members:
            rows = [row for row in activity_table(members).rows({}, NOW) if isinstance(row, ArchiveRow)]
            for row in rows:
                check_storable(activity_columns(row), f"row {row.id}")
                check_storable(extra_columns(row), f"row {row.id}")
                check_storable(dict(row.unknown), f"row {row.id}")
            for gear in gear_by_id(rows, bikes, shoes).values():
                check_storable(dataclasses.asdict(gear), "gear")
            found += len(rows)
    return found > 0


def _check_refusal(text: str) -> None:
    assert text
    assert text.isprintable(), text
    assert len(text) < _LONGEST_REFUSAL, text


def _check_recording(recording: Recording) -> None:
    for name in ("time", "latitude", "longitude", "altitude", "distance", "speed", "heartrate", "watts", "temp"):
        values = getattr(recording, name)
        if values is not None:
            assert len(values) == recording.record_count, name
            assert not np.isinf(values).any(), name
    for channel in recording.channels:
        assert len(channel.values) == recording.record_count, channel.name
        assert not np.isinf(channel.values).any(), channel.name
        check_storable({"name": channel.name, "unit": channel.unit}, "channel")
    parts: list[Any] = [*recording.sessions, *recording.laps, *recording.lengths, *recording.pauses, recording.device]
    for what in parts:
        check_storable(dataclasses.asdict(what), type(what).__name__)
    told = {name: getattr(recording, name) for name in ("start", "local_offset_s", "sport", "name")}
    check_storable(told, "recording")


def _check_shaped(shaped: Shaped) -> None:
    check_storable({"start": shaped.start, "shift_s": shaped.shift_s}, "shaped")
    assert len(shaped.records) == shaped.streams.point_count
    for name in ("time", "distance", "latitude", "longitude", "altitude", "heartrate", "cadence", "watts", "temp"):
        values = getattr(shaped.streams, name)
        if values is not None:
            assert len(values) == shaped.streams.point_count, name
            known = [value for value in values if value is not None]
            assert all(math.isfinite(value) for value in known), name
    times = np.array(shaped.streams.time or [0])
    assert times.dtype == np.int64
    assert 0 <= times[0] <= times[-1] < _INTEGER
    assert (np.diff(times) > 0).all()


def check_storable(values: Mapping[str, Any], what: str) -> None:
    """Check that Postgres can hold each value: no NUL, no infinity, no number that is too large."""
    for name, value in values.items():
        for each in value if isinstance(value, list | tuple) else (value,):
            assert _is_storable(name, each), f"{what}: {name} is {each!r}"


def _is_storable(name: str, value: Any) -> bool:
    match value:
        case bool() | None:
            return True
        case int():
            most = _BIGINT if name in _BIGINTS else _INTEGER
            return -most <= value < most
        case float():
            return math.isfinite(value)
        case str():
            return "\0" not in value and value == value.encode("utf-8", "ignore").decode()
        case datetime():
            return value.tzinfo is not None
    return False
