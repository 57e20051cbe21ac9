"""Writes the files of an export, into a folder or a zip, and notes size and SHA-256 of each."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from strava_pipeline.errors import WarehouseError
from strava_pipeline.local import private_files
from strava_pipeline.warehouse.athlete_export.manifest import FileNote

# What stays free, so that nothing else that uses the disk stops: of a small disk this share.
KEPT_FREE_BYTES, KEPT_FREE_SHARE = 1_000_000_000, 0.05
_PACKED: Final = (".gz", ".parquet")


class _Noted(io.RawIOBase):
    """A file that is written from front to end, and hashed meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]  # whatever has bytes
        self._file.write(view)
        self._digest.update(view)
        self._bytes += len(view)
        return len(view)

    def tell(self) -> int:
        return self._bytes

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    @property
    def note(self) -> FileNote:
        return FileNote(self._bytes, self._digest.hexdigest())


@dataclass
class ExportFiles:
    """The files below ``folder``, or with ``archive`` each in that zip once it is written; ``notes``: by name."""

    folder: Path
    archive: zipfile.ZipFile | None = None
    notes: dict[str, FileNote] = field(default_factory=dict)

    @contextmanager
    def new(self, name: str) -> Iterator[io.RawIOBase]:
        """A private file for writing; several may be open at once. ``WarehouseError`` if the disk is nearly full."""
        ensure_room(self.folder, 0)
        path = self.folder / name
        private_files.make_folder(path.parent)
        with _Noted(private_files.create(path)) as file:
            yield file
        self.notes[name] = file.note
        if self.archive is not None:
            kind = zipfile.ZIP_STORED if name.endswith(_PACKED) else zipfile.ZIP_DEFLATED
            self.archive.write(path, name, kind)
            path.unlink()

    def write(self, name: str, content: bytes) -> None:
        """Write a small file at once."""
        with self.new(name) as file:
            file.write(content)


def ensure_room(folder: Path, needed_bytes: int) -> None:
    """``WarehouseError`` unless the disk of a folder has room for so much, and something stays free."""
    usage = shutil.disk_usage(folder)
    free = usage.free - min(KEPT_FREE_BYTES, KEPT_FREE_SHARE * usage.total)
    if free < needed_bytes:
        raise WarehouseError(
            f"the disk that the export goes to has {max(0, free) / 1e9:.1f} GB to spare, and the export needs about"
            f" {needed_bytes / 1e9:.1f} GB: make room, or name another disk by -o; nothing was written"
        )
