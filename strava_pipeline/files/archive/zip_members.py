"""The members of a zip, read in place.

What a zip can do to its reader: https://docs.python.org/3/library/zipfile.html#decompression-pitfalls, and overlapping
members, https://nvd.nist.gov/vuln/detail/CVE-2024-0450.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import zipfile
import zlib
from datetime import UTC, datetime
from itertools import pairwise
from typing import IO, TYPE_CHECKING, BinaryIO, Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.central_directory import LOCAL_HEADER, check_directory, damaged
from strava_pipeline.files.archive.limits import ArchiveLimits
from strava_pipeline.files.archive.members import ArchiveMembers, Listing
from strava_pipeline.files.archive.names import RECORDINGS, Part, folder_in_front, is_clutter, is_stray, part_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 1
_UNIX: Final = 3
# More at a time would be in memory twice.
_PIECE: Final = 2**20
# Before Strava's first year a time is a program's default.
_FIRST_YEAR: Final = 2009
# What `zipfile` raises for a member that is not as its entry says.
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)


class ZipMembers(ArchiveMembers):
    """A zip of at most ``limits.members`` members, whose names differ, and whose data do not overlap."""

    def __init__(self, file: BinaryIO, name: str, limits: ArchiveLimits) -> None:
        self.name = name
        self.limits = limits
        self._file = file
        try:
            check_directory(self._file, self.name, limits)
            self._zip = _opened(self._file, self.name)
            self._infos, self.listing = self._listed()
            _refuse_overlaps(self._file.fileno(), self._zip, self.name)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._zip.close()
        self._file.close()

    def _listed(self) -> tuple[dict[str, zipfile.ZipInfo], Listing]:
        # `is_dir` of Python 3.11 fails for a member without a name.
        files = [info for info in self._zip.infolist() if not info.filename.endswith("/")]
        infos = [info for info in files if not is_clutter(info.filename)]
        inside = {info.filename: info for info in infos if not is_stray(info.orig_filename) and not _is_link(info)}
        if len({info.filename for info in infos}) < len(infos):
            raise UnreadableFile(f"{self.name} has two members of one name: it is refused, download it from Strava")
        front = folder_in_front(inside)
        found = {name[len(front) :]: info for name, info in inside.items() if name.startswith(front)}
        parts = {name: part_of(name) for name in found}
        kept = {name: info for name, info in found.items() if parts[name] is not Part.OTHER}
        ours = {name: info for name, info in kept.items() if parts[name] is not Part.MEDIA}
        return ours, Listing(
            sizes={name: info.file_size for name, info in ours.items()},
            media=len(kept) - len(ours),
            strays=len(infos) - len(inside),
            others=len(inside) - len(kept),
            newest=_newest(list(kept.values())),
            content_hash=_content_hash(kept),
        )

    def _opened(self, name: str, most: int) -> io.RawIOBase:
        info = self._infos[name]
        if info.flag_bits & _ENCRYPTED:
            raise self.refusal(name, "is encrypted: hand over an archive without a password")
        if info.compress_type not in _METHODS:
            raise self.refusal(name, "is compressed in a way that Strava does not use: hand over Strava's own zip")
        is_recording = name.startswith(RECORDINGS)
        if info.file_size > most or (is_recording and info.compress_size > self.limits.packed_bytes):
            raise self.too_large(name, most)
        # A table is read row by row, and bounded by its rows.
        if is_recording and info.file_size > max(self.limits.small_bytes, self.limits.ratio * info.compress_size):
            raise self.refusal(name, f"unpacks to more than {self.limits.ratio} times its size: it is left out")
        try:
            return _Member(self._zip.open(info), self.refusal(name, "is damaged: download the archive again"))
        except _BROKEN:
            raise self.refusal(name, "is damaged: download the archive again") from None


class _Member(io.RawIOBase):
    """A member's plain bytes; raises ``refusal`` where they are damaged."""

    def __init__(self, stream: IO[bytes], refusal: UnreadableFile) -> None:
        self._stream = stream
        self._refusal = refusal

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        try:
            found = self._stream.read(min(len(view), _PIECE))
        except _BROKEN:
            raise self._refusal from None
        view[: len(found)] = found
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _opened(file: IO[bytes], name: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except _BROKEN:
        raise damaged(name) from None


def _is_link(info: zipfile.ZipInfo) -> bool:
    """Whether a member is a link or a device, which Unix tells by its mode."""
    mode = info.external_attr >> 16
    return info.create_system == _UNIX and stat.S_IFMT(mode) not in {0, stat.S_IFREG}


def _refuse_overlaps(descriptor: int, archive: zipfile.ZipFile, name: str) -> None:
    """Refuse a zip of which two members share bytes: it would unpack to far more than its size."""
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    begins = [info.header_offset for info in infos] + [archive.start_dir]
    for info, (begin, following) in zip(infos, pairwise(begins), strict=True):
        header = os.pread(descriptor, LOCAL_HEADER.size, begin) if begin >= 0 else b""
        if len(header) < LOCAL_HEADER.size:
            raise damaged(name)
        _, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
        if begin + LOCAL_HEADER.size + name_bytes + extra_bytes + info.compress_size > following:
            raise UnreadableFile(f"{name} has members that overlap: it is refused, download it from Strava")


def _newest(infos: list[zipfile.ZipInfo]) -> datetime | None:
    times = []
    for info in infos:
        try:
            times.append(datetime(*info.date_time, tzinfo=UTC))
        except ValueError:  # a month of 0, which programs write that know no time
            continue
    return max((time for time in times if time.year >= _FIRST_YEAR), default=None)


def _content_hash(infos: dict[str, zipfile.ZipInfo]) -> str:
    digest = hashlib.sha256()
    for name, info in sorted(infos.items()):
        digest.update(f"{name}\n{info.file_size} {info.CRC}\n".encode())
    return digest.hexdigest()
