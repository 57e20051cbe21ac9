"""Opens what was handed in, a zip or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.folder_members import FolderMembers
from strava_pipeline.files.archive.limits import DEFAULT_LIMITS, ArchiveLimits
from strava_pipeline.files.archive.members import ArchiveMembers
from strava_pipeline.files.archive.zip_members import ZipMembers


def open_archive(path: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> ArchiveMembers:
    """Open an archive as Strava sends it, packed again, or unpacked: a context manager.

    ``UnreadableFile`` if it is neither zip nor folder, is cut off, has too many members, or was made to deceive: double
    names, or members that overlap.
    """
    try:
        return FolderMembers(path, limits) if path.is_dir() else ZipMembers(path.open("rb"), path.name, limits)
    except OSError as error:
        raise UnreadableFile(f"{path.name} cannot be read: {error.strerror or error}") from None


def open_zip(file: BinaryIO, name: str, limits: ArchiveLimits = DEFAULT_LIMITS) -> ArchiveMembers:
    """Open an archive in an open file, which is closed with it; errors are those of :func:`open_archive`."""
    try:
        return ZipMembers(file, name, limits)
    except OSError as error:
        raise UnreadableFile(f"{name} cannot be read: {error.strerror or error}") from None
