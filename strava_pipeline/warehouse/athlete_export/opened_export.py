"""An export that is read: a folder or a zip, whose files are listed, opened and compared with its manifest.

Nothing is unpacked to a path, no link is followed, and no name is used that an export does not have.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Final

from strava_pipeline.errors import ConfigurationError, UnreadableFile
from strava_pipeline.files.archive.central_directory import check_directory
from strava_pipeline.files.archive.limits import ArchiveLimits
from strava_pipeline.local import private_files
from strava_pipeline.warehouse.athlete_export.layout import FILE_NAME, LONGEST_MANIFEST, MANIFEST
from strava_pipeline.warehouse.athlete_export.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE: Final = 2**20
_MOST_FILES: Final = 500_000
_LIMITS: Final = ArchiveLimits(members=_MOST_FILES, directory_bytes=128 * 2**20)
# The tables are compressed before they come into the zip; texts of ours shrink to a hundredth at most.
_LARGEST_RATIO: Final = 200
_SMALL_BYTES: Final = 16 * 2**20
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 1
_UNIX: Final = 3
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)


class Checked(io.RawIOBase):
    """A file that is read from front to end, and raises ``UnreadableFile`` if it is not as the manifest says."""

    def __init__(self, name: str, file: IO[bytes], manifest: Manifest) -> None:
        self._name = name
        self._file = file
        self._note = manifest.files[name]
        self._left = self._note.bytes
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        try:
            data = self._file.read(min(len(view), _PIECE))
        except (OSError, *_BROKEN):
            raise self._changed() from None
        self._digest.update(data)
        self._left -= len(data)
        if self._left < 0 or (not data and (self._left or self._digest.hexdigest() != self._note.sha256)):
            raise self._changed()
        view[: len(data)] = data
        return len(data)

    def read_to_end(self) -> None:
        """Read what is left, so that all of it is compared."""
        while self.read(_PIECE):
            pass

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _changed(self) -> UnreadableFile:
        return UnreadableFile(
            f"{self._name} is not what manifest.json says, so it is damaged or was changed: nothing is restored; take"
            " another copy of the export"
        )


class OpenedExport(ABC):
    """An open export; ``manifest``: what is in it, which its names are compared with at once."""

    manifest: Manifest

    @abstractmethod
    def _names(self) -> set[str]: ...

    @abstractmethod
    def _open(self, name: str) -> IO[bytes]: ...

    def _read_manifest(self) -> None:
        names = self._names()
        if MANIFEST not in names:
            raise UnreadableFile(
                f"there is no {MANIFEST}: name the folder or the zip that strava-pipeline athletes export has written"
            )
        with self._open(MANIFEST) as file:
            raw = file.read(LONGEST_MANIFEST + 1)
        if len(raw) > LONGEST_MANIFEST:
            raise UnreadableFile(f"{MANIFEST} is too long to be one")
        self.manifest = read_manifest(raw)
        strange = sorted(names - self.manifest.files.keys() - {MANIFEST})
        missing = sorted(self.manifest.files.keys() - names)
        if strange or missing:
            what, some = (
                ("has files that manifest.json does not name", strange) if strange else ("lacks files", missing)
            )
            raise UnreadableFile(f"the export {what}: {', '.join(some[:3])}; nothing is restored")

    def open(self, name: str) -> Checked:
        """Open a file that the manifest names; reading it to its end compares it."""
        return Checked(name, self._open(name), self.manifest)

    def check_all(self) -> None:
        """Read every file, and compare it; ``UnreadableFile`` for the first that differs."""
        for name in self.manifest.files:
            with self.open(name) as file:
                file.read_to_end()


@contextmanager
def open_export(path: Path) -> Iterator[OpenedExport]:
    """Open a folder or a zip; ``UnreadableFile`` if it is no export, or has other files than its manifest names."""
    if path.is_dir():
        yield _Folder(path)
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigurationError(f"{path} is neither a folder nor a zip")
        yield _opened_zip(file, path.name)


def _opened_zip(file: BinaryIO, name: str) -> _Zip:
    try:
        check_directory(file, name, _LIMITS)
    except UnreadableFile:
        raise _no_zip(name) from None
    try:
        return _Zip(zipfile.ZipFile(file), os.fstat(file.fileno()).st_size)
    except _BROKEN:
        raise _no_zip(name) from None


def _no_zip(name: str) -> UnreadableFile:
    return UnreadableFile(f"{name} is no whole zip of an export: name what strava-pipeline athletes export has written")


class _Folder(OpenedExport):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read_manifest()

    def _names(self) -> set[str]:
        names: set[str] = set()
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    with os.scandir(entry.path) as below:
                        names.update(f"{entry.name}/{each.name}" for each in below)
                else:
                    names.add(entry.name)
                if len(names) > _MOST_FILES:
                    raise UnreadableFile(f"the export has more than {_MOST_FILES:,} files: it is refused")
        return names

    def _open(self, name: str) -> BinaryIO:
        if (self._folder / name).parent.is_symlink():
            raise UnreadableFile(f"{name} lies behind a link: nothing is restored")
        try:
            return os.fdopen(private_files.open_regular(self._folder / name), "rb")
        except ConfigurationError:
            raise UnreadableFile(f"{name} is a link, or no regular file: nothing is restored") from None
        except OSError as error:
            raise UnreadableFile(f"{name} cannot be read: {error.strerror}") from None


class _Zip(OpenedExport):
    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        infos = archive.infolist()
        self._infos = {info.filename: info for info in infos}
        if len(self._infos) < len(infos):
            raise UnreadableFile("the zip has two files of one name: it is refused")
        for info in infos:
            _refuse(info)
        if sum(info.file_size for info in infos) > _SMALL_BYTES + _LARGEST_RATIO * size:
            raise UnreadableFile("the zip unpacks to far more than its size: it is refused")
        self._read_manifest()

    def _names(self) -> set[str]:
        return set(self._infos)

    def _open(self, name: str) -> IO[bytes]:
        try:
            return self._archive.open(self._infos[name])
        except _BROKEN:
            raise UnreadableFile(f"{name} is damaged in the zip: take another copy of the export") from None


def _refuse(info: zipfile.ZipInfo) -> None:
    """Refuse a member that no export has."""
    if info.filename != info.orig_filename or not (info.filename == MANIFEST or FILE_NAME.fullmatch(info.filename)):
        raise UnreadableFile(f"the zip has a file that no export has: {info.orig_filename[:100]}; nothing is restored")
    kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == _UNIX else 0
    if kind not in {0, stat.S_IFREG} or info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
        raise UnreadableFile(f"{info.filename} is a link, encrypted, or packed in another way than an export's files")
    if info.file_size > _SMALL_BYTES and info.file_size > _LARGEST_RATIO * info.compress_size:
        raise UnreadableFile(f"{info.filename} unpacks to more than {_LARGEST_RATIO} times its size: it is refused")
