"""Files and folders that only their owner may read, and for some also one group, whatever the umask is.

The umask of the process stays as it is: each file and folder gets its mode before anything is in it.
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

# In bytes; the files that are read here are shorter.
LONGEST_READ = 65536
# The errors of open for a link, for a socket, and for a folder that is opened for writing.
_NOT_REGULAR = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR})
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Readers:
    """Who may read besides the owner: the group with this id, or nobody."""

    group: int | None = None

    @property
    def file_mode(self) -> int:
        """The mode of a file for these readers."""
        return 0o600 if self.group is None else 0o640

    @property
    def folder_mode(self) -> int:
        """The mode of a folder for these readers."""
        return 0o700 if self.group is None else 0o750


OWNER_ONLY = Readers()


def make_folder(path: Path, readers: Readers = OWNER_ONLY) -> None:
    """Make a folder and its missing parents for the owner and ``readers``; a folder that exists is not changed."""
    if path.is_dir():
        return
    make_folder(path.parent, readers)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if path.is_dir():  # another process of ours has made it meanwhile
            return
        raise
    if readers.group is not None:
        os.chown(path, -1, readers.group, follow_symlinks=False)
    _set_mode(path, readers.folder_mode)


def create(path: Path, readers: Readers = OWNER_ONLY) -> BinaryIO:
    """Create and open a file for the owner and ``readers``, for writing; ``FileExistsError`` if the name is taken."""
    descriptor = os.open(path, _CREATE, 0o600)
    try:
        if readers.group is not None:
            os.fchown(descriptor, -1, readers.group)
        _set_mode(descriptor, readers.file_mode)
        return os.fdopen(descriptor, "wb")
    except BaseException:
        os.close(descriptor)
        raise


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes, owner: tuple[int, int] | None = None) -> None:
    """Write a private file atomically: no process ever reads half of it. ``owner``: ids of user and group."""
    _write_and_rename(path.with_name(f".{path.name}.{token_hex(8)}"), path, content, owner)


def replace_by_one_process(path: Path, content: bytes, owner: tuple[int, int] | None = None) -> None:
    """Write a private file atomically, and remove the partial file of a process that died.

    Only one process at a time may call this for a file.
    """
    partial = path.with_name(f"{path.name}.new")
    partial.unlink(missing_ok=True)
    _write_and_rename(partial, path, content, owner)


def _write_and_rename(partial: Path, path: Path, content: bytes, owner: tuple[int, int] | None) -> None:
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


def private_opener(path: str, flags: int) -> int:
    """Open a file for the builtin ``open``: a new file is private, the mode of an existing one is not changed."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file in a folder where another user may have put anything; returns the descriptor.

    ``FileNotFoundError`` if nothing is there. ``ConfigurationError`` for a link, a pipe, a file with several names and
    the like; these are not followed, waited for or read.
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


def read_tail(path: Path) -> bytes:
    """Return the last :data:`LONGEST_READ` bytes of a regular file; errors as of :func:`open_regular`."""
    descriptor = open_regular(path)
    try:
        return os.pread(descriptor, LONGEST_READ, max(0, os.fstat(descriptor).st_size - LONGEST_READ))
    finally:
        os.close(descriptor)


def _not_regular(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is a link, a pipe or something else that is not a regular file: find out who put it there, remove it"
    )


def is_exposed(path: Path, readers: Readers = OWNER_ONLY) -> bool:
    """Whether the group or others have more rights than ``readers``; entries of an access list are on purpose."""
    return bool(_excess_rights(path, readers))


def restrict(path: Path, readers: Readers = OWNER_ONLY) -> bool:
    """Remove the rights of the group and of others that ``readers`` do not have; returns whether there were any.

    A link and its target are not changed.
    """
    excess = _excess_rights(path, readers)
    if not excess:
        return False
    if acl.has_acl(path):
        acl.remove_other_rights(path)
        return True
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return _set_mode(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & ~excess)
    finally:
        os.close(descriptor)


def share_with_group(path: Path, readers: Readers) -> None:
    """Give the group of ``readers`` access to a file or folder of this user; the rights of others do not change."""
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
    """Set a mode; returns whether the file system could do so: vfat and Windows shares, for example, have no modes."""
    if stat.S_IMODE(os.stat(file).st_mode) != mode:  # noqa: PTH116  a path or a descriptor
        try:
            os.chmod(file, mode)  # noqa: PTH101  see above
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise
            return False
    return True


def _excess_rights(path: Path, readers: Readers) -> int:
    status = path.lstat()
    mode = status.st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) or not mode & 0o077:
        return 0
    if acl.has_acl(path):
        mode = acl.group_and_other_rights(path)
    allowed = 0
    if status.st_gid == readers.group:
        allowed = (readers.folder_mode if stat.S_ISDIR(status.st_mode) else readers.file_mode) & 0o070
    return mode & 0o077 & ~allowed


def open_to_append(path: Path) -> BinaryIO:
    """Open a file to which many processes append, and create it privately if it is missing; links are refused."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "ab")
