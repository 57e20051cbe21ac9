from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path

import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.limits import ArchiveLimits
from strava_pipeline.files.archive.opening import open_archive
from strava_pipeline.files.archive.row import ArchiveRow, BadRow, RowFault
from strava_pipeline.files.archive.table import activity_table
from strava_pipeline_tests.files.archive.made_archives import (
    LAYOUTS,
    NOW,
    cells,
    good,
    made_folder,
    read_table,
    table_bytes,
)

LAYOUT = LAYOUTS["99"]


def read_one(folder: Path, *assignments: str, layout: str = "99", **values: str) -> ArchiveRow | BadRow:
    (row,) = read_table(folder, table_bytes([cells(LAYOUTS[layout], **values)], LAYOUTS[layout]), *assignments)
    return row


def read_good(folder: Path, *assignments: str, layout: str = "99", **values: str) -> ArchiveRow:
    return good([read_one(folder, *assignments, layout=layout, **values)])[0]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"id": ""}, RowFault.ID),
        ({"id": "0"}, RowFault.ID),
        ({"id": "-5"}, RowFault.ID),
        ({"id": str(2**63)}, RowFault.ID),
        ({"id": "8,67E+10"}, RowFault.ID),
        ({"start": ""}, RowFault.DATE),
        ({"start": "yesterday"}, RowFault.DATE),
        ({"start": "Oct 5, 1899, 4:15:21 PM"}, RowFault.DATE),
        ({"start": "Oct 5, 2028, 4:15:21 PM"}, RowFault.DATE),
        ({"start": "Feb 30, 2014, 4:15:21 PM"}, RowFault.DATE),
        ({"distance_m": "far"}, RowFault.NUMBER),
        ({"distance_m": "-1.0"}, RowFault.NUMBER),
        ({"moving_s": "1:02:03"}, RowFault.NUMBER),
        ({"elapsed_s": "1e12"}, RowFault.WILD_NUMBER),
        ({"distance_m": "1e999"}, RowFault.WILD_NUMBER),
        ({"elapsed_s": "", "shown_elapsed_s": "2147483648"}, RowFault.WILD_NUMBER),
        ({"moving_s": "2147483647.6"}, RowFault.WILD_NUMBER),
        ({"total_steps": "2147483648.0"}, RowFault.WILD_NUMBER),
        ({"calories_kcal": "nan"}, RowFault.WILD_NUMBER),
        ({"weather_humidity": "-Infinity"}, RowFault.WILD_NUMBER),
        ({"weather_sunrise": "1e11"}, RowFault.WILD_NUMBER),
    ],
)
def test_a_row_that_cannot_be_right_is_named_by_line_and_reason(
    tmp_path: Path, values: dict[str, str], code: RowFault
) -> None:
    rows = [cells(LAYOUT, id="1"), cells(LAYOUT, **values), cells(LAYOUT, id="2")]
    read = read_table(tmp_path, table_bytes(rows, LAYOUT))
    assert read[1] == BadRow(3, code)
    assert [row.id for row in read if isinstance(row, ArchiveRow)] == [1, 2]


def test_the_line_of_a_bad_row_counts_line_breaks_in_cells(tmp_path: Path) -> None:
    rows = [cells(LAYOUT, description="one\r\ntwo\nthree"), cells(LAYOUT, id="x")]
    read = read_table(tmp_path, table_bytes(rows, LAYOUT))
    assert read[1] == BadRow(5, RowFault.ID)
    assert isinstance(read[0], ArchiveRow)
    assert read[0].description == "one\r\ntwo\nthree"


def test_an_id_that_comes_again_is_a_bad_row(tmp_path: Path) -> None:
    rows = [cells(LAYOUT, distance_m="far"), cells(LAYOUT), cells(LAYOUT, name="Again")]
    read = read_table(tmp_path, table_bytes(rows, LAYOUT))
    assert [row.code if isinstance(row, BadRow) else row.name for row in read] == [
        RowFault.NUMBER,
        "Morning Lap",
        RowFault.DOUBLE_ID,
    ]


def test_a_manual_activity_of_long_ago_is_a_row(tmp_path: Path) -> None:
    assert read_good(tmp_path, start="Apr 3, 1991, 11:00:00 AM").start.year == 1991


def test_the_second_of_two_columns_counts_and_the_first_fills_it(tmp_path: Path) -> None:
    row = read_good(tmp_path, shown_elapsed_s="99", shown_distance="9.99", shown_relative_effort="40")
    assert (row.elapsed_s, row.distance_m, row.relative_effort) == (1428, 3322.949951171875, 40)
    row = read_good(
        tmp_path, elapsed_s="", distance_m="", shown_max_heartrate_bpm="181", max_heartrate_bpm="180", commute="1.0"
    )
    assert (row.elapsed_s, row.distance_m, row.max_heartrate_bpm, row.commute) == (1428, 3320, 180, True)


@pytest.mark.parametrize(
    ("word", "shown", "metres"),
    [
        ("Run", "13.61", 13_610),
        ("Run", "13,61", 13_610),
        ("Ride", "117", 117_000),
        ("Ride", "1,234.56", 1_234_560),
        ("Ride", "1 234,5", 1_234_500),
        ("Swim", "1,250", 1_250),
        ("Zwemmen", "1.250", 1_250),
        ("Natation", "1\u202f250", 1_250),
        ("Swim", "25", 25),
        ("Sail", "10.00", 18_520),
        ("Nuoto", "1.250", 1_250),
        ("Nuotata", "1.250", 1_250),
        ("Corsetta", "3,32", 3_320),
        ("Run", "", None),
        ("Run", "far", None),
        ("Run", "9" * 5_000, None),
    ],
)
def test_a_distance_for_people_is_read_where_there_is_no_other(
    tmp_path: Path, word: str, shown: str, metres: float | None
) -> None:
    row = read_good(tmp_path, layout="11", sport_word=word, shown_distance=shown)
    assert row.distance_m == (None if metres is None else pytest.approx(metres))


@pytest.mark.parametrize(
    ("cell", "filename", "failed", "stray"),
    [
        ("activities/1.fit.gz", "activities/1.fit.gz", False, False),
        ("activities/3867812864.bin.gz", "activities/3867812864.bin.gz", False, False),
        ("", None, False, False),
        ("#error#", None, True, False),
        ("../../etc/passwd", None, False, True),
        ("activities/../../etc/passwd", None, False, True),
        ("/etc/passwd", None, False, True),
        ("C:\\secret.fit", None, False, True),
        ("activities\\1.fit", None, False, True),
        ("media/1.jpg", None, False, True),
    ],
)
def test_a_filename_is_a_path_below_activities_or_none(
    tmp_path: Path, cell: str, filename: str | None, failed: bool, stray: bool
) -> None:
    rows = [cells(LAYOUT, id="1"), cells(LAYOUT, id="2", filename=cell)]
    row = good(read_table(tmp_path, table_bytes(rows, LAYOUT)))[1]
    assert (row.filename, row.export_failed, row.has_stray_filename) == (filename, failed, stray)


def test_a_sport_that_nobody_knows_keeps_its_word(tmp_path: Path) -> None:
    row = read_good(tmp_path, sport_word="Corsetta")
    assert (row.sport_word, row.sport) == ("Corsetta", None)
    assert read_good(tmp_path, "Corsetta=Run", sport_word="corsetta ").sport == "Run"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_that_went_through_a_spreadsheet_is_read(
    tmp_path: Path, encoding: str, delimiter: str, end: str
) -> None:
    text = table_bytes([cells(LAYOUT, name="Ünï; 朝, 🚲")], LAYOUT, delimiter=delimiter).decode().replace("\n", end)
    mark = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}.get(encoding, "")
    (row,) = good(read_table(tmp_path, (mark + text).encode(encoding)))
    assert (row.name, row.distance_m) == ("Ünï; 朝, 🚲", 3322.949951171875)


def test_decimal_commas_of_a_spreadsheet_are_read(tmp_path: Path) -> None:
    (row,) = good(read_table(tmp_path, table_bytes([cells(LAYOUT, distance_m="3322,95")], LAYOUT, delimiter=";")))
    assert row.distance_m == 3322.95


def test_blank_rows_are_left_out(tmp_path: Path) -> None:
    table = table_bytes([cells(LAYOUT)], LAYOUT) + b"\n" + b"," * (len(LAYOUT) - 1) + b"\n\n"
    assert len(good(read_table(tmp_path, table))) == 1


@pytest.mark.parametrize("bad", [b"\xe4\xf6", "ä".encode("utf-16-le")])
def test_text_in_another_encoding_is_refused(tmp_path: Path, bad: bytes) -> None:
    table = table_bytes([cells(LAYOUT, name="@@")], LAYOUT).replace(b"@@", bad)
    with pytest.raises(UnreadableFile, match="is neither UTF-8 nor UTF-16 with its mark: hand over the archive"):
        read_table(tmp_path, table)


def test_zero_characters_are_dropped(tmp_path: Path) -> None:
    assert read_good(tmp_path, name="a\0b").name == "ab"


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"activities\.csv is empty: download the archive again"):
        read_table(tmp_path, b"")


def test_long_descriptions_are_read_and_others_keep_their_limit(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    assert len(read_good(tmp_path, description="x" * 500_000).description or "") == 500_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (ArchiveLimits(cell_characters=100), "line 2: field larger than field limit"),
        (ArchiveLimits(row_characters=2_000, cell_characters=3_000), "has a row of more than 2,000 characters"),
        (ArchiveLimits(table_rows=2), "has more than the 2 rows that are read"),
        (ArchiveLimits(table_bytes=2_500), "is larger than the 2,500 bytes that are read"),
        (ArchiveLimits(columns=50), "has more than the 50 columns that are read"),
    ],
)
def test_a_table_beyond_a_limit_is_refused(tmp_path: Path, limits: ArchiveLimits, what: str) -> None:
    rows = [cells(LAYOUT, id=str(number), description="lorem\n" * 400) for number in range(1, 4)]
    with pytest.raises(UnreadableFile, match=what):
        read_table(tmp_path, table_bytes(rows, LAYOUT), limits=limits)


def test_an_open_quote_does_not_swallow_a_large_table(tmp_path: Path) -> None:
    rows = (cells(LAYOUT, id=str(number), start="2018-09-12 15:02:23") for number in range(1, 2_000))
    table = table_bytes(rows, LAYOUT)
    with pytest.raises(UnreadableFile, match="hand over the archive as Strava sent it"):
        read_table(tmp_path, table.replace(b"Morning Lap", b'"open', 1), limits=ArchiveLimits(cell_characters=10_000))


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        table = table_bytes((cells(LAYOUT, id=str(number)) for number in range(1, count)), LAYOUT)
        folder = made_folder(tmp_path / str(count), {"activities.csv": table})
        del table
        with open_archive(folder) as members:
            tracemalloc.start()
            seen = sum(1 for _ in activity_table(members).rows({}, NOW))
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert seen == count - 1
        return found

    peak(10)
    # An id takes up to 150 bytes while the set of them grows, a row that is kept a thousand; others allocate meanwhile.
    assert peak(4_000) < peak(400) + 4_000 * 300
