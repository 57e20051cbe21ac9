from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.limits import ArchiveLimits
from strava_pipeline.files.archive.opening import open_archive
from strava_pipeline_tests.files.archive.made_archives import LAYOUTS, cells, good, made_folder, read_rows, table_bytes

TABLE = table_bytes([cells(LAYOUTS["99"])], LAYOUTS["99"])
FIT = "activities/1.fit"
MEMBERS = {"activities.csv": TABLE, FIT: b"recording " * 50, "profile.csv": b"Athlete ID\n1\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_folder(tmp_path / "export_1", MEMBERS)


def test_an_unpacked_archive_is_read_as_its_zip(folder: Path) -> None:
    made_folder(folder, {"media/a.jpg": b"x", "contacts.csv": b"x", ".DS_Store": b"x", "activities/._1.fit": b"x"})
    with open_archive(folder) as members:
        assert set(members.listing.sizes) == set(MEMBERS)
        assert (members.listing.media, members.listing.others, members.listing.strays) == (1, 1, 0)
        assert members.read(FIT) == MEMBERS[FIT]
        assert members.recording_of("activities/1.fit.gz") == FIT
    assert len(good(read_rows(folder))) == 1


def test_the_only_archive_in_a_folder_is_meant(folder: Path) -> None:
    made_folder(folder.parent, {"notes.txt": b"x", "pictures/a.jpg": b"x"})
    assert len(good(read_rows(folder.parent))) == 1
    made_folder(folder.parent / "export_2", MEMBERS)
    with pytest.raises(UnreadableFile, match=r"activities\.csv is missing"):
        read_rows(folder.parent)


def test_links_are_counted_and_never_followed(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (folder / "activities" / "2.fit").symlink_to(secret)
    (folder / "bikes.csv").symlink_to(secret)
    with open_archive(folder) as members:
        assert members.listing.strays == 2
        assert set(members.listing.sizes) == set(MEMBERS)


def test_a_linked_folder_is_not_entered(tmp_path: Path, folder: Path) -> None:
    other = made_folder(tmp_path / "other", {"activities.csv": TABLE})
    (other / "activities").symlink_to(folder / "activities")
    with open_archive(other) as members:
        assert (members.listing.strays, set(members.listing.sizes)) == (1, {"activities.csv"})


def test_a_file_that_becomes_a_link_is_not_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    with open_archive(folder) as members:
        (folder / FIT).unlink()
        (folder / FIT).symlink_to(tmp_path / "secret")
        with pytest.raises(UnreadableFile, match="lies outside of the folder: it is not read"):
            members.read(FIT)
        (folder / FIT).unlink()
        (folder / FIT).symlink_to(folder / "profile.csv")
        with pytest.raises(UnreadableFile, match="cannot be read: Too many levels of symbolic links"):
            members.read(FIT)
        (folder / FIT).unlink()
        os.mkfifo(folder / FIT)
        with pytest.raises(UnreadableFile, match="is no file: it is not read"):
            members.read(FIT)
        (folder / FIT).unlink()
        with pytest.raises(UnreadableFile, match="cannot be read: No such file or directory"):
            members.read(FIT)


def test_a_folder_beyond_a_limit_is_refused(folder: Path) -> None:
    with pytest.raises(UnreadableFile, match="has more than the 2 files that are read"):
        open_archive(folder, ArchiveLimits(members=2))
    with (
        open_archive(folder, ArchiveLimits(plain_bytes=499)) as members,
        pytest.raises(UnreadableFile, match="is larger than the 499 bytes that are read: it is left out"),
    ):
        members.read(FIT)


def test_the_newest_file_tells_the_day(folder: Path) -> None:
    for number, name in enumerate(MEMBERS):
        os.utime(folder / name, (0, 1_750_000_000 + number))
    with open_archive(folder) as members:
        assert members.listing.newest == datetime.fromtimestamp(1_750_000_002, UTC)


def test_the_hash_follows_sizes_and_tables(folder: Path) -> None:
    def found() -> str:
        with open_archive(folder) as members:
            return members.listing.content_hash

    first = found()
    os.utime(folder / FIT, (0, 0))
    assert found() == first
    (folder / "activities.csv").write_bytes(TABLE.replace(b"Morning", b"Evening"))
    second = found()
    (folder / FIT).write_bytes(b"longer" * 100)
    assert len({first, second, found()}) == 3
