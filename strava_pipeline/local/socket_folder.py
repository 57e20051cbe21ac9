"""The folder of a server's socket, where the data folder's path is too long or odd for one.

Its name is drawn at random and noted in a file, with the number that the file system gave the folder. What stands
under a noted name counts only if it is that very folder, private, and its owner's: whatever somebody else put there
is neither used nor changed, and another name is drawn.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import private_files


def noted_folder(note: Path, owner: int) -> Path | None:
    """The folder that ``note`` tells of, if it is still there, private, and belongs to the user ``owner``."""
    with suppress(FileNotFoundError, ValueError):
        path, device, number = note.read_bytes().decode("utf-8", "surrogateescape").splitlines()
        found = os.lstat(path)
        same = (found.st_dev, found.st_ino) == (int(device), int(number))
        if same and _is_private(found, owner):
            return Path(path)
    return None


def new_folder(note: Path, owner: int, group: int) -> Path:
    """A private folder in the temporary folder, of a random name, which ``note`` tells of from now on."""
    above = Path(tempfile.gettempdir()).resolve()
    for passed in (*reversed(above.parents), above):
        _check_nobody_moves(passed)
    folder = Path(tempfile.mkdtemp(prefix="strava-pipeline-", dir=above))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # Not by its name, which whoever owns the temporary folder could have given to something else.
        made = os.fstat(descriptor)
        if not _is_private(made, os.geteuid()) or any(os.scandir(descriptor)):
            raise ConfigurationError(f"{folder} was exchanged while it was made: set TMPDIR to a folder of your own")
        if os.geteuid() != owner:
            os.fchown(descriptor, owner, group)
    finally:
        os.close(descriptor)
    private_files.write_whole(note, f"{folder}\n{made.st_dev}\n{made.st_ino}\n".encode("utf-8", "surrogateescape"))
    return folder


def _check_nobody_moves(folder: Path) -> None:
    """``ConfigurationError`` where others than root and this user may move what lies in a folder."""
    status = folder.stat()
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(f"{folder} is another user's, who could move what others have there: set TMPDIR")
    movable = stat.S_IWOTH
    # Many a user has a group alone.
    if status.st_gid not in (0, os.getegid()):
        movable |= stat.S_IWGRP
    if status.st_mode & movable and not status.st_mode & stat.S_ISVTX:
        raise ConfigurationError(f"others may move what lies in {folder}: set TMPDIR to another folder")


def _is_private(found: os.stat_result, owner: int) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
