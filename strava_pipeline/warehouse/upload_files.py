"""Where the bytes of uploads lie: a folder that the bridge shares with the runs, or an address that fsspec knows.

::

    STRAVA_UPLOAD_URL/.shared                       made with the first upload: who sees it sees the bridge's folder
    STRAVA_UPLOAD_URL/1001/17/export_1001.zip       in a folder: upload 17 of athlete 1001, as far as it has come
    STRAVA_UPLOAD_URL/1001/17/export_1001.zip/4194304   at an address: its parts, each named by its place in the file

On a local disk, files and folders are for their owner only.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from fsspec.implementations.local import LocalFileSystem
from sqlalchemy import Engine

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.local import private_files
from strava_pipeline.warehouse.lake_files import open_folder, reason_of
from strava_pipeline.warehouse.uploads.rows import Upload, delete_ended, upload_ids

SETTING = "STRAVA_UPLOAD_URL"
MARK = ".shared"
# Characters of a file's name that are kept, from its end, where its kind stands.
LONGEST_NAME = 80
# Digits of a part's place: in the order of their names, parts are in the file's.
PLACE_DIGITS = 13
# A part is read in pieces: one of its size in each of the server's threads would stay there, and add up.
PIECE_BYTES = 256 * 1024
# What uploads leave free: a disk is full before its last byte is gone.
RESERVE_BYTES = 1_000_000_000
# What a disk of its own holds.
_OF_DISKS = frozenset({MARK, "lost+found"})
_ODD = re.compile(r"[^A-Za-z0-9._-]+")


class UploadLost(WarehouseError):
    """An upload's file is not there, or not in full: ``has_bytes`` of it are."""

    def __init__(self, has_bytes: int) -> None:
        super().__init__(f"the file of an upload has only {has_bytes:,} bytes")
        self.has_bytes = has_bytes


class UploadFiles(Protocol):
    """The files of all uploads. Each method raises ``WarehouseError`` if the storage refuses."""

    def write(self, upload: Upload, offset: int, body: BinaryIO) -> None:
        """Store a part, which is the rest of ``body``; it is on the disk once this returns.

        ``UploadLost`` if the bytes before it are not there.
        """
        ...

    def finish(self, upload: Upload) -> str:
        """Return the place of a whole upload, for :func:`fetched`. ``UploadLost`` if a part of it is not there."""
        ...

    def free_bytes(self) -> int | None:
        """How much may still be written; ``None``: nobody tells."""
        ...

    def delete(self, athlete_id: int, upload_id: int) -> None:
        """Delete an upload's file, if there is one."""
        ...

    def erase(self, athlete_id: int) -> None:
        """Delete all files of an athlete."""
        ...

    def stored(self) -> Mapping[int, int]:
        """All uploads with a file: the athlete's id by the upload's."""
        ...


def open_upload_files(url: str) -> UploadFiles:
    """Return the files at an address; ``ConfigurationError`` if it names no file system that is installed."""
    filesystem, root = open_folder(url, SETTING)
    if isinstance(filesystem, LocalFileSystem):
        return FolderFiles(Path(root))
    return RemoteFiles(filesystem, root)


def tidy_uploads(engine: Engine, url: str) -> int:
    """Delete uploads that nobody needs any more, and files without a row; return how many files.

    ``WarehouseError`` if the storage refuses.
    """
    files = open_upload_files(url)
    # Before the rows are: an upload that begins meanwhile has a row before it has a file.
    stored = files.stored()
    with engine.begin() as connection:
        delete_ended(connection)
        kept = upload_ids(connection)
    strays = [(upload_id, athlete_id) for upload_id, athlete_id in stored.items() if upload_id not in kept]
    for upload_id, athlete_id in strays:
        files.delete(athlete_id, upload_id)
    return len(strays)


def holds_something_else(root: Path) -> bool:
    """Whether a folder is somebody else's: uploads are not written there, since they are deleted."""
    return not (root / MARK).exists() and any(path.name not in _OF_DISKS for path in root.iterdir())


def lies_here(place: str) -> bool:
    """Whether an upload is a file of this machine, which :func:`fetched` need not copy."""
    return isinstance(open_folder(place, SETTING)[0], LocalFileSystem)


@contextmanager
def fetched(place: str) -> Iterator[Path]:
    """Yield an upload as a file of this machine; what was copied for it goes with the block.

    ``ConfigurationError`` if this process does not see the folder of the bridge; ``WarehouseError`` if the upload is
    gone, or cannot be copied.
    """
    filesystem, path = open_folder(place, SETTING)
    if isinstance(filesystem, LocalFileSystem):
        yield _seen(Path(path))
        return
    with tempfile.TemporaryDirectory(prefix="strava-upload-") as folder:
        copy = Path(folder, path.rpartition("/")[2])
        _copy(filesystem, path, copy)
        yield copy


@dataclass(frozen=True)
class FolderFiles:
    """Uploads in a folder of this machine."""

    root: Path

    def write(self, upload: Upload, offset: int, body: BinaryIO) -> None:
        """Write at the part's place: what a process that died left there is overwritten."""
        path = self._path(upload)
        try:
            if offset == 0:
                self._make(path.parent)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                has_bytes = os.fstat(descriptor).st_size
                if has_bytes < offset:
                    raise UploadLost(has_bytes)
                _write_at(descriptor, body, offset)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if offset == 0:
                private_files.flush(path.parent)
        except FileNotFoundError:
            raise UploadLost(0) from None
        except OSError as error:
            raise _refused(self.root, error) from error

    def finish(self, upload: Upload) -> str:
        path = self._path(upload)
        try:
            has_bytes = path.stat().st_size
            if has_bytes < upload.size_bytes:
                raise UploadLost(has_bytes)
            os.truncate(path, upload.size_bytes)
        except FileNotFoundError:
            raise UploadLost(0) from None
        except OSError as error:
            raise _refused(self.root, error) from error
        return str(path)

    def free_bytes(self) -> int:
        exists = next(path for path in (self.root, *self.root.absolute().parents) if path.exists())
        return shutil.disk_usage(exists).free

    def delete(self, athlete_id: int, upload_id: int) -> None:
        theirs = self.root / str(athlete_id)
        self._remove(theirs / str(upload_id))
        # Another upload of the athlete may be there, or begin now.
        with suppress(OSError):
            theirs.rmdir()

    def erase(self, athlete_id: int) -> None:
        self._remove(self.root / str(athlete_id))

    def stored(self) -> Mapping[int, int]:
        # In a folder of somebody else's, folders that are named by numbers are not uploads.
        paths = self.root.glob("*/*") if (self.root / MARK).exists() else ()
        return _by_upload(str(path) for path in paths)

    def _path(self, upload: Upload) -> Path:
        return self.root / str(upload.athlete_id) / str(upload.id) / _file_name(upload)

    def _remove(self, folder: Path) -> None:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return  # nothing was there, or another process was faster
        except OSError as error:
            raise _refused(self.root, error) from error

    def _make(self, folder: Path) -> None:
        private_files.make_folder(self.root)
        if holds_something_else(self.root):
            raise WarehouseError(
                f"{SETTING}: {self.root} holds something else already: name an empty folder, since uploads are deleted"
            )
        os.close(os.open(self.root / MARK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        private_files.make_folder(folder)


@dataclass(frozen=True)
class RemoteFiles:
    """Uploads at an address, such as an object store's, where nothing is written into a file: each part is one."""

    filesystem: Any
    root: str

    def write(self, upload: Upload, offset: int, body: BinaryIO) -> None:
        folder = self._folder(upload)
        with _told(self.root):
            self.filesystem.makedirs(folder, exist_ok=True)
            self.filesystem.pipe_file(f"{folder}/{offset:0{PLACE_DIGITS}}", body.read())

    def finish(self, upload: Upload) -> str:
        folder = self._folder(upload)
        with _told(self.root):
            sizes = _parts(self.filesystem, folder)
        end = 0
        for part, size in sizes:
            if int(part.rpartition("/")[2]) != end:
                break
            end += size
        if end != upload.size_bytes:
            raise UploadLost(end)
        return str(self.filesystem.unstrip_protocol(folder))

    def free_bytes(self) -> None:
        return None

    def delete(self, athlete_id: int, upload_id: int) -> None:
        self._remove(f"{self.root}/{athlete_id}/{upload_id}")

    def erase(self, athlete_id: int) -> None:
        self._remove(f"{self.root}/{athlete_id}")

    def _remove(self, folder: str) -> None:
        with _told(self.root):
            self.filesystem.invalidate_cache()
            if self.filesystem.exists(folder):
                self.filesystem.rm(folder, recursive=True)

    def stored(self) -> Mapping[int, int]:
        with _told(self.root):
            self.filesystem.invalidate_cache()
            return _by_upload(str(path) for path in self.filesystem.glob(f"{self.root}/*/*"))

    def _folder(self, upload: Upload) -> str:
        return f"{self.root}/{upload.athlete_id}/{upload.id}/{_file_name(upload)}"


def _file_name(upload: Upload) -> str:
    """The name of an upload's file: what is harmless of the name that the browser told."""
    return _ODD.sub("_", upload.name)[-LONGEST_NAME:].lstrip(".") or "upload"


def _by_upload(paths: Iterable[str]) -> dict[int, int]:
    """The athlete's id by the upload's number, of folders that are named by both; others are not ours."""
    named = [path.rstrip("/").split("/")[-2:] for path in paths]
    return {int(upload): int(athlete) for athlete, upload in named if athlete.isdecimal() and upload.isdecimal()}


def _write_at(descriptor: int, body: BinaryIO, offset: int) -> None:
    while piece := body.read(PIECE_BYTES):
        left = memoryview(piece)
        while left:
            written = os.pwrite(descriptor, left, offset)
            left, offset = left[written:], offset + written


def _seen(path: Path) -> Path:
    root = path.parent.parent.parent
    if not (root / MARK).exists():
        raise ConfigurationError(
            f"the folder of uploads {root} is not the bridge's here: {SETTING} must name a folder that the bridge and"
            " the runs share, or an address that fsspec knows"
        )
    if not path.exists():
        raise WarehouseError(f"the upload {path.name} is gone, since uploads are deleted after 7 days: upload it again")
    return path


def _parts(filesystem: Any, folder: str) -> list[tuple[str, int]]:
    """The paths and sizes of an upload's parts, in their order."""
    filesystem.invalidate_cache()  # another process may have written since
    if not filesystem.exists(folder):
        return []
    return sorted((str(each["name"]), int(each["size"])) for each in filesystem.ls(folder, detail=True))


def _copy(filesystem: Any, folder: str, copy: Path) -> None:
    with _told(folder):
        parts = _parts(filesystem, folder)
        if not parts:
            raise WarehouseError(
                f"the upload at {folder} is gone, since uploads are deleted after 7 days: upload it again"
            )
        size = sum(size for _, size in parts)
        if shutil.disk_usage(copy.parent).free < size + RESERVE_BYTES:
            raise WarehouseError(f"an upload of {size:,} bytes has no room at {copy.parent}: free some, or set TMPDIR")
        with private_files.create(copy) as file:
            for part, _ in parts:
                file.write(filesystem.cat_file(part))


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Turn a storage's errors, which are of any class, into one of ours."""
    try:
        yield
    except WarehouseError:
        raise
    except Exception as error:
        raise _refused(place, error) from error


def _refused(place: object, error: BaseException) -> WarehouseError:
    return WarehouseError(f"the uploads at {place} cannot be stored or read: {reason_of(error)}")
