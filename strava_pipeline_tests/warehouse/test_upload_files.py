"""Where uploads lie: in a folder for their owner alone, or at an address in parts; and their end."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import fsspec
import pytest
from sqlalchemy import Engine

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.warehouse.states import UploadState
from strava_pipeline.warehouse.upload_files import (
    MARK,
    UploadFiles,
    UploadLost,
    fetched,
    open_upload_files,
    tidy_uploads,
)
from strava_pipeline.warehouse.uploads.rows import FileToUpload, Upload, delete_upload, open_upload

NOW = datetime(2026, 5, 1, tzinfo=UTC)
PARTS = (b"first part", b"second", b"3")
WHOLE = b"".join(PARTS)


def upload(number: int = 7, athlete_id: int = 11, name: str = "export 11.zip") -> Upload:
    return Upload(number, athlete_id, name, len(WHOLE), "a" * 64, 0, UploadState.OPEN, None, NOW, NOW)


@pytest.fixture(params=["folder", "address"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "up" / "loads")
        return
    yield f"memory://{tmp_path.name}/uploads"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def files(url: str) -> UploadFiles:
    return open_upload_files(url)


def write_all(files: UploadFiles, which: Upload) -> None:
    offset = 0
    for part in PARTS:
        files.write(which, offset, BytesIO(part))
        offset += len(part)


def test_what_came_in_parts_is_read_as_one(files: UploadFiles) -> None:
    write_all(files, upload())
    with fetched(files.finish(upload())) as path:
        assert path.read_bytes() == WHOLE
        assert path.name == "export_11.zip"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_part_that_comes_again_changes_nothing(files: UploadFiles) -> None:
    write_all(files, upload())
    files.write(upload(), len(PARTS[0]), BytesIO(PARTS[1]))
    with fetched(files.finish(upload())) as path:
        assert path.read_bytes() == WHOLE


def test_an_upload_with_a_hole_is_not_whole(files: UploadFiles) -> None:
    files.write(upload(), 0, BytesIO(PARTS[0]))
    with pytest.raises(UploadLost) as lost:
        files.finish(upload())
    assert lost.value.has_bytes == len(PARTS[0])


def test_one_upload_is_deleted_and_all_of_an_athlete(files: UploadFiles) -> None:
    for which in (upload(7), upload(71), upload(8, athlete_id=12), upload(9)):
        write_all(files, which)
    assert files.stored() == {7: 11, 71: 11, 8: 12, 9: 11}
    files.delete(11, 7)
    files.delete(11, 7)
    assert files.stored() == {71: 11, 8: 12, 9: 11}
    files.erase(11)
    files.erase(11)
    assert files.stored() == {8: 12}
    files.delete(12, 8)
    assert files.stored() == {}


def test_a_place_whose_upload_is_gone_says_so(files: UploadFiles) -> None:
    write_all(files, upload())
    place = files.finish(upload())
    files.delete(11, 7)
    with (
        pytest.raises(WarehouseError, match="is gone, since uploads are deleted after 7 days: upload it again"),
        fetched(place),
    ):
        pass


def test_what_nobody_needs_is_tidied_away(engine: Engine, url: str) -> None:
    files = open_upload_files(url)
    with engine.begin() as connection:
        kept = open_upload(connection, 11, FileToUpload("a.zip", len(WHOLE), "a" * 64))
        left = open_upload(connection, 12, FileToUpload("b.zip", len(WHOLE), "b" * 64))
    for which in (kept, left):
        write_all(files, which)
    assert tidy_uploads(engine, url) == 0
    with engine.begin() as connection:
        delete_upload(connection, left.id)
    assert tidy_uploads(engine, url) == 1
    assert files.stored() == {kept.id: 11}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        (".bashrc", "bashrc"),
        ("...", "upload"),
        ("Übung\u202e/\0.zip", "_bung_.zip"),
        ("x" * 300 + ".fit", f"{'x' * 76}.fit"),
    ],
)
def test_of_a_files_name_only_what_is_harmless_is_kept(tmp_path: Path, name: str, kept: str) -> None:
    files = open_upload_files(str(tmp_path))
    files.write(upload(name=name), 0, BytesIO(PARTS[0]))
    assert [path.name for path in (tmp_path / "11" / "7").iterdir()] == [kept]


def test_folders_and_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "uploads"
    open_upload_files(str(root)).write(upload(), 0, BytesIO(PARTS[0]))
    modes = {
        path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]
    }
    assert modes == {
        "uploads": 0o700,
        "uploads/.shared": 0o600,
        "uploads/11": 0o700,
        "uploads/11/7": 0o700,
        "uploads/11/7/export_11.zip": 0o600,
    }


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    files = open_upload_files(str(tmp_path / "uploads"))
    files.write(upload(8), 0, BytesIO(PARTS[0]))
    aim = tmp_path / "aim"
    aim.write_bytes(b"of somebody else")
    (tmp_path / "uploads" / "11" / "7").mkdir()
    (tmp_path / "uploads" / "11" / "7" / "export_11.zip").symlink_to(aim)
    with pytest.raises(WarehouseError, match="cannot be stored or read"):
        files.write(upload(), 0, BytesIO(PARTS[0]))
    assert aim.read_bytes() == b"of somebody else"


def test_bytes_that_are_gone_from_the_folder_are_noticed(tmp_path: Path) -> None:
    files = open_upload_files(str(tmp_path))
    with pytest.raises(UploadLost):
        files.write(upload(), 10, BytesIO(PARTS[1]))
    files.write(upload(), 0, BytesIO(PARTS[0]))
    with pytest.raises(UploadLost) as lost:
        files.write(upload(), 16, BytesIO(PARTS[2]))
    assert lost.value.has_bytes == 10


def test_a_folder_that_is_not_the_bridges_is_refused_in_one_line(tmp_path: Path) -> None:
    files = open_upload_files(str(tmp_path / "uploads"))
    write_all(files, upload())
    place = files.finish(upload())
    (tmp_path / "uploads").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError) as refused, fetched(place):
        pass
    assert str(refused.value) == (
        f"the folder of uploads {tmp_path}/uploads is not the bridge's here: STRAVA_UPLOAD_URL must name a folder that"
        " the bridge and the runs share, or an address that fsspec knows"
    )
    assert (tmp_path / "elsewhere" / MARK).exists()


def test_a_disk_that_is_full_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(WarehouseError, match=r"cannot be stored or read: .*No space left on device"):
        open_upload_files(str(tmp_path)).write(upload(), 0, BytesIO(PARTS[0]))


def test_a_folder_that_holds_something_else_takes_no_upload_and_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    photo = tmp_path / "2023" / "5" / "photo.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"of May")
    with pytest.raises(WarehouseError, match="holds something else already: name an empty folder"):
        open_upload_files(str(tmp_path)).write(upload(), 0, BytesIO(PARTS[0]))
    assert tidy_uploads(engine, str(tmp_path)) == 0
    assert photo.read_bytes() == b"of May"


def test_an_empty_disk_of_its_own_takes_uploads(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    write_all(open_upload_files(str(tmp_path)), upload())
    assert (tmp_path / MARK).exists()
