"""Looks through the watched folder: what waits, for whom, what rests, and what is left alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import Settings
from strava_pipeline.sync.files_folder import RESTS_SECONDS, Look, Rest, assigned, erase_folder, look
from strava_pipeline.warehouse.athletes.folder_owners import FolderOwners
from strava_pipeline_tests.sync.dropped import drop

NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


def found(root: Path) -> list[tuple[int | None, str]]:
    return [(file.athlete_id, file.name) for file in look(root).files]


def test_each_athletes_files_wait_the_oldest_first(root: Path) -> None:
    drop(root, "7/new.fit", at=300)
    drop(root, "8/old.FIT.gz", at=100)
    drop(root, "7/between.gpx", at=200)
    drop(root, "loose.tcx", at=400)
    assert found(root) == [(8, "old.FIT.gz"), (7, "between.gpx"), (7, "new.fit"), (None, "loose.tcx")]
    assert look(root).troubles == ()
    assert look(root).athletes == {7, 8}


@pytest.mark.parametrize(
    "name",
    [
        ".ride.fit.Xa31fG",
        ".syncthing.ride.fit.tmp",
        "~syncthing~ride.fit.tmp",
        ".stfolder",
        "ride.fit~",
        "ride.fit.part",
        "ride.fit.PARTIAL",
        "ride.fit.tmp",
        "ride.fit.crdownload",
        "ride.fit.filepart",
        "~$ride.fit",
        "done/ride.fit",
        "failed/ride.fit",
        "failed/ride.fit.txt",
        "folder/ride.fit",
    ],
)
def test_what_is_hidden_or_being_brought_or_was_read_is_left_alone(root: Path, name: str) -> None:
    drop(root, f"7/{name}")
    drop(root, name if not name.startswith("folder") else f"done/{name}")
    assert look(root) == Look(())


def test_no_link_is_followed(root: Path, tmp_path: Path) -> None:
    secret = drop(tmp_path, "elsewhere/secret.fit")
    drop(root, "7/ride.fit")
    (root / "7" / "link.fit").symlink_to(secret)
    (root / "loose.fit").symlink_to(secret)
    (root / "8").symlink_to(secret.parent)
    assert found(root) == [(7, "ride.fit")]
    assert look(root).troubles == (
        f"{root}/8 cannot be read: links are not followed; make it a folder that this process may read and write",
    )


def test_neither_pipes_nor_sockets_are_files(root: Path) -> None:
    (root / "7").mkdir()
    os.mkfifo(root / "7" / "pipe.fit")
    assert found(root) == []


@pytest.mark.parametrize("name", ["mira", "007", "-7", "7.5", "\u0667", "9" * 19])
def test_a_folder_that_is_no_athletes_is_told(root: Path, name: str) -> None:
    drop(root, f"{name}/ride.fit")
    assert look(root) == Look((), (f"{root}/{name} is no folder of an athlete: name it by the athlete's id",))


def test_a_strangers_name_is_one_printable_line(root: Path) -> None:
    drop(root, "odd\n\x1b[31mred/ride.fit")
    (trouble,) = look(root).troubles
    assert trouble.isprintable()


def test_a_folder_that_is_not_there_is_told(root: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory; make this folder, or mount it here"):
        look(root / "missing")


def test_the_watched_folder_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    drop(root, "7/ride.fit")
    (tmp_path / "link").symlink_to(root)
    assert found(tmp_path / "link") == [(7, "ride.fit")]


@contextmanager
def as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that others may enter, unlike those of pytest."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_folder_from_which_nothing_can_be_moved_is_told_and_not_read(public: Path) -> None:
    for name, mode in (("7", 0o555), ("8", 0o311)):
        drop(public, f"{name}/ride.fit")
        (public / name).chmod(mode)
    with as_nobody():
        told = look(public)
    assert told.files == ()
    assert told.troubles == (
        f"{public}/7 is not read: files could not be moved out of it; give this process the right",
        f"{public}/8 cannot be read: Permission denied; make it a folder that this process may read and write",
    )
    for name in ("7", "8"):
        (public / name).chmod(0o755)


@pytest.mark.parametrize("single", [None, 7])
def test_files_at_the_top_are_those_of_a_single_athlete(root: Path, single: int | None) -> None:
    drop(root, "ride.fit")
    told = assigned(root, look(root), FolderOwners(single))
    assert [file.athlete_id for file in told.files] == ([] if single is None else [7])
    assert len(told.troubles) == (1 if single is None else 0)


def test_files_of_an_athlete_who_has_left_are_not_read(root: Path) -> None:
    drop(root, "7/ride.fit")
    drop(root, "8/ride.fit")
    told = assigned(root, look(root), FolderOwners(gone=frozenset({7})))
    assert [file.athlete_id for file in told.files] == [8]
    assert told.troubles == (
        f"{root}/7 is not read: the athlete has disconnected; delete it, or let them connect again",
    )


def test_a_file_rests_once_it_was_the_same_for_five_seconds(root: Path) -> None:
    moment = 100.0
    rest = Rest(lambda: moment)
    path = drop(root, "7/ride.fit", at=1_000)

    def rested() -> int:
        return len(rest.rested(look(root).files))

    assert rested() == 0
    moment += RESTS_SECONDS - 0.1
    assert rested() == 0
    # It grows, as its program set an old time.
    with path.open("ab") as stream:
        stream.write(b"more")
    os.utime(path, (1_000, 1_000))
    moment += RESTS_SECONDS - 0.1
    assert rested() == 0
    moment += RESTS_SECONDS
    assert rested() == 1
    # Another one takes its place, of the same size and time.
    path.rename(path.with_suffix(".old"))
    drop(root, "7/ride.fit", b"contentmore", at=1_000)
    assert rested() == 0
    moment += RESTS_SECONDS
    assert rested() == 2


def test_a_file_that_was_away_has_to_rest_anew(root: Path) -> None:
    moment = 100.0
    rest = Rest(lambda: moment)
    path = drop(root, "7/ride.fit")
    rest.rested(look(root).files)
    path.rename(path.with_name(".ride"))
    moment += RESTS_SECONDS
    rest.rested(look(root).files)
    path.with_name(".ride").rename(path)
    assert rest.rested(look(root).files) == []


@pytest.fixture
def watching(settings: Settings, root: Path) -> Settings:
    return settings.model_copy(update={"files_folder": root})


def test_an_erasure_takes_the_whole_folder_and_nothing_else(watching: Settings, root: Path, tmp_path: Path) -> None:
    elsewhere = drop(tmp_path, "elsewhere/ride.fit")
    for name in (
        "7/ride.fit",
        "7/done/ride.fit",
        "7/failed/ride.fit",
        "7/failed/ride.fit.txt",
        "7/own/.hidden",
        "70/x",
    ):
        drop(root, name)
    (root / "7" / "link").symlink_to(elsewhere.parent)
    erase_folder(watching, 7)
    erase_folder(watching, 7)
    assert [path.name for path in root.iterdir()] == ["70"]
    assert elsewhere.exists()


def test_an_erasure_follows_no_link(watching: Settings, root: Path, tmp_path: Path) -> None:
    elsewhere = drop(tmp_path, "elsewhere/ride.fit")
    (root / "7").symlink_to(elsewhere.parent)
    erase_folder(watching, 7)
    assert elsewhere.exists()
    assert list(root.iterdir()) == []


def test_an_erasure_is_not_over_where_the_folder_cannot_be_reached(
    settings: Settings, watching: Settings, root: Path
) -> None:
    root.rmdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        erase_folder(watching, 7)
    erase_folder(settings, 7)
