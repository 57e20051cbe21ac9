"""Reads files of the watched folder and moves them, while somebody writes, replaces and deletes there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.sync import folder_files
from strava_pipeline.sync.files_folder import WaitingFile, look
from strava_pipeline.sync.folder_files import CannotMove, FolderFiles, NotAtRest, files_of
from strava_pipeline_tests.sync.dropped import drop


@pytest.fixture
def root(tmp_path: Path) -> Path:
    drop(tmp_path, "7/ride.fit")
    return tmp_path


@pytest.fixture
def folder(root: Path) -> Iterator[FolderFiles]:
    with files_of(root, 7) as opened:
        opened.prepare()
        yield opened


def waiting(root: Path) -> WaitingFile:
    (file,) = look(root).files
    return file


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_a_file_is_read_and_moved(root: Path, folder: FolderFiles) -> None:
    file = waiting(root)
    assert folder.read(file) == b"content"
    assert folder.move_to_done(file) == "7/done/ride.fit"
    assert tree(root) == ["7/done/ride.fit"]


def test_a_refused_file_has_its_reason_beside_it(root: Path, folder: FolderFiles) -> None:
    assert folder.move_to_failed(waiting(root), "neither FIT\nnor TCX\x1b[31m") == "7/failed/ride.fit"
    assert tree(root) == ["7/failed/ride.fit", "7/failed/ride.fit.txt"]
    told = (root / "7/failed/ride.fit.txt").read_text()
    assert told == "neither FIT nor TCX\ufffd[31m\n"


def test_a_file_of_the_top_goes_into_its_athletes_folder(tmp_path: Path) -> None:
    drop(tmp_path, "ride.fit")
    with files_of(tmp_path, 7) as folder:
        folder.prepare()
        assert folder.read(waiting(tmp_path)) == b"content"
        folder.move_to_done(waiting(tmp_path))
    assert tree(tmp_path) == ["7/done/ride.fit"]


@pytest.mark.parametrize(
    ("name", "second", "third"),
    [
        ("ride.fit", "ride (2).fit", "ride (3).fit"),
        ("ride.fit.gz", "ride (2).fit.gz", "ride (3).fit.gz"),
        ("2026.11.02 Home", "2026.11.02 Home (2)", "2026.11.02 Home (3)"),
        ("ride", "ride (2)", "ride (3)"),
        ("x" * 251 + ".fit", "x" * 243 + " (2).fit", "x" * 243 + " (3).fit"),
        ("\u00fc" * 124 + ".fit", "\u00fc" * 121 + " (2).fit", "\u00fc" * 121 + " (3).fit"),
    ],
)
def test_names_that_exist_get_a_number(tmp_path: Path, name: str, second: str, third: str) -> None:
    with_number = []
    for content in (b"1", b"2", b"3"):
        drop(tmp_path, f"7/{name}", content)
        with files_of(tmp_path, 7) as folder:
            folder.prepare()
            with_number.append(folder.move_to_done(waiting(tmp_path)).rpartition("/")[2])
    assert with_number[1:] == [second, third]
    assert sorted(path.read_bytes() for path in (tmp_path / "7/done").iterdir()) == [b"1", b"2", b"3"]


def test_a_reason_is_never_written_over(root: Path, folder: FolderFiles) -> None:
    # Somebody drops a file that is called like another one's reason, and that one fails again.
    folder.move_to_failed(waiting(root), "first")
    drop(root, "7/ride.fit.txt", b"not mine")
    folder.move_to_failed(waiting(root), "second")
    drop(root, "7/ride.fit")
    folder.move_to_failed(waiting(root), "third")
    assert tree(root) == [
        "7/failed/ride (2).fit",
        "7/failed/ride (2).fit.txt",
        "7/failed/ride.fit",
        "7/failed/ride.fit (2).txt",
        "7/failed/ride.fit (2).txt.txt",
        "7/failed/ride.fit.txt",
    ]
    assert (root / "7/failed/ride.fit.txt").read_text() == "first\n"


def grow(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


def rewrite(path: Path) -> None:
    path.write_bytes(b"another")
    os.utime(path, (1, 1))


def replace(path: Path) -> None:
    path.unlink()
    rewrite(path)


def cut(path: Path) -> None:
    os.truncate(path, 3)


def link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


CHANGES = [grow, rewrite, replace, cut, link, Path.unlink]


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_since_it_was_found_is_not_read(
    root: Path, folder: FolderFiles, change: Callable[[Path], None]
) -> None:
    file = waiting(root)
    change(root / "7/ride.fit")
    with pytest.raises(NotAtRest):
        folder.read(file)


@pytest.mark.parametrize("change", [grow, rewrite, cut])
def test_what_changes_while_it_is_read_is_not_taken(
    root: Path, folder: FolderFiles, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = waiting(root), os.fdopen

    def meanwhile(descriptor: int, mode: str) -> object:
        stream = real(descriptor, mode)
        change(root / "7/ride.fit")
        return stream

    monkeypatch.setattr(os, "fdopen", meanwhile)
    with pytest.raises(NotAtRest):
        folder.read(file)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("move", [FolderFiles.move_to_done, lambda folder, file: folder.move_to_failed(file, "why")])
def test_what_changed_since_it_was_read_stays(
    root: Path,
    folder: FolderFiles,
    change: Callable[[Path], None],
    move: Callable[[FolderFiles, WaitingFile], str],
) -> None:
    file = waiting(root)
    folder.read(file)
    change(root / "7/ride.fit")
    with pytest.raises(NotAtRest):
        move(folder, file)
    assert [name for name in tree(root) if "done" in name or "failed" in name] == []


def test_what_takes_its_place_while_it_is_moved_comes_back(
    root: Path, folder: FolderFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = waiting(root), os.rename
    folder.read(file)

    def meanwhile(*given: Any, **where: Any) -> None:
        monkeypatch.setattr(os, "rename", real)
        replace(root / "7/ride.fit")
        real(*given, **where)

    monkeypatch.setattr(os, "rename", meanwhile)
    with pytest.raises(NotAtRest):
        folder.move_to_done(file)
    assert tree(root) == ["7/ride.fit"]
    assert (root / "7/ride.fit").read_bytes() == b"another"


def test_what_is_too_large_is_no_recording(root: Path, folder: FolderFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_files, "MOST_BYTES", 6)
    with pytest.raises(UnreadableFile, match="no recording is"):
        folder.read(waiting(root))


@pytest.mark.parametrize("name", ["done", "failed"])
def test_a_link_in_place_of_a_folder_is_told_before_anything_is_read(tmp_path: Path, root: Path, name: str) -> None:
    (root / "7" / name).symlink_to(tmp_path)
    with (
        files_of(root, 7) as folder,
        pytest.raises(CannotMove, match=f"7/{name}: Not a directory; let this process write there"),
    ):
        folder.prepare()


def test_a_folder_that_became_a_link_is_not_followed(tmp_path: Path, root: Path, folder: FolderFiles) -> None:
    (root / "7/done").rmdir()
    (root / "7/done").symlink_to(tmp_path)
    with pytest.raises(CannotMove):
        folder.move_to_done(waiting(root))
    assert tree(root) == ["7/ride.fit"]


def test_a_full_disk_is_told_before_anything_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with files_of(root, 7) as folder:
        monkeypatch.setattr(os, "mkdir", full)
        with pytest.raises(CannotMove, match="7/done cannot be made: No space left on device"):
            folder.prepare()


def test_a_reason_that_does_not_fit_onto_the_disk_keeps_no_file_waiting(
    root: Path, folder: FolderFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, *_: object, **__: object) -> object:
        os.close(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    folder.move_to_failed(waiting(root), "why")
    assert tree(root) == ["7/failed/ride.fit"]
