from __future__ import annotations

from pathlib import Path

import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.opening import open_archive
from strava_pipeline.files.archive.recording_bytes import recording_bytes
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline_tests.files.archive.made_archives import DATA, good, read_rows

HAZARDS = DATA / "hazards"
FIT = "activities/48856741895.fit.gz"


def recording(path: Path) -> FileKind:
    """The format of the only row's recording."""
    (row,) = good(read_rows(path))
    with open_archive(path) as members:
        name = members.recording_of(row.filename or "") or row.filename or ""
        return recording_bytes(name, members.read(name)).kind


@pytest.mark.parametrize("name", ["traversal", "nested_folder_and_macosx", "csv_utf16_excel"])
def test_the_activity_of_an_odd_zip_is_read(name: str) -> None:
    path = HAZARDS / f"{name}.zip"
    assert good(read_rows(path)) == good(read_rows(DATA / "export_en94.zip"))
    assert recording(path) is FileKind.FIT


def test_names_that_point_out_of_the_archive_are_counted() -> None:
    with open_archive(HAZARDS / "traversal.zip") as members:
        assert members.listing.strays == 4
        assert set(members.listing.sizes) == {"activities.csv", FIT}


def test_a_bomb_is_refused_and_its_row_is_read() -> None:
    with pytest.raises(UnreadableFile, match="unpacks to more than 100 times its size: it is left out"):
        recording(HAZARDS / "deflate_bomb.zip")


def test_a_row_without_its_member_is_read() -> None:
    with pytest.raises(UnreadableFile, match=rf"missing_member\.zip: {FIT} is missing"):
        recording(HAZARDS / "missing_member.zip")


@pytest.mark.parametrize(
    ("name", "why"), [("duplicate_members", "has two members of one name"), ("cut", "is cut off .*: download it again")]
)
def test_a_zip_that_cannot_be_trusted_is_refused(name: str, why: str) -> None:
    with pytest.raises(UnreadableFile, match=why):
        open_archive(HAZARDS / f"{name}.zip")
