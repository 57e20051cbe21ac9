"""Files and folders that nobody but their owner may read, whatever the umask; a group may be let in to some.

Nothing here changes the process: each file and folder gets its mode by itself, before anything is in it.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import acl

# Bytes; no file that is read here needs as many.
LONGEST_READ = 65536
# What open says of a link, of a socket, and of a folder that is to be written.
_NOT_REGULAR = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR})
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Readers:
    """Who may read beside the owner: the group of this number, or nobody."""

    group: int | None = None

    @property
    def file_mode(self) -> int:
        """The mode of a file for them."""
        return 0o600 if self.group is None else 0o640

    @property
    def folder_mode(self) -> int:
        """The mode of a folder for them."""
        return 0o700 if self.group is None else 0o750


NOBODY_ELSE = Readers()


def make_folder(path: Path, readers: Readers = NOBODY_ELSE) -> None:
    """Make a folder, and what is missing above it, for ``readers`` only; one that exists stays as it is."""
    if path.is_dir():
        return
    make_folder(path.parent, readers)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if path.is_dir():  # made by another process of ours meanwhile
            return
        raise
    if readers.group is not None:
        os.chown(path, -1, readers.group, follow_symlinks=False)
    _set_mode(path, readers.folder_mode)


def create(path: Path, readers: Readers = NOBODY_ELSE) -> BinaryIO:
    """A new file for ``readers`` only, open for writing; ``FileExistsError`` where anything has its name."""
    descriptor = os.open(path, _CREATE, 0o600)
    try:
        if readers.group is not None:
            os.fchown(descriptor, -1, readers.group)
        _set_mode(descriptor, readers.file_mode)
        return os.fdopen(descriptor, "wb")
    except BaseException:
        os.close(descriptor)
        raise


def write_whole(path: Path, content: bytes, owner: tuple[int, int] | None = None) -> None:
    """Put a private file in place, whole or not at all; nobody ever reads half of it. ``owner``: user and group."""
    _write_and_move(path.with_name(f".{path.name}.{token_hex(8)}"), path, content, owner)


def write_whole_in_turn(path: Path, content: bytes, owner: tuple[int, int] | None = None) -> None:
    """Do as :func:`write_whole`, one process at a time: what one that died halfway has left is taken away."""
    partial = path.with_name(f"{path.name}.new")
    partial.unlink(missing_ok=True)
    _write_and_move(partial, path, content, owner)


def _write_and_move(partial: Path, path: Path, content: bytes, owner: tuple[int, int] | None) -> None:
    try:
        with create(partial) as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def opener(path: str, flags: int) -> int:
    """For ``open``: a file that is made is its owner's alone; one that exists stays as it is."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a file in a folder of another user's, who can put there what they like.

    ``FileNotFoundError`` where nothing is, ``ConfigurationError`` where a link is, a pipe, or whatever else is no
    file of this one name: none of these is followed, waited for or read.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOT_REGULAR:
            raise _not_regular(path) from None
        raise
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    raise _not_regular(path)


def read_end(path: Path) -> bytes:
    """The last :data:`LONGEST_READ` bytes of such a file, which is all of a short one; errors as above."""
    descriptor = open_regular(path)
    try:
        return os.pread(descriptor, LONGEST_READ, max(0, os.fstat(descriptor).st_size - LONGEST_READ))
    finally:
        os.close(descriptor)


def _not_regular(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is a link, a pipe or something else that is no file of its own: find out who put it there, remove it"
    )


def is_open(path: Path, readers: Readers = NOBODY_ELSE) -> bool:
    """Whether the group or others may do more than ``readers``; those whom an access list names were meant."""
    return bool(_excess(path, readers))


def close(path: Path, readers: Readers = NOBODY_ELSE) -> bool:
    """Take from the group and from others what ``readers`` should not have; whether there was anything.

    A link is left alone, and so is what it leads to.
    """
    excess = _excess(path, readers)
    if not excess:
        return False
    if acl.has_list(path):
        acl.close_to_others(path)
        return True
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return _set_mode(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & ~excess)
    finally:
        os.close(descriptor)


def share(path: Path, readers: Readers) -> None:
    """Give a file or folder of this user's own to the group of ``readers``; what others may do stays as it is."""
    if readers.group is None:
        return
    status = path.lstat()
    kind = stat.S_ISDIR(status.st_mode), stat.S_ISREG(status.st_mode)
    if not any(kind) or status.st_uid != os.geteuid():
        return
    wanted = stat.S_IMODE(status.st_mode) & ~0o070 | (readers.folder_mode if kind[0] else readers.file_mode) & 0o070
    if (status.st_gid, stat.S_IMODE(status.st_mode)) == (readers.group, wanted):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, -1, readers.group)
        _set_mode(descriptor, wanted)
    finally:
        os.close(descriptor)


def _set_mode(file: int | Path, mode: int) -> bool:
    """Whether it could be set: some file systems, vfat and shares of Windows' among them, know no modes."""
    if stat.S_IMODE(os.stat(file).st_mode) != mode:  # noqa: PTH116  a path or a descriptor
        try:
            os.chmod(file, mode)  # noqa: PTH101  see above
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise
            return False
    return True


def _excess(path: Path, readers: Readers) -> int:
    status = path.lstat()
    mode = status.st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) or not mode & 0o077:
        return 0
    if acl.has_list(path):
        mode = acl.unnamed_rights(path)
    allowed = 0
    if status.st_gid == readers.group:
        allowed = (readers.folder_mode if stat.S_ISDIR(status.st_mode) else readers.file_mode) & 0o070
    return mode & 0o077 & ~allowed


def open_to_append(path: Path) -> BinaryIO:
    """A file that many processes add lines to, created privately if need be; a link is not followed."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "ab")
