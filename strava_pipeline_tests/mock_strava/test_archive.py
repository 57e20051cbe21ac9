"""Archives of the mock, which the reader of Strava's archives must read as they were meant."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from strava_pipeline.files.archive.opening import open_archive
from strava_pipeline.files.archive.recording_bytes import recording_bytes
from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.files.archive.side_tables import read_bikes, read_preferences, read_profile, read_shoes
from strava_pipeline.files.archive.table import activity_table
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.reading import read_recording
from strava_pipeline.files.shaping import Shaped, shape
from strava_pipeline.mock_strava.archive import LAYOUTS, WrittenArchive, write_archive
from strava_pipeline.mock_strava.archive_activity import told_activity
from strava_pipeline.mock_strava.archive_languages import LANGUAGES
from strava_pipeline.mock_strava.archive_recordings import Way
from strava_pipeline.mock_strava.archive_row import row_values
from strava_pipeline.mock_strava.archive_tables import OTHERS_SECRET
from strava_pipeline.mock_strava.history import generate_history, generate_world
from strava_pipeline.mock_strava.world import Activity, Person
from strava_pipeline_tests.mock_strava.callers import NOON

SEED = 3
NOW = datetime.fromtimestamp(NOON, UTC)
# What rows hold under other names, or by both of two columns.
NOT_COMPARED = frozenset({"media", "filename"})


@cache
def person() -> Person:
    return generate_history(24, NOON)


def activities() -> list[Activity]:
    return list(person().activities.values())


def written(folder: Path, language: str = "en", layout: int = 103, count: int | None = None) -> WrittenArchive:
    return write_archive(
        folder / "export_118204771.zip",
        athlete=person(),
        activities=activities()[:count],
        language=language,
        seed=SEED,
        layout=layout,
        taken=NOW,
    )


def rows_of(archive: WrittenArchive) -> dict[int, ArchiveRow]:
    with open_archive(archive.path) as members:
        rows = list(activity_table(members).rows({}, NOW))
    return {row.id: row for row in rows if isinstance(row, ArchiveRow)}


def told_by(row: ArchiveRow, name: str) -> Any:
    if name.startswith("weather_"):
        return None if row.weather is None else getattr(row.weather, name.removeprefix("weather_"))
    return getattr(row, name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> WrittenArchive:
    return written(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_rows_of_each_language_and_layout_read_as_they_were_meant(tmp_path: Path, language: str, layout: int) -> None:
    archive = written(tmp_path, language, layout, count=8)
    rows = rows_of(archive)
    assert set(rows) == {activity.id for activity in activities()[:8]}
    with open_archive(archive.path) as members:
        columns = {column.name for column in activity_table(members).layout.columns if column}
    assert len(columns) == layout
    for activity in activities()[:8]:
        told, row = told_activity(activity), rows[activity.id]
        gear = person().gear.get(told.body["gear_id"] or "")
        meant = row_values(told, LANGUAGES[language], "", gear, person().athlete["weight"])
        for name in columns & set(meant) - NOT_COMPARED:
            # A blank cell is no text, but a name may be empty.
            value = meant[name] if name == "name" else None if meant[name] == "" else meant[name]
            assert told_by(row, name) == value, name
        assert row.sport in {None, activity.summary()["sport_type"]}
        assert row.unknown == ()


def test_figures_are_those_that_the_api_tells(whole: WrittenArchive) -> None:
    rows = rows_of(whole)
    for activity in activities():
        body, row = activity.detail(), rows[activity.id]
        assert row.start == datetime.fromisoformat(body["start_date"])
        assert (row.elapsed_s, row.moving_s) == (body["elapsed_time"], body["moving_time"])
        assert row.distance_m == pytest.approx(body["distance"], abs=0.05)
        assert row.gear_id == body["gear_id"]
        assert row.calories_kcal == body["calories"]
        assert len(row.media or ()) == body["total_photo_count"]


def test_a_world_of_as_many_months_has_the_same_activities() -> None:
    world = generate_world(12, NOON)
    mine = {activity.id: activity.summary() for activity in world.newest_first(person().id)}
    assert {activity.id: activity.summary() for activity in activities()} == dict(
        list(mine.items())[: len(activities())]
    )


def shaped(archive: WrittenArchive, row: ArchiveRow) -> tuple[FileKind, Shaped]:
    assert row.filename is not None
    with open_archive(archive.path) as members:
        found = recording_bytes(row.filename, members.read(row.filename))
    recording = read_recording(found.kind, found.data, check=True)
    assert recording.damage == ()
    elapsed = None if row.elapsed_s is None else round(row.elapsed_s)
    streams = shape(
        recording, start=row.start, elapsed_s=elapsed, distance_m=row.distance_m, activity_id=row.id, athlete_id=1
    )
    return found.kind, streams


def test_streams_of_recordings_are_those_that_the_api_tells(whole: WrittenArchive) -> None:
    rows = rows_of(whole)
    kinds = []
    for activity in activities():
        if whole.ways[activity.id] in {Way.NONE, Way.FAILED}:
            continue
        kind, found = shaped(whole, rows[activity.id])
        kinds.append(kind)
        told = {name: stream["data"] for name, stream in activity.source.streams().items()}
        assert found.is_cropped == (whole.ways[activity.id] is Way.UNCROPPED)
        assert found.streams.time == told["time"]
        assert found.streams.altitude == told.get("altitude")
        assert (found.streams.heartrate, found.streams.cadence) == (told.get("heartrate"), told.get("cadence"))
        assert (found.streams.watts, found.streams.temp) == (told.get("watts"), told.get("temp"))
        if "latlng" in told:
            assert list(zip(found.streams.latitude or (), found.streams.longitude or (), strict=True)) == [
                tuple(point) for point in told["latlng"]
            ]
        if kind is FileKind.FIT:
            assert found.streams.distance == pytest.approx(told["distance"], abs=0.05 + 1e-9)
    assert set(kinds) == {FileKind.FIT, FileKind.GPX}


def test_there_is_one_of_each_kind(whole: WrittenArchive) -> None:
    counts = whole.counts()
    assert counts[Way.UNCROPPED] == counts[Way.FAILED] == counts[Way.APP] == counts[Way.APP_UPLOAD] == 1
    assert counts[Way.NONE] > 0
    rows = rows_of(whole)
    for number, way in whole.ways.items():
        row = rows[number]
        assert row.export_failed == (way is Way.FAILED)
        assert (row.filename is None) == (way in {Way.FAILED, Way.NONE})
        assert row.from_upload == (way is not Way.NONE)
        if way is Way.APP:
            assert row.filename == f"activities/{number}.gpx"


def test_tables_beside_it_tell_of_the_athlete(whole: WrittenArchive) -> None:
    with open_archive(whole.path) as members:
        profile, preferences = read_profile(members), read_preferences(members)
        (bike,), (shoe,) = read_bikes(members), read_shoes(members)
        assert members.listing.newest == NOW
        assert members.listing.media > 0
        assert not any(OTHERS_SECRET.encode() in members.read(name) for name in members.listing.sizes)
    assert profile is not None
    assert (profile.athlete_id, profile.firstname, profile.weight_kg) == (person().id, "Nora", 68.4)
    assert (preferences.ftp_w, preferences.max_heartrate_bpm, preferences.measurement_preference) == (
        262,
        188,
        "meters",
    )
    assert (bike.name, bike.brand, shoe.model) == ("Gravel Queen 👑", "Maker A", "Model 2")


def test_one_seed_gives_one_archive(tmp_path: Path, whole: WrittenArchive) -> None:
    assert written(tmp_path).path.read_bytes() == whole.path.read_bytes()


def test_the_seed_chooses_language_and_order(tmp_path: Path) -> None:
    seen = set()
    for seed in range(12):
        archive = write_archive(tmp_path / "a.zip", athlete=person(), activities=activities()[:2], seed=seed)
        with zipfile.ZipFile(archive.path) as members:
            ids = [line.split(b",")[0] for line in members.read("activities.csv").splitlines() if line[:2].isdigit()]
        seen |= {archive.language, ids == sorted(ids)}
    assert len(seen) > 5
    assert {True, False} <= seen
