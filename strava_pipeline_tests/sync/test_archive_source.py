"""What people hand in is told by its content, and an archive by whose it is."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.sync.archive_source import open_handed_in, refuse_archive_of_another
from strava_pipeline.warehouse.states import ArchiveKind

DATA = Path(__file__).parents[1] / "files" / "data"
EXPORT = DATA / "archive" / "export_en94.zip"
RUN = (DATA / "fit" / "plain_run.fit").read_bytes()
OWNER = 111111111


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    with zipfile.ZipFile(EXPORT) as archive:
        archive.extractall(tmp_path / "export")
    return tmp_path / "export"


def test_a_zip_is_an_archive_whatever_its_name(tmp_path: Path) -> None:
    renamed = tmp_path / "history.fit"
    renamed.write_bytes(EXPORT.read_bytes())
    with open_handed_in(renamed) as handed:
        assert handed.kind is ArchiveKind.ARCHIVE
        assert len(handed.recordings) == 1
        assert handed.recording_bytes > 0


def test_a_folder_with_the_table_is_an_archive(unpacked: Path) -> None:
    with open_handed_in(unpacked) as handed:
        assert (handed.kind, len(handed.recordings)) == (ArchiveKind.ARCHIVE, 1)


def test_a_file_and_a_folder_of_files_are_recordings(tmp_path: Path) -> None:
    folder = tmp_path / "rides"
    (folder / "2026").mkdir(parents=True)
    (folder / "2026" / "a.fit").write_bytes(RUN)
    (folder / "b.fit.gz").write_bytes(gzip.compress(RUN))
    (folder / ".hidden").write_bytes(b"")
    with open_handed_in(folder) as handed:
        assert (handed.kind, handed.table) == (ArchiveKind.FILES, None)
        assert handed.recordings == ["2026/a.fit", "b.fit.gz"]
        assert handed.members.read("2026/a.fit") == RUN
    with open_handed_in(folder / "b.fit.gz") as single:
        assert single.recordings == ["b.fit.gz"]


def test_links_in_a_folder_are_strays(tmp_path: Path) -> None:
    folder = tmp_path / "rides"
    folder.mkdir()
    (folder / "a.fit").write_bytes(RUN)
    (folder / "b.fit").symlink_to("/etc/passwd")
    with open_handed_in(folder) as handed:
        assert handed.recordings == ["a.fit"]
        assert handed.members.listing.strays == 1


@pytest.mark.parametrize(
    "name", ["a.fit", "A.FIT", "a.b.gpx", "a.tcx.gz", "a.gz", "a.bin.gz", "2026-01-01", "x.12.fit.gz"]
)
def test_a_folders_file_may_be_a_recording_by_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(RUN)
    with open_handed_in(tmp_path) as handed:
        assert handed.recordings == [name]


@pytest.mark.parametrize("name", ["messaging.json", "logins.csv", "a.jpg", "notes.txt", "a.pdf", "a.zip"])
def test_what_else_lies_in_a_folder_is_not_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(RUN)
    (tmp_path / "a.fit").write_bytes(RUN)
    with open_handed_in(tmp_path) as handed:
        assert (handed.recordings, handed.members.listing.others) == (["a.fit"], 1)


def test_the_hash_is_of_names_and_contents(tmp_path: Path) -> None:
    file = tmp_path / "a.fit"
    hashes = set[str]()
    for content in (RUN, RUN, RUN[:-1]):
        file.write_bytes(content)
        os.utime(file, (len(hashes), len(hashes)))
        with open_handed_in(file) as handed:
            hashes.add(handed.members.listing.content_hash)
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "cannot be read: No such file"),
        (lambda path: path.mkdir(), "holds no recording"),
        (lambda path: path.write_bytes(EXPORT.read_bytes()[:-5000]), "download it again"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_one_line(tmp_path: Path, make: object, why: str) -> None:
    path = tmp_path / "export.zip"
    assert callable(make)
    make(path)
    with pytest.raises(UnreadableFile, match=why), open_handed_in(path):
        pass


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "rides"
    folder.mkdir()
    os.mkfifo(folder / "a.fit")
    with pytest.raises(UnreadableFile, match="holds no recording"), open_handed_in(folder):
        pass


def test_an_archive_of_somebody_else_is_refused(unpacked: Path) -> None:
    with open_handed_in(unpacked) as handed:
        refuse_archive_of_another(handed, OWNER, trusted=False)
        for trusted in (True, False):
            with pytest.raises(UnreadableFile, match="is the archive of athlete"):
                refuse_archive_of_another(handed, 7, trusted=trusted)


def test_an_archive_without_a_profile_has_to_be_trusted(unpacked: Path) -> None:
    (unpacked / "profile.csv").unlink()
    with open_handed_in(unpacked) as handed:
        refuse_archive_of_another(handed, 7, trusted=True)
        with pytest.raises(UnreadableFile, match="--trust-athlete"):
            refuse_archive_of_another(handed, 7, trusted=False)
