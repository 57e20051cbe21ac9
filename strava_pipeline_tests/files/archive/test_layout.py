from __future__ import annotations

from pathlib import Path

import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive import columns
from strava_pipeline.files.archive.columns import Column
from strava_pipeline.files.archive.row import ArchiveRow, BadRow, RowFault
from strava_pipeline_tests.files.archive.made_archives import LAYOUTS, cells, good, read_table, table_bytes


def only_row(folder: Path, layout: tuple[Column, ...], headers: list[str] | None = None, **values: str) -> ArchiveRow:
    (row,) = good(read_table(folder, table_bytes([cells(layout, **values)], layout, headers)))
    return row


def foreign(layout: tuple[Column, ...]) -> list[str]:
    """Headers in a language that nobody has seen, double where Strava's are double."""
    return [f"Ñ{column.header[::-1]}" for column in layout]


@pytest.mark.parametrize("name", LAYOUTS)
def test_any_layout_is_read_without_knowing_its_headers(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    row = only_row(tmp_path, layout, foreign(layout), gear_name="Old bike", shown_commute="true", type_word="x")
    assert (row.id, row.name, row.filename) == (123, "Morning Lap", "activities/123.gpx")
    assert (row.gear_name, row.commute, row.elapsed_s) == ("Old bike", True, 1428)
    assert row.distance_m == pytest.approx(3322.95, abs=5)
    assert row.type_word == ("x" if int(name) >= 87 else None)


def test_columns_that_nobody_knows_are_kept_by_their_headers(tmp_path: Path) -> None:
    layout = LAYOUTS["120"]
    row = only_row(tmp_path, layout, new_102="some text", new_118="7", total_reps="12", media="media/a.jpg|media/b.mp4")
    assert row.unknown == (("New Column 102", "some text"), ("New Column 118", "7"))
    assert row.total_reps == 12
    assert row.media == ("media/a.jpg", "media/b.mp4")


def test_unknown_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    layout = LAYOUTS["105"]
    headers = [column.header for column in layout]
    headers[102:104] = ["Again", "Again"]
    assert only_row(tmp_path, layout, headers, new_102="a", new_103="b").unknown == (
        ("Again (103)", "a"),
        ("Again (104)", "b"),
    )


def test_a_cell_that_does_not_fit_its_column_is_kept_as_it_is(tmp_path: Path) -> None:
    row = only_row(tmp_path, LAYOUTS["99"], total_steps="many", recovery="2.0")
    assert row.total_steps is None
    assert row.unknown == (("Total Steps", "many"), ("Recovery", "2.0"))


def test_a_name_beats_the_place_where_a_column_went_missing(tmp_path: Path) -> None:
    layout = tuple(column for column in LAYOUTS["99"] if column.name not in {"weather_uv_index", "jump_count"})
    row = only_row(tmp_path, layout, total_steps="3344.0", carbon_saved_kg="1.5", media="media/a.jpg")
    assert (row.total_steps, row.carbon_saved_kg, row.media) == (3344, 1.5, ("media/a.jpg",))


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("filename", ["", "#error#"])
def test_a_table_without_any_recording_is_read_by_its_headers(tmp_path: Path, name: str, filename: str) -> None:
    row = only_row(tmp_path, LAYOUTS[name], filename=filename, gear_name="Old bike")
    assert (row.filename, row.export_failed) == (None, bool(filename))
    assert row.gear_name == "Old bike"


@pytest.mark.parametrize("name", ["10", "11", "12", "72", "87", "103", "120"])
def test_a_table_without_any_recording_is_read_in_an_unknown_language(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    row = only_row(tmp_path, layout, foreign(layout), filename="", gear_name="Old bike")
    assert (row.filename, row.gear_name, row.elapsed_s) == (None, "Old bike", 1428)


def test_a_note_that_looks_like_a_path_is_no_anchor(tmp_path: Path) -> None:
    layout = LAYOUTS["99"]
    rows = [cells(layout, id=str(number), private_note="activities/1.fit" * (number == 1)) for number in range(1, 4)]
    read = good(read_table(tmp_path, table_bytes(rows, layout)))
    assert read[0].private_note == "activities/1.fit"
    assert {row.filename for row in read} == {"activities/123.gpx"}


def test_a_row_of_another_width_is_bad_alone(tmp_path: Path) -> None:
    layout = LAYOUTS["99"]
    rows = [cells(layout), cells(layout, id="124")[:-1], cells(layout, id="125")]
    read = read_table(tmp_path, table_bytes(rows, layout))
    assert [row.id if isinstance(row, ArchiveRow) else row for row in read] == [123, BadRow(3, RowFault.COLUMNS), 125]


def test_a_table_without_rows_has_none(tmp_path: Path) -> None:
    assert read_table(tmp_path, table_bytes([], LAYOUTS["103"])) == []


@pytest.mark.parametrize(
    "table",
    [
        b"a,b,c\n1,2,3\n",
        b"Name,Value\n",
        b"x" * 500,
        b"<html>\n",
        b",".join([b"a"] * 10) + b"\n" + b",".join([b"b"] * 10),
    ],
)
def test_another_table_is_refused(tmp_path: Path, table: bytes) -> None:
    with pytest.raises(UnreadableFile, match="is no table of activities: hand over the archive as Strava sent it"):
        read_table(tmp_path, table)


def test_flags_of_spreadsheets_mark_the_commute(tmp_path: Path) -> None:
    layout = LAYOUTS["99"]
    assert only_row(tmp_path, layout, shown_commute="WAHR").commute is True
    assert columns.COMMUTE in layout
