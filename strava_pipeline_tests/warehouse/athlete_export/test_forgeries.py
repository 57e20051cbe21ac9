"""Exports that are damaged, forged or of another program are refused in one line, and nothing is written."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import stat
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select

from strava_pipeline.errors import ConfigurationError, UnreadableFile
from strava_pipeline.warehouse.athlete_export.opened_export import open_export
from strava_pipeline.warehouse.migrate import HEAD
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline_tests.erasing import OTHER
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.athlete_export.exports import (
    activity_ids,
    forged,
    is_untouched,
    lines_of,
    put_lines,
    restore,
)

Change = Callable[[Path, dict[str, Any]], None]
STREAMS, ACTIVITIES = "strava.activity_streams", "strava.activities"


def refused(empty: Engine, path: Path) -> str:
    """The line with which an export is refused, after which nothing is in the tables."""
    with pytest.raises((UnreadableFile, ConfigurationError)) as caught:
        restore(empty, path)
    told = str(caught.value)
    assert told.isprintable()
    assert len(told) < 400
    assert is_untouched(empty)
    return told


def row_change(table: str, **values: Any) -> Change:
    """Give the first row of a table these values."""

    def change(folder: Path, _: dict[str, Any]) -> None:
        first, *rest = lines_of(folder, table)
        put_lines(folder, table, [json.dumps(json.loads(first) | values), *rest])

    return change


def line_change(table: str, line: str) -> Change:
    """Put this line in place of the first row."""

    def change(folder: Path, _: dict[str, Any]) -> None:
        put_lines(folder, table, [line, *lines_of(folder, table)[1:]])

    return change


def more_rows(folder: Path, _: dict[str, Any]) -> None:
    put_lines(folder, ACTIVITIES, [*lines_of(folder, ACTIVITIES), lines_of(folder, ACTIVITIES)[0]])


def fewer_rows(folder: Path, _: dict[str, Any]) -> None:
    put_lines(folder, ACTIVITIES, lines_of(folder, ACTIVITIES)[:-1])


def twice_the_same(folder: Path, manifest: dict[str, Any]) -> None:
    more_rows(folder, manifest)
    manifest["tables"][ACTIVITIES]["rows"] += 1


def no_gzip(folder: Path, _: dict[str, Any]) -> None:
    (folder / f"tables/{ACTIVITIES}.jsonl.gz").write_bytes(b"{}\n")


def cut_gzip(folder: Path, _: dict[str, Any]) -> None:
    path = folder / f"tables/{ACTIVITIES}.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-9])


def bomb(folder: Path, _: dict[str, Any]) -> None:
    (folder / f"tables/{ACTIVITIES}.jsonl.gz").write_bytes(gzip.compress(b" " * 5_000_000))


def table_of_others(folder: Path, manifest: dict[str, Any]) -> None:
    manifest["tables"]["ops.users"] = {"rows": 1, "columns": ["athlete_id"], "is_restored": True}
    put_lines(folder, "ops.users", [json.dumps({"athlete_id": OTHER})])


def file_of_no_table(folder: Path, _: dict[str, Any]) -> None:
    put_lines(folder, "ops.operator_audit", ["{}"])


def without_table(_: Path, manifest: dict[str, Any]) -> None:
    del manifest["tables"]["ops.tombstones"]


def without_recording(folder: Path, _: dict[str, Any]) -> None:
    for each in (folder / "files").iterdir():
        each.unlink()


def recording_of_nobody(folder: Path, _: dict[str, Any]) -> None:
    (folder / "files/17.fit.gz").write_bytes(b"x")


def other_account(folder: Path, _: dict[str, Any]) -> None:
    (folder / "account.json").write_text('{"connected_at": "some day"}')


def of_revision(revision: str) -> Change:
    return lambda _, manifest: manifest.update(revision=revision)


FORGERIES: dict[str, tuple[Change, str]] = {
    "row of another athlete": (row_change(STREAMS, athlete_id=OTHER), "row 1 of .* is not of athlete 1001"),
    "profile of another athlete": (row_change("strava.athletes", id=OTHER), "is not of athlete 1001"),
    "athlete of the manifest": (lambda _, manifest: manifest.update(athlete_id=OTHER), "is not of athlete 2002"),
    "text for a number": (row_change(ACTIVITIES, distance="far"), "no double precision in column distance"),
    "number too large": (row_change(ACTIVITIES, elapsed_time=2**31), "no integer in column elapsed_time"),
    "flag for a number": (row_change(ACTIVITIES, elapsed_time=True), "no integer in column elapsed_time"),
    "nul in a text": (row_change(ACTIVITIES, name="a\0b"), "no text in column name"),
    "half a character": (row_change(ACTIVITIES, name="\ud800"), "no text in column name"),
    "time that is none": (row_change(ACTIVITIES, start_date="yesterday"), "in column start_date"),
    "object for a series": (row_change(STREAMS, heartrate={"a": 1}), "in column heartrate"),
    "lists in a series": (row_change(STREAMS, heartrate=[[1.0]]), "in column heartrate"),
    "text in a series": (row_change(STREAMS, heartrate=["1); DROP TABLE"]), "in column heartrate"),
    "JSON that is none": (row_change("ops.payloads", body="{"), "no json in column body"),
    "further column": (row_change(ACTIVITIES, more=1), "other columns than the table"),
    "null for what is required": (row_change(STREAMS, point_count=None), "does not fit into these tables"),
    "no object": (line_change(ACTIVITIES, "[]"), "other columns than the table"),
    "no JSON": (line_change(ACTIVITIES, "{"), "row 1 of strava.activities is no JSON"),
    "deep JSON": (line_change(ACTIVITIES, "[" * 100_000), "is no JSON"),
    "long number": (line_change(ACTIVITIES, f'{{"id": {"9" * 10_000}}}'), "is no JSON"),
    "no UTF-8": (line_change(ACTIVITIES, "\ufffd{"), "is no JSON"),
    "more rows": (more_rows, "has not the 2 rows"),
    "fewer rows": (fewer_rows, "has not the 2 rows"),
    "one row twice": (twice_the_same, "does not fit into these tables: duplicate key"),
    "no gzip": (no_gzip, "is no whole gzip"),
    "cut gzip": (cut_gzip, "is no whole gzip"),
    "bomb": (bomb, "does not end, or is too long"),
    "table that is not ours to write": (table_of_others, "its tables are not those of here, beginning with ops.users"),
    "file of no table": (file_of_no_table, "files of tables that manifest.json does not name"),
    "table left out": (without_table, "beginning with ops.tombstones"),
    "recording left out": (without_recording, "is missing"),
    "recording of nobody": (recording_of_nobody, "recordings that ops.recording_bytes does not name"),
    "segment of nobody": (row_change("strava.segments", id=5), "a segment that no effort of the athlete names"),
    "another's import": (row_change("ops.archive_rows", import_id=12345), "refers to a row of ops.archive_imports"),
    "older tables": (of_revision("0001"), f"and these are newer .{HEAD}.: restore it with that version"),
    "newer tables": (of_revision("9999"), f"and these are older .{HEAD}.: install that version"),
    "newer form": (lambda _, manifest: manifest.update(form=2), "has form 2, and this program reads form 1"),
    "rows below zero": (lambda _, manifest: manifest["tables"][STREAMS].update(rows=-1), "manifest.json is not what"),
    "no account": (lambda folder, _: (folder / "account.json").unlink(), "it has no account.json"),
    "account of no form": (other_account, "account.json is not what an export has"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_export_is_refused(
    empty: Engine, copy: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strava_pipeline.warehouse.athlete_export.restored_rows.LONGEST_ROW", 1_000_000)
    change, line = FORGERIES[name]
    told = refused(empty, forged(copy, tmp_path / "forged", change))
    assert re.search(line, told), told


@pytest.fixture(scope="module")
def zipped(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("zipped") / "copy.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(copy.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(copy))
    return target


def rezipped(source: Path, target: Path, *more: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    shutil.copy(source, target)
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in more:
            archive.writestr(name, content)
    return target


def _link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("csv/link.csv")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("../outside.csv", b"x"), "a file that no export has: ../outside.csv"),
        (("/etc/passwd", b"x"), "a file that no export has"),
        (("csv/../../x.csv", b"x"), "a file that no export has"),
        (("csv\\x.csv", b"x"), "a file that no export has"),
        (("csv/unnamed.csv", b"x"), "has files that manifest.json does not name: csv/unnamed.csv"),
        (("README.txt", b"x"), "two files of one name"),
        ((_link(), b"/etc/passwd"), "is a link"),
        (("csv/zeros.csv", bytes(20_000_000)), "unpacks to more than 200 times its size"),
    ],
)
def test_a_zip_with_strange_members_is_refused(
    empty: Engine, zipped: Path, tmp_path: Path, more: Any, line: str
) -> None:
    assert line in refused(empty, rezipped(zipped, tmp_path / "forged.zip", more))


def test_a_folder_with_links_or_more_files_is_refused(empty: Engine, copy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(copy, folder)
    (folder / "csv/more.csv").write_text("x")
    assert "does not name: csv/more.csv" in refused(empty, folder)
    (folder / "csv/more.csv").unlink()
    (folder / "README.txt").rename(tmp_path / "README.txt")
    assert "lacks files: README.txt" in refused(empty, folder)
    (folder / "README.txt").symlink_to(tmp_path / "README.txt")
    assert "README.txt is a link" in refused(empty, folder)
    (folder / "README.txt").unlink()
    (tmp_path / "README.txt").rename(folder / "README.txt")
    (folder / "csv").rename(tmp_path / "csv")
    (folder / "csv").symlink_to(tmp_path / "csv")
    assert "lacks files" in refused(empty, folder) or "does not name" in refused(empty, folder)


def test_what_is_no_export_is_refused(empty: Engine, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "there is no manifest.json" in refused(empty, tmp_path / "folder")
    (tmp_path / "text.zip").write_text("no zip")
    assert "no whole zip" in refused(empty, tmp_path / "text.zip")
    (tmp_path / "folder/manifest.json").write_text("[]")
    assert "manifest.json is not what an export has" in refused(empty, tmp_path / "folder")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        restore(empty, tmp_path / "nothing.zip")


def test_an_activity_that_is_anothers_here_is_refused(engine: Engine, whole: Engine, copy: Path) -> None:
    with whole.connect() as connection:
        row = dict(connection.execute(select(activities).where(activities.c.id == RIDER * 10)).mappings().one())
    with engine.begin() as connection:
        connection.execute(insert(activities).values(row | {"athlete_id": OTHER}))
    with pytest.raises(UnreadableFile, match=r"activity 10010 of the export is another athlete's here"):
        restore(engine, copy)
    assert activity_ids(engine) == []


@given(st.data())
@limits(max_examples=60)
def test_whatever_byte_is_changed_is_found(copy: Path, data: st.DataObject) -> None:
    files = sorted(path for path in copy.rglob("*") if path.is_file() and path.name != "manifest.json")
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :])
    try:
        with open_export(copy) as export, pytest.raises(UnreadableFile, match=r"is not what manifest\.json says"):
            export.check_all()
    finally:
        path.write_bytes(content)


@given(st.binary(max_size=400), st.integers(0, 10**6), st.booleans())
@limits(max_examples=60)
def test_a_zip_with_other_bytes_is_read_or_refused_and_nothing_else(
    zipped: Path, tmp_path_factory: pytest.TempPathFactory, data: bytes, place: int, cut: bool
) -> None:
    content = zipped.read_bytes()
    place %= len(content)
    path = tmp_path_factory.getbasetemp() / "mutated.zip"
    path.write_bytes(content[:place] + data + (b"" if cut else content[place + len(data) :]))
    with suppress(UnreadableFile), open_export(path) as export:
        export.check_all()
