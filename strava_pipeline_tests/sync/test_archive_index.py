"""What an archive holds is told by month, without keeping its rows."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.sync.archive_index import ArchiveIndex, index_of
from strava_pipeline.sync.archive_options import ArchiveOptions
from strava_pipeline.sync.archive_source import open_handed_in

DATA = Path(__file__).parents[1] / "files" / "data" / "archive"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def archive_of(folder: Path, table: Path) -> Path:
    (folder / "activities.csv").write_bytes(table.read_bytes())
    return folder


def index(path: Path, *sports: str) -> ArchiveIndex:
    with open_handed_in(path) as handed:
        return index_of(handed, ArchiveOptions(sports=sports).sport_words, NOW)


def test_rows_are_told_by_month_with_their_recordings() -> None:
    found = index(DATA / "export_en94.zip")
    assert found.months == [date(2022, 5, 1)]
    (entry,) = found.entries[date(2022, 5, 1)]
    assert entry.member == "activities/48856741895.fit.gz"
    assert entry.outline.elapsed_s == 1428
    assert entry.outline.distance_m == pytest.approx(3323.0, abs=0.1)
    assert (found.rows, found.loose, found.missing, found.without_file) == (1, [], [], 0)


def test_all_rows_are_given_on(tmp_path: Path) -> None:
    taken: list[ArchiveRow] = []

    def take(rows: Sequence[ArchiveRow]) -> None:
        taken.extend(rows)

    with open_handed_in(archive_of(tmp_path, DATA / "csv" / "en87_spans.csv")) as handed:
        found = index_of(handed, {}, NOW, take)
    assert found.rows == len(taken) == 112 == sum(map(len, found.ids.values()))
    assert found.without_file == 19
    assert len(found.missing) == 93
    assert found.months == sorted(found.months, reverse=True)


def test_recordings_that_no_row_names_are_loose(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    path.write_bytes((DATA / "export_en94.zip").read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("activities/1.gpx", "<gpx/>")
    assert index(path).loose == ["activities/1.gpx"]


def test_words_that_nobody_knows_are_counted_and_may_be_told(tmp_path: Path) -> None:
    table = (DATA / "csv" / "en99.csv").read_text(encoding="utf-8").replace(",Run,", ",Corsetta,")
    (tmp_path / "activities.csv").write_text(table, encoding="utf-8")
    unknown = index(tmp_path).unknown_words
    assert unknown["Corsetta"] > 0
    assert index(tmp_path, "Corsetta=Run").unknown_words["Corsetta"] == 0


def test_gear_is_told_with_its_id(tmp_path: Path) -> None:
    (tmp_path / "shoes.csv").write_text("Shoe Name,Brand,Model\n,Make,One\n", encoding="utf-8")
    found = index(archive_of(tmp_path, DATA / "csv" / "en99.csv")).gear
    assert found
    assert all(identity[0] in "bg" and gear.name for identity, gear in found.items())


def test_options_survive_being_kept() -> None:
    asked = ArchiveOptions(sports=("Corsa=Run",), timezone="Europe/Rome", taken=date(2026, 1, 2), check=True)
    assert ArchiveOptions.from_json(asked.to_json()) == asked
    assert ArchiveOptions.from_json({}) == ArchiveOptions()


@pytest.mark.parametrize("options", [{"sports": ("Corsa=Fly",)}, {"timezone": "Rome"}, {"timezone": "../etc/passwd"}])
def test_options_that_mean_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        ArchiveOptions(**options)  # type: ignore[arg-type]  # tried on purpose
