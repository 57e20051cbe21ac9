"""An archive becomes an athlete's history: rows, streams, figures, and a report of what is wrong with it."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from concurrent.futures import Future
from contextlib import nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update

from strava_pipeline.errors import (
    ActivityOfAnother,
    AlreadyImported,
    ArchiveImportRunning,
    NeedsReauthorization,
    UnreadableFile,
)
from strava_pipeline.settings import Settings
from strava_pipeline.sync.archive_import import hand_in, import_archive
from strava_pipeline.sync.archive_options import ArchiveOptions
from strava_pipeline.sync.archive_reading import Answer, Asked, unread
from strava_pipeline.sync.archive_report import Report
from strava_pipeline.warehouse.archives.imports import LEASE, list_imports
from strava_pipeline.warehouse.archives.undo import undo_import
from strava_pipeline.warehouse.schema import archive_tables, tables
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.quota_tables import api_calls
from strava_pipeline.warehouse.states import ArchiveKind, ArchiveState, GrantState
from strava_pipeline_tests.sync.handing_in import (
    ARCHIVES,
    ATHLETE,
    EXPORT,
    FIT,
    HAZARDS,
    RUN,
    archive_of,
    hand,
    handing,
    here,
    rows_of,
)

EXPECTED = json.loads((ARCHIVES / "expected.json").read_text(encoding="utf-8"))
# What depends on the language or the width of a table, and not on what was done.
OF_THE_TABLE = ("sport_word", "unknown", "taken_at", "gear_name")


def activity_of(engine: Engine, activity_id: int = RUN) -> dict[str, Any]:
    return next(row for row in rows_of(engine, tables.activities) if row["id"] == activity_id)


def state_of(engine: Engine) -> list[ArchiveState]:
    with engine.connect() as connection:
        return [each.state for each in list_imports(connection)]


def test_a_whole_export_becomes_a_history(engine: Engine, settings: Settings) -> None:
    report = hand(engine, settings, EXPORT, options=ArchiveOptions())
    activity, (expected,) = activity_of(engine), EXPECTED["export_en94"]
    assert (activity["name"], activity["sport_type"]) == (expected["name"], expected["type_en"])
    assert activity["start_date"] == datetime.fromisoformat(expected["start"])
    assert (activity["elapsed_time"], activity["moving_time"]) == (1428, 1411)
    assert activity["distance"] == pytest.approx(expected["distance_m"], abs=0.05)
    assert (activity["told_by_api"], activity["visibility"]) == (False, "only_me")
    (streams,) = rows_of(engine, tables.activity_streams)
    assert (streams["point_count"], streams["source"]) == (326, "file")
    assert streams["time"][0] == 0
    (recording,) = rows_of(engine, archive_tables.recordings)
    assert (recording["record_count"], recording["is_used"], recording["damage"]) == (326, True, [])
    assert len(rows_of(engine, tables.laps)) == 4
    assert (report.rows, report.recordings, report.matched, report.without_file, report.requests) == (1, 1, 1, 0, 0)
    assert rows_of(engine, api_calls) == []


def test_a_recording_whose_reader_was_ended_is_read_by_the_same_import_again(
    engine: Engine, settings: Settings
) -> None:
    report = hand_in(engine, settings, handing(EXPORT), lambda _: nullcontext(EndedReader()))
    assert (report.recordings, report.unreadable, report.postponed) == (1, 1, 1)
    assert rows_of(engine, archive_tables.archive_files) == []
    again = hand(engine, settings, EXPORT)
    assert (again.import_id, again.matched, again.unreadable, again.postponed) == (report.import_id, 1, 0, 0)
    with pytest.raises(AlreadyImported):
        hand(engine, settings, EXPORT)


def test_a_recording_that_is_never_read_is_a_fault_after_the_third_try(engine: Engine, settings: Settings) -> None:
    found = [hand_in(engine, settings, handing(EXPORT), lambda _: nullcontext(EndedReader())) for _ in range(3)]
    assert [each.postponed for each in found] == [1, 1, 0]
    assert [each.unreadable for each in found] == [1, 1, 1]
    assert [each.faults[0].endswith("to try it once more") for each in found] == [True, True, False]
    with pytest.raises(AlreadyImported):
        hand(engine, settings, EXPORT)
    undo_import(engine, found[0].import_id)
    assert hand(engine, settings, EXPORT).matched == 1


class EndedReader:
    """A reader whose process is killed with each file."""

    def read(self, asked: Asked) -> Future[Answer]:
        found: Future[Answer] = Future()
        found.set_result(unread(asked, "was not read", is_passing=True))
        return found


def test_a_name_that_no_index_holds_is_a_stray(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    shutil.copy(EXPORT, path)
    long = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(100))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"activities/{long}.fit", (FIT / "plain_run.fit").read_bytes())
    report = hand(engine, settings, path)
    assert (report.rows, report.recordings, report.strays) == (1, 1, 1)


def test_the_athlete_of_an_archive_has_a_name_and_no_grant(engine: Engine, settings: Settings) -> None:
    hand(engine, settings, EXPORT)
    (user,) = rows_of(engine, users)
    (athlete,) = rows_of(engine, tables.athletes)
    assert (user["athlete_id"], user["state"], user["scopes"]) == (ATHLETE, GrantState.ARCHIVE_ONLY, [])
    assert (athlete["firstname"], athlete["lastname"]) == ("Alex", "Sample")


@pytest.mark.parametrize("table", sorted(EXPECTED["csv"]))
def test_rows_have_the_expected_values(engine: Engine, settings: Settings, tmp_path: Path, table: str) -> None:
    report = hand(engine, settings, archive_of(tmp_path / "export", ARCHIVES / "csv" / table))
    stored = {row["id"]: row for row in rows_of(engine, tables.activities)}
    expected = EXPECTED["csv"][table]
    assert stored.keys() == {each["id"] for each in expected}
    assert report.rows == len(expected)
    for each in expected:
        row = stored[each["id"]]
        assert (row["name"], row["start_date"]) == (each["name"], datetime.fromisoformat(each["start"]))
        assert (row["elapsed_time"], row["description"]) == (each["elapsed"], each["description"] or None)
        for column, told in (
            ("distance", each["distance_m"]),
            ("moving_time", each["moving"]),
            ("total_elevation_gain", each["elev_gain"]),
            ("average_heartrate", each["avg_hr"]),
            ("max_speed", each["max_speed"]),
        ):
            assert row[column] == (
                None if told is None else pytest.approx(told, abs=0.51 if "time" in column else 0.06)
            )
        assert row["commute"] == each["commute"]
        assert (row["gear_id"] or "")[1:] == (each["bike_id"] or each["shoe_id"] or "")


@pytest.mark.parametrize("table", ["de99.csv", "fr103.csv"])
def test_a_table_in_another_language_gives_the_same_rows(
    engine: Engine, settings: Settings, tmp_path: Path, table: str
) -> None:
    english, other = (
        stored_rows(engine, settings, archive_of(tmp_path / name, ARCHIVES / "csv" / name), athlete_id)
        for athlete_id, name in ((1, "en99.csv"), (2, table))
    )
    assert other == english
    assert len(english[0]) == len(EXPECTED["csv"]["en99.csv"])


def stored_rows(
    engine: Engine, settings: Settings, path: Path, athlete_id: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What an archive gives of activities and figures, and nothing is left of it then."""
    hand(engine, settings, path, athlete_id, ArchiveOptions(trust_athlete=True, taken=date(2026, 1, 1)))
    activities = rows_of(engine, tables.activities, without=("athlete_id",))
    figures = rows_of(engine, archive_tables.archive_figures, without=("athlete_id", *OF_THE_TABLE))
    with engine.begin() as connection:
        for table in (tables.activities, archive_tables.archive_figures, archive_tables.archive_rows):
            connection.execute(table.delete())
    return activities, figures


def test_an_old_narrow_table_gives_the_same_in_its_columns(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    wide, _ = stored_rows(engine, settings, archive_of(tmp_path / "a", ARCHIVES / "csv" / "en99.csv"), 1)
    narrow, _ = stored_rows(engine, settings, archive_of(tmp_path / "b", ARCHIVES / "csv" / "en10_2018.csv"), 2)
    columns = ("id", "start_date", "name", "sport_type", "description", "elapsed_time", "commute")
    assert [[row[name] for name in columns] for row in narrow] == [[row[name] for name in columns] for row in wide]
    for one, other in zip(narrow, wide, strict=True):
        assert one["distance"] == pytest.approx(other["distance"], abs=0.06)


def test_the_same_archive_twice_changes_nothing_and_says_so(engine: Engine, settings: Settings) -> None:
    first = hand(engine, settings, EXPORT)
    before = everything(engine)
    with pytest.raises(AlreadyImported, match=f"archive import {first.import_id}"):
        hand(engine, settings, EXPORT)
    assert everything(engine) == before


def everything(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    return {
        table.name: rows_of(engine, table)
        for table in (
            *(tables.activities, tables.activity_streams, tables.laps, tables.gear, tables.athletes),
            *(archive_tables.archive_figures, archive_tables.recordings, archive_tables.recording_channels),
            *(archive_tables.archive_rows, archive_tables.archive_files, archive_tables.archive_imports),
        )
    }


def test_a_newer_archive_reads_no_recording_again(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    hand(engine, settings, EXPORT)
    (before,) = rows_of(engine, archive_tables.recordings)
    newer = unpacked(tmp_path)
    table = (newer / "activities.csv").read_text(encoding="utf-8")
    (newer / "activities.csv").write_text(table.replace("Morning Lap", "Evening Lap"), encoding="utf-8")
    report = hand(engine, settings, newer, options=ArchiveOptions(taken=date(2026, 11, 25)))
    assert activity_of(engine)["name"] == "Evening Lap"
    assert rows_of(engine, archive_tables.recordings) == [before]
    assert (report.recordings, report.matched) == (1, 1)


def test_a_crop_in_a_newer_archive_makes_new_streams(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    hand(engine, settings, EXPORT)
    newer = unpacked(tmp_path)
    table = (newer / "activities.csv").read_text(encoding="utf-8")
    (newer / "activities.csv").write_text(cropped(table), encoding="utf-8")
    report = hand(engine, settings, newer, options=ArchiveOptions(taken=date(2026, 11, 25)))
    (streams,) = rows_of(engine, tables.activity_streams)
    assert streams["time"][-1] <= 700
    assert report.cropped == 1


def cropped(table: str) -> str:
    """The table after its owner has cropped the run to the first 700 s."""
    assert table.count("1428") >= 2
    return table.replace("1428.0", "700.0").replace(",1428,", ",700,").replace("3322.949951171875", "1600.0")


def unpacked(folder: Path) -> Path:
    shutil.unpack_archive(EXPORT, folder / "export")
    return folder / "export"


HAZARD_OUTCOMES: dict[str, dict[str, Any]] = {
    "traversal": {"rows": 1, "matched": 1, "strays": 4, "faults": ()},
    "deflate_bomb": {"rows": 1, "matched": 0, "unreadable": 1},
    "missing_member": {"rows": 1, "matched": 0, "missing": 1, "missing_files": ("activities/48856741895.fit.gz",)},
    "nested_folder_and_macosx": {"rows": 1, "matched": 1, "strays": 0, "faults": ()},
    "csv_utf16_excel": {"rows": 1, "matched": 1, "strays": 0, "faults": ()},
}


@pytest.mark.parametrize("hazard", sorted(HAZARD_OUTCOMES))
def test_a_hazard_costs_no_more_than_itself(engine: Engine, settings: Settings, hazard: str) -> None:
    report = hand(engine, settings, HAZARDS / f"{hazard}.zip")
    outcome = HAZARD_OUTCOMES[hazard]
    assert {name: getattr(report, name) for name in outcome} == outcome
    assert activity_of(engine)["name"] == "Morning Lap"
    assert len(rows_of(engine, tables.activity_streams)) == outcome["matched"]
    assert state_of(engine) == [ArchiveState.DONE]


def test_a_bomb_is_named_with_its_reason(engine: Engine, settings: Settings) -> None:
    (fault,) = hand(engine, settings, HAZARDS / "deflate_bomb.zip").faults
    assert "unpacks to more than 100 times its size" in fault


@pytest.mark.parametrize(
    ("hazard", "why"), [("duplicate_members", "two members of one name"), ("cut", "download it again")]
)
def test_an_archive_that_deceives_or_is_cut_is_refused_as_a_whole(
    engine: Engine, settings: Settings, hazard: str, why: str
) -> None:
    with pytest.raises(UnreadableFile, match=why):
        hand(engine, settings, HAZARDS / f"{hazard}.zip")
    assert rows_of(engine, tables.activities) == rows_of(engine, users) == []
    assert state_of(engine) == []


def test_an_archive_of_somebody_else_is_refused(engine: Engine, settings: Settings) -> None:
    with pytest.raises(UnreadableFile, match="is the archive of athlete 111111111"):
        hand(engine, settings, EXPORT, athlete_id=7)
    with pytest.raises(UnreadableFile, match="--trust-athlete"):
        hand(engine, settings, HAZARDS / "traversal.zip", athlete_id=7, options=ArchiveOptions())
    assert rows_of(engine, users) == []


def test_an_activity_of_another_athlete_refuses_the_whole_archive(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    hand(engine, settings, EXPORT)
    before = everything(engine)
    table = (unpacked(tmp_path) / "activities.csv").read_text(encoding="utf-8")
    header, row = table.rstrip("\n").split("\n", 1)
    others = "\n".join(row.replace(str(RUN), str(number)) for number in range(1, 1_500))
    with pytest.raises(ActivityOfAnother, match=str(RUN)):
        hand(engine, settings, archive_of(tmp_path / "theirs", f"{header}\n{others}\n{row}\n"), athlete_id=7)
    assert everything(engine) == before
    assert [user["athlete_id"] for user in rows_of(engine, users)] == [ATHLETE]


def test_nothing_is_stored_of_an_athlete_who_has_disconnected(engine: Engine, settings: Settings) -> None:
    with engine.begin() as connection:
        gone = {"athlete_id": ATHLETE, "scopes": [], "state": GrantState.REVOKED, "generation": 1}
        connection.execute(insert(users).values(**gone))
    with pytest.raises(NeedsReauthorization):
        hand(engine, settings, EXPORT)
    assert rows_of(engine, tables.activities) == []


def test_a_bad_row_is_one_line_of_the_report(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    table = (unpacked(tmp_path) / "activities.csv").read_text(encoding="utf-8")
    row = table.split("\n", 1)[1]
    report = hand(engine, settings, archive_of(tmp_path / "bad", table + row.replace("May", "Smarch") + row))
    assert (report.rows, report.skipped) == (1, {"date": 1, "double_id": 1})
    assert report.bad_rows == ("line 3: date", "line 4: double_id")


def test_bad_recordings_are_counted_by_kind(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    members = {
        f"{name}.fit": (FIT / f"{name}.fit").read_bytes() for name in ("plain_run", "cut_inside_records", "bad_crc")
    }
    for name, content in (members | {"empty.fit": b"", "text.gpx": b"hello"}).items():
        (tmp_path / name).write_bytes(content)
    report = hand(engine, settings, tmp_path, options=ArchiveOptions(check=True))
    assert report.recordings == 5
    assert report.damaged == {"checksum": 1, "cut": 1}
    assert report.unreadable == 2
    assert any("empty.fit is empty" in fault for fault in report.faults)
    assert any("text.gpx is neither FIT nor TCX nor GPX" in fault for fault in report.faults)


def test_a_file_alone_becomes_an_activity_of_its_own(engine: Engine, settings: Settings) -> None:
    report = hand(engine, settings, FIT / "plain_run.fit")
    (activity,) = rows_of(engine, tables.activities)
    (streams,) = rows_of(engine, tables.activity_streams)
    assert activity["id"] < 0
    assert (activity["sport_type"], activity["elapsed_time"]) == ("Run", 1428)
    assert (streams["activity_id"], streams["point_count"]) == (activity["id"], 326)
    assert (report.recordings, report.own, report.matched) == (1, 1, 0)
    with engine.connect() as connection:
        assert [each.kind for each in list_imports(connection)] == [ArchiveKind.FILES]


@pytest.mark.parametrize("file_first", [True, False])
def test_a_file_and_its_row_are_one_activity(engine: Engine, settings: Settings, *, file_first: bool) -> None:
    given = [FIT / "plain_run.fit", EXPORT]
    for path in given if file_first else given[::-1]:
        hand(engine, settings, path)
    (activity,) = rows_of(engine, tables.activities)
    (streams,) = rows_of(engine, tables.activity_streams)
    assert activity["id"] == streams["activity_id"] == RUN
    assert streams["point_count"] == 326


def test_a_recording_that_no_row_names_is_stored_too(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    export = unpacked(tmp_path)
    shutil.copy(FIT / "developer_fields.fit.gz", export / "activities" / "1.fit.gz")
    report = hand(engine, settings, export)
    assert (report.recordings, report.matched, report.own) == (2, 1, 1)
    assert len(rows_of(engine, tables.activity_streams)) == 2


def test_two_rows_may_share_a_recording(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    export = unpacked(tmp_path)
    table = (export / "activities.csv").read_text(encoding="utf-8")
    row = table.split("\n", 1)[1]
    (export / "activities.csv").write_text(table + row.replace(str(RUN), str(RUN + 1)), encoding="utf-8")
    report = hand(engine, settings, export)
    assert (report.rows, report.recordings, report.matched) == (2, 2, 2)
    assert [row["activity_id"] for row in rows_of(engine, tables.activity_streams)] == [RUN, RUN + 1]


def test_a_word_that_nobody_knows_is_kept_and_listed(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    table = (unpacked(tmp_path) / "activities.csv").read_text(encoding="utf-8").replace(",Run,", ",Corsetta,")
    unknown = ArchiveOptions(trust_athlete=True, taken=date(2026, 11, 29))
    report = hand(engine, settings, archive_of(tmp_path / "a", table), options=unknown)
    assert report.sport_words == {"Corsetta": 1}
    assert activity_of(engine)["sport_type"] == "Workout"
    told = ArchiveOptions(trust_athlete=True, sports=("Corsetta=Run",), taken=date(2026, 11, 30))
    again = hand(engine, settings, archive_of(tmp_path / "b", table + "\n"), options=told)
    assert again.sport_words == {}
    assert activity_of(engine)["sport_type"] == "Run"


def test_gear_of_rows_is_stored_by_its_id(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    hand(engine, settings, archive_of(tmp_path / "export", ARCHIVES / "csv" / "en99.csv"))
    named = {row["gear_id"] for row in rows_of(engine, tables.activities)} - {None}
    gear = rows_of(engine, tables.gear)
    assert named
    assert {row["id"] for row in gear} == named
    assert all(row["name"] for row in gear)


def test_months_come_newest_first_and_each_is_whole(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    path = archive_of(tmp_path / "export", ARCHIVES / "csv" / "en87_spans.csv")
    done = []
    stored = 0
    for month in import_archive(engine, settings, handing(path), here):
        done.append(month.span.start)
        stored += month.activities
        assert (month.number, len(rows_of(engine, tables.activities))) == (len(done), stored)
    assert done == sorted(done, reverse=True)
    assert len(done) == month.of


def test_an_import_that_is_ended_is_noted_and_goes_on(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    path = archive_of(tmp_path / "export", ARCHIVES / "csv" / "en87_spans.csv")
    work = import_archive(engine, settings, handing(path), here)
    next(work)
    work.close()
    assert state_of(engine) == [ArchiveState.FAILED]
    report = hand(engine, settings, path)
    assert (report.rows, state_of(engine)) == (112, [ArchiveState.DONE])
    assert len(rows_of(engine, tables.activities)) == 112


def test_the_report_is_kept_with_the_import(engine: Engine, settings: Settings) -> None:
    report = hand(engine, settings, EXPORT)
    with engine.connect() as connection:
        (kept,) = list_imports(connection)
    assert kept.report is not None
    assert Report.from_json(kept.report) == report
    assert kept.taken_at == datetime(2026, 11, 23, 16, 15, tzinfo=UTC).replace(second=kept.taken_at.second)


def test_a_grant_of_an_athlete_stays_as_it_is(engine: Engine, settings: Settings) -> None:
    with engine.begin() as connection:
        active = {"athlete_id": ATHLETE, "scopes": ["activity:read"], "state": GrantState.ACTIVE, "generation": 3}
        connection.execute(insert(users).values(**active))
        connection.execute(update(users).values(dagster_task=None))
    hand(engine, settings, EXPORT)
    (user,) = rows_of(engine, users)
    assert (user["state"], user["generation"], user["dagster_task"]) == (GrantState.ACTIVE, 3, None)


def test_an_import_that_was_silent_for_long_and_undone_meanwhile_adds_nothing(
    engine: Engine, settings: Settings
) -> None:
    work = import_archive(engine, settings, handing(EXPORT), here)
    next(work)
    with engine.begin() as connection:
        connection.execute(update(archive_tables.archive_imports).values(alive_at=database_time() - LEASE))
        (begun,) = list_imports(connection)
    undo_import(engine, begun.id)
    with pytest.raises(ArchiveImportRunning, match="is undone: this process ends its work"):
        list(work)
    with engine.connect() as connection:
        (ended,) = list_imports(connection)
    assert (ended.state, rows_of(engine, archive_tables.archive_rows)) == (ArchiveState.UNDONE, [])
