"""A zip or an unpacked folder as one thing: names that are read, and their bytes within bounds."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Self

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.limits import ArchiveLimits
from strava_pipeline.files.archive.names import ACTIVITIES, RECORDINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What an archive holds.

    ``sizes``: plain bytes of each member that may be read, by its name behind the folder in front. ``media``: photos
    and videos; ``strays``: names that point out of the archive, and links; ``others``: what is not ours to read.
    ``newest``: when the newest member was written (UTC, as the zip tells no zone), the day of the export; ``None`` if
    no member has a likely time. ``content_hash``: 64 hex digits, equal if and only if names, sizes and contents are; a
    folder's differs from that of its zip.
    """

    sizes: dict[str, int]
    media: int
    strays: int
    others: int
    newest: datetime | None
    content_hash: str


class ArchiveMembers(ABC):
    """An open archive. Nothing of it is ever written to disk, and no member outside ``listing.sizes`` is opened."""

    name: str
    listing: Listing
    limits: ArchiveLimits

    @abstractmethod
    def _opened(self, name: str, most: int) -> io.RawIOBase:
        """Open a member of ``listing``, refusing one that breaks a bound; read errors become ``UnreadableFile``."""

    @abstractmethod
    def close(self) -> None: ...

    def __contains__(self, name: str) -> bool:
        return name in self.listing.sizes

    def recording_of(self, filename: str) -> str | None:
        """Return the member for a row's filename; ``None`` if it is missing.

        If there is none of this name, the only one of its number is meant: people unpack recordings as well.
        """
        if filename in self:
            return filename
        found = self._by_number.get(_number(filename), ())
        return found[0] if len(found) == 1 else None

    @cached_property
    def _by_number(self) -> dict[str, list[str]]:
        names: defaultdict[str, list[str]] = defaultdict(list)
        for name in self.listing.sizes:
            if name.startswith(RECORDINGS):
                names[_number(name)].append(name)
        return names

    def open(self, name: str) -> io.BufferedReader:
        """Open a member; ``UnreadableFile`` if it is missing, too large, a bomb, or packed in a way that is not read.

        Reading from it raises ``UnreadableFile`` where the member is damaged.
        """
        if name not in self.listing.sizes:
            raise self.refusal(name, "is missing: request the archive from Strava again, or hand it over whole")
        return io.BufferedReader(self._opened(name, self._most(name)))

    def read(self, name: str) -> bytes:
        """Return a member's bytes; errors as of :meth:`open`."""
        with self.open(name) as stream:
            # A reader that is asked for more takes the room for it at once.
            found = stream.read(self.listing.sizes[name] + 1)
            if len(found) > self.listing.sizes[name]:  # it has grown since
                found += stream.read(self._most(name) + 1 - len(found))
        if len(found) > self._most(name):
            raise self.too_large(name, self._most(name))
        return found

    def refusal(self, name: str, why: str) -> UnreadableFile:
        return UnreadableFile(f"{self.name}: {name} {why}")

    def too_large(self, name: str, most: int) -> UnreadableFile:
        return self.refusal(name, f"is larger than the {most:,} bytes that are read: it is left out")

    def _most(self, name: str) -> int:
        if name == ACTIVITIES:
            return self.limits.table_bytes
        return self.limits.plain_bytes if name.startswith(RECORDINGS) else self.limits.side_table_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _number(name: str) -> str:
    """The number that a recording's name begins with."""
    return name.removeprefix(RECORDINGS).split(".")[0]
