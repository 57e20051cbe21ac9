"""The members of an unpacked archive."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.limits import ArchiveLimits
from strava_pipeline.files.archive.members import ArchiveMembers, Listing
from strava_pipeline.files.archive.names import ACTIVITIES, MEDIA, RECORDINGS, TABLES, is_clutter, is_stray

# A named pipe is not waited for, and a link is not followed.
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_PIECE: Final = 2**20


class FolderMembers(ArchiveMembers):
    """A folder with activities.csv in it, or in its only folder that has one. Links within are never followed."""

    def __init__(self, path: Path, limits: ArchiveLimits) -> None:
        self.name = path.name
        self.limits = limits
        self._root = _with_table(path.resolve(strict=True))
        self.listing = self._listed()

    def close(self) -> None:
        """Close nothing: each member is a file of its own."""

    def _listed(self) -> Listing:
        sizes: dict[str, int] = {}
        media: dict[str, int] = {}
        times: list[float] = []
        strays = others = 0
        for count, (name, found) in enumerate(self._entries(), start=1):
            if count > self.limits.members:
                raise UnreadableFile(f"{self.name} has more than the {self.limits.members:,} files that are read")
            if is_stray(name) or not stat.S_ISREG(found.st_mode):
                strays += 1
            elif name in TABLES or name.startswith(RECORDINGS):
                sizes[name] = found.st_size
                times.append(found.st_mtime)
            elif name.startswith(MEDIA):
                media[name] = found.st_size
            else:
                others += 1
        return Listing(
            sizes=sizes,
            media=len(media),
            strays=strays,
            others=others,
            newest=datetime.fromtimestamp(max(times), UTC) if times else None,
            content_hash=self._content_hash(sizes, media),
        )

    def _entries(self) -> Iterator[tuple[str, os.stat_result]]:
        """Names and what the file system says of them, at the top and in the folders of recordings and media."""
        for folder in ("", RECORDINGS, MEDIA):
            place = self._root / folder
            if place.is_symlink() or not place.is_dir():
                continue
            with os.scandir(place) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False) and not is_clutter(entry.name):
                        yield f"{folder}{entry.name}", entry.stat(follow_symlinks=False)

    def _content_hash(self, sizes: dict[str, int], media: dict[str, int]) -> str:
        digest = hashlib.sha256()
        for name, size in sorted((sizes | media).items()):
            digest.update(f"{name}\n{size}\n".encode())
        for name in sorted(TABLES & set(sizes)):
            digest.update(self._digest_of(name))
        return digest.hexdigest()

    def _digest_of(self, name: str) -> bytes:
        digest = hashlib.sha256()
        with self._opened(name, self._most(name)) as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
        return digest.digest()

    def _opened(self, name: str, most: int) -> io.RawIOBase:
        path = self._root / name
        if not path.resolve().is_relative_to(self._root):
            raise self.refusal(name, "lies outside of the folder: it is not read")
        try:
            stream = io.FileIO(os.open(path, _FLAGS), "r")
        except OSError as error:
            raise self.refusal(name, f"cannot be read: {error.strerror or error}") from None
        found = os.fstat(stream.fileno())
        if stat.S_ISREG(found.st_mode) and found.st_size <= most:
            return stream
        stream.close()
        if stat.S_ISREG(found.st_mode):
            raise self.too_large(name, most)
        raise self.refusal(name, "is no file: it is not read")


def _with_table(root: Path) -> Path:
    """The folder with the table: this one, or its only folder that has one."""
    if (root / ACTIVITIES).exists():
        return root
    found = [folder for folder in root.iterdir() if not folder.is_symlink() and (folder / ACTIVITIES).is_file()]
    return found[0] if len(found) == 1 else root
