"""What somebody handed in: Strava's archive as a zip or folder, a recording, or a folder of recordings."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, cast

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.limits import DEFAULT_LIMITS, ArchiveLimits
from strava_pipeline.files.archive.members import ArchiveMembers, Listing
from strava_pipeline.files.archive.names import ACTIVITIES, RECORDINGS, is_clutter, is_stray
from strava_pipeline.files.archive.opening import open_archive, open_zip
from strava_pipeline.files.archive.side_tables import read_profile
from strava_pipeline.files.archive.table import ActivityTable, activity_table
from strava_pipeline.warehouse.states import ArchiveKind

_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
# A named pipe is not waited for, and a link is not followed.
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_PIECE: Final = 2**20
# In a folder, what nobody names a recording is not opened: photos, tables, letters.
_RECORDING: Final = re.compile(r"\.(?:fit|tcx|gpx|xml|bin|gz)$|^[^.]+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedIn:
    """An archive, or files. ``table``: of the archive; ``None`` for files. ``recordings``: their names, sorted."""

    kind: ArchiveKind
    members: ArchiveMembers
    table: ActivityTable | None

    @property
    def name(self) -> str:
        return self.members.name

    @property
    def recordings(self) -> list[str]:
        sizes = self.members.listing.sizes
        return sorted(name for name in sizes if self.table is None or name.startswith(RECORDINGS))

    @property
    def recording_bytes(self) -> int:
        """Bytes of all recordings, as they lie there."""
        return sum(self.members.listing.sizes[name] for name in self.recordings)


@dataclass(frozen=True, slots=True)
class HandedBytes:
    """A recording that somebody has read already, and its name."""

    name: str
    body: bytes


@dataclass(frozen=True, slots=True)
class HandedZip:
    """A zip that somebody has opened, and its name: its path may stand for another file by now."""

    name: str
    file: BinaryIO


@contextmanager
def open_handed_in(given: Path | HandedBytes | HandedZip, limits: ArchiveLimits = DEFAULT_LIMITS) -> Iterator[HandedIn]:
    """Open what was handed in, whatever its name says.

    ``UnreadableFile`` if there is nothing, or if an archive is cut off, has no table, or was made to deceive.
    """
    match given:
        case HandedBytes():
            members: ArchiveMembers = _OneRecording(given, limits)
        case HandedZip():
            members = open_zip(given.file, given.name, limits)
        case _:
            members = _opened(given, limits)
    with members:
        if isinstance(members, LooseFiles | _OneRecording):
            yield HandedIn(kind=ArchiveKind.FILES, members=members, table=None)
        else:
            yield HandedIn(kind=ArchiveKind.ARCHIVE, members=members, table=activity_table(members))


def refuse_archive_of_another(handed: HandedIn, athlete_id: int, *, trusted: bool) -> None:
    """Raise ``UnreadableFile`` unless an archive's profile.csv names the athlete.

    Without a profile.csv the archive has to be ``trusted``. A device's file tells no athlete.
    """
    if handed.kind is not ArchiveKind.ARCHIVE:
        return
    profile = read_profile(handed.members)
    if profile is None and not trusted:
        raise UnreadableFile(
            f"{handed.name} has no profile.csv that tells whose it is: hand over the archive as Strava sent it, or say"
            f" with --trust-athlete that it is athlete {athlete_id}'s"
        )
    if profile is not None and profile.athlete_id != athlete_id:
        raise UnreadableFile(
            f"{handed.name} is the archive of athlete {profile.athlete_id}, not of athlete {athlete_id}: nothing of it"
            " is stored"
        )


class LooseFiles(ArchiveMembers):
    """A file, or the files of a folder and of the folders in it. Links are never followed."""

    def __init__(self, path: Path, limits: ArchiveLimits) -> None:
        self.name = path.name
        self.limits = limits
        self._root = path if path.is_dir() else path.parent
        self._wanted = None if path.is_dir() else path.name
        self.listing = self._listed()

    def close(self) -> None:
        """Close nothing: each file is opened by itself."""

    def _listed(self) -> Listing:
        sizes: dict[str, int] = {}
        times: list[float] = []
        strays = others = 0
        for count, (name, found) in enumerate(self._entries(), start=1):
            if count > self.limits.members:
                raise UnreadableFile(f"{self.name} has more than the {self.limits.members:,} files that are read")
            if is_stray(name) or not stat.S_ISREG(found.st_mode):
                strays += 1
                continue
            if self._wanted is not None and found.st_size > self.limits.plain_bytes:
                raise self.too_large(name, self.limits.plain_bytes)
            if self._wanted is None and not _is_named_as_recording(name):
                others += 1
                continue
            sizes[name] = found.st_size
            times.append(found.st_mtime)
        if not sizes:
            raise UnreadableFile(f"{self.name} holds no recording: hand in one, a folder of them, or an archive")
        return Listing(
            sizes=sizes,
            media=0,
            strays=strays,
            others=others,
            newest=datetime.fromtimestamp(max(times), UTC),
            content_hash=self._content_hash(sorted(sizes)),
        )

    def _entries(self) -> Iterator[tuple[str, os.stat_result]]:
        if self._wanted is not None:
            yield self._wanted, (self._root / self._wanted).stat()
            return
        for folder, folders, names in os.walk(self._root):
            folders.sort()
            for name in names:
                path = Path(folder, name)
                if not is_clutter(name) and not name.startswith("."):
                    yield path.relative_to(self._root).as_posix(), path.lstat()

    def _content_hash(self, names: list[str]) -> str:
        return _hash_of((name, self._hash_of_file(name)) for name in names)

    def _hash_of_file(self, name: str) -> str:
        with self._opened(name, self.limits.plain_bytes, only_small=False) as stream:
            digest = hashlib.sha256()
            while piece := stream.read(_PIECE):
                digest.update(piece)
        return digest.hexdigest()

    def _opened(self, name: str, most: int, *, only_small: bool = True) -> io.RawIOBase:
        try:
            # A link that was named itself is meant; those in a folder were left out.
            flags = _FLAGS if self._wanted is None else _FLAGS & ~os.O_NOFOLLOW
            stream = io.FileIO(os.open(self._root / name, flags), "r")
        except OSError as error:
            raise self.refusal(name, f"cannot be read: {error.strerror or error}") from None
        found = os.fstat(stream.fileno())
        if stat.S_ISREG(found.st_mode) and (found.st_size <= most or not only_small):
            return stream
        stream.close()
        if stat.S_ISREG(found.st_mode):
            raise self.too_large(name, most)
        raise self.refusal(name, "is no file: it is not read")

    def _most(self, name: str) -> int:  # noqa: ARG002  each of them is a recording
        return self.limits.plain_bytes

    def refusal(self, name: str, why: str) -> UnreadableFile:
        return UnreadableFile(f"{name} {why}")


class _OneRecording(ArchiveMembers):
    """A recording in memory, as the only member."""

    def __init__(self, given: HandedBytes, limits: ArchiveLimits) -> None:
        self.name = given.name
        self.limits = limits
        self._body = given.body
        content = hashlib.sha256(given.body).hexdigest()
        self.listing = Listing(
            sizes={given.name: len(given.body)},
            media=0,
            strays=0,
            others=0,
            newest=None,
            content_hash=_hash_of([(given.name, content)]),
        )

    def close(self) -> None:
        """Close nothing: the bytes are in memory."""

    def _opened(self, name: str, most: int) -> io.RawIOBase:
        if len(self._body) > most:
            raise self.too_large(name, most)
        return cast("io.RawIOBase", io.BytesIO(self._body))

    def _most(self, name: str) -> int:  # noqa: ARG002  it is a recording
        return self.limits.plain_bytes

    def refusal(self, name: str, why: str) -> UnreadableFile:
        return UnreadableFile(f"{name} {why}")


def _hash_of(files: Iterable[tuple[str, str]]) -> str:
    """The hash of files, by name and hash of the content."""
    return hashlib.sha256("".join(f"{name}\n{content}\n" for name, content in files).encode()).hexdigest()


def _is_named_as_recording(name: str) -> bool:
    return _RECORDING.search(name.rpartition("/")[2]) is not None


def _opened(path: Path, limits: ArchiveLimits) -> ArchiveMembers:
    try:
        if path.is_dir():
            folder = open_archive(path, limits)
            return folder if ACTIVITIES in folder else LooseFiles(path, limits)
        with path.open("rb") as file:
            first = file.read(len(_ZIP[0]))
        return open_archive(path, limits) if first in _ZIP else LooseFiles(path, limits)
    except OSError as error:
        raise UnreadableFile(f"{path.name} cannot be read: {error.strerror or error}") from None
