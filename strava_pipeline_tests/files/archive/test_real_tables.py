from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strava_pipeline.files.archive.activity_fields import activity_columns
from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline_tests.files.archive.made_archives import DATA, expected, good, read_rows, read_table

# What a table of 10 columns tells.
OLD_FIELDS = ("id", "start", "name", "sport", "description", "elapsed_s", "commute", "gear_name", "filename")


def rows_of(folder: Path, name: str) -> list[ArchiveRow]:
    return good(read_table(folder, (DATA / "csv" / name).read_bytes()))


def told(row: ArchiveRow) -> dict[str, Any]:
    """A row in the words of the reference."""
    return {
        "id": row.id,
        "start": f"{row.start:%Y-%m-%dT%H:%M:%SZ}",
        "name": row.name,
        "type_en": row.sport_word,
        "elapsed": row.elapsed_s,
        "moving": row.moving_s,
        "distance_m": row.distance_m,
        "elev_gain": row.elevation_gain_m,
        "max_speed": row.max_speed_mps,
        "avg_hr": row.average_heartrate_bpm,
        "commute": row.commute,
        "gear_name": row.gear_name or "",
        "bike_id": row.bike_id and row.bike_id.removeprefix("b"),
        "shoe_id": row.shoe_id and row.shoe_id.removeprefix("g"),
        "file": row.filename,
        "export_error": row.export_failed,
        "media": list(row.media or ()),
        "description": row.description or "",
    }


@pytest.mark.parametrize("name", ["en99.csv", "en87_spans.csv"])
def test_every_row_tells_what_another_reader_found(tmp_path: Path, name: str) -> None:
    assert [told(row) for row in rows_of(tmp_path, name)] == expected()["csv"][name]


def test_a_whole_export_tells_what_another_reader_found() -> None:
    rows = good(read_rows(DATA / "export_en94.zip"))
    assert [told(row) for row in rows] == expected()["export_en94"]
    assert rows[0].total_steps == 3344
    assert rows[0].average_grade_adjusted_speed_mps == pytest.approx(2.4619, abs=1e-4)


@pytest.mark.parametrize("name", ["de99.csv", "fr103.csv"])
def test_a_table_in_another_language_tells_the_same(tmp_path: Path, name: str) -> None:
    def plain(row: ArchiveRow) -> ArchiveRow:
        # The words for the eye are of the language.
        return replace(row, sport_word="", shown_distance=None)

    english = [plain(row) for row in rows_of(tmp_path / "en", "en99.csv")]
    assert [plain(row) for row in rows_of(tmp_path / "other", name)] == english


def test_a_table_of_2018_tells_the_same_in_its_ten_columns(tmp_path: Path) -> None:
    english = rows_of(tmp_path / "en", "en99.csv")
    old = rows_of(tmp_path / "old", "en10_2018.csv")
    for field in OLD_FIELDS:
        assert [getattr(row, field) for row in old] == [getattr(row, field) for row in english]
    assert [row.distance_m for row in old] == pytest.approx([row.distance_m for row in english])
    assert {row.moving_s for row in old} == {None}
    assert {row.media for row in old} == {None}


def test_headers_that_nobody_translated_name_their_columns(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "en87_spans.csv")
    assert {code for row in rows if (code := row.flagged_code)} == {1, 2}
    assert not any(row.unknown for row in rows)
    assert sum(activity_columns(row)["manual"] is True for row in rows) == 19


def test_every_sport_of_the_samples_is_known(tmp_path: Path) -> None:
    for name in ("en99.csv", "de99.csv", "fr103.csv", "en87_spans.csv"):
        assert all(row.sport for row in rows_of(tmp_path / name, name))
