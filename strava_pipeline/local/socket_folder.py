"""Private folders with short paths in the temporary folder, for sockets.

Such a folder is needed where the path of the data folder is too long for a socket, or has characters that are not
allowed. Its random name is noted in a file, with its device and inode. A folder under the noted name is used only if it
is that very folder, is private and belongs to its owner. Otherwise another user may have put it there: then it is not
changed, and a new folder is made.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import private_files


def find_noted_folder(note: Path, owner: int) -> Path | None:
    """Return the folder noted in the file ``note``; ``None`` unless it exists, is private and belongs to ``owner``."""
    with suppress(FileNotFoundError, ValueError):
        path, device, number = note.read_bytes().decode("utf-8", "surrogateescape").splitlines()
        found = os.lstat(path)
        same = (found.st_dev, found.st_ino) == (int(device), int(number))
        if same and _is_private(found, owner):
            return Path(path)
    return None


def create_noted_folder(note: Path, owner: int, group: int) -> Path:
    """Create a private folder with a random name in the temporary folder, and note it in the file ``note``.

    ``ConfigurationError`` if other users could replace the folder.
    """
    above = Path(tempfile.gettempdir()).resolve()
    for passed in (*reversed(above.parents), above):
        _check_nobody_moves(passed)
    folder = Path(tempfile.mkdtemp(prefix="strava-pipeline-", dir=above))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # Use the descriptor: the owner of the temporary folder could have put something else under the name.
        made = os.fstat(descriptor)
        if not _is_private(made, os.geteuid()) or any(os.scandir(descriptor)):
            raise ConfigurationError(f"{folder} was replaced while it was made: set TMPDIR to a folder of your own")
        if os.geteuid() != owner:
            os.fchown(descriptor, owner, group)
    finally:
        os.close(descriptor)
    private_files.write_atomically(note, f"{folder}\n{made.st_dev}\n{made.st_ino}\n".encode("utf-8", "surrogateescape"))
    return folder


def _check_nobody_moves(folder: Path) -> None:
    """Raise ``ConfigurationError`` if users other than root and this one may rename what is in a folder."""
    status = folder.stat()
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(
            f"{folder} belongs to another user, who could replace our folder: set TMPDIR to a folder of your own"
        )
    movable = stat.S_IWOTH
    # On many systems each user has a group of their own.
    if status.st_gid not in (0, os.getegid()):
        movable |= stat.S_IWGRP
    if status.st_mode & movable and not status.st_mode & stat.S_ISVTX:
        raise ConfigurationError(f"other users could replace our folder in {folder}: set TMPDIR to another folder")


def _is_private(found: os.stat_result, owner: int) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
