"""Logs that turn over while services write to them: the oldest lines go to ``NAME.1``, those there to ``NAME.2``, ...

A service writes through a descriptor that it inherited, and cannot be told to open another file. So its file stays,
and loses its head: what was copied is cut off in one step of the kernel's, between two writes (ext4 and XFS). No line
is lost, none is torn, and no service waits; a death halfway leaves lines in both files. Where a file system cannot do
that, the file is emptied in a moment at which all of it has been copied: what is written within the microseconds
between that look and the emptying is lost.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import private_files
from strava_pipeline.redaction import get_logger

KEPT = 3
_COLLAPSE_RANGE = 0x08
_LOOKS = 10_000
logger = get_logger(__name__)
_told: set[str] = set()


def turn_over(log: Path, cap_bytes: int) -> bool:
    """Move the head of a log that is longer than ``cap_bytes`` to ``NAME.1``; whether it was longer.

    At most :data:`KEPT` older files are kept. Only one process may do so at a time. A link is left alone.
    """
    try:
        if log.lstat().st_size <= cap_bytes:
            return False
        descriptor = private_files.open_regular(log, os.O_RDWR)
    except (FileNotFoundError, ConfigurationError):
        return False
    try:
        _move_head(log, descriptor, os.fstat(descriptor))
    finally:
        os.close(descriptor)
    return True


def turn_over_or_tell(log: Path, cap_bytes: int) -> None:
    """The same for those who watch over what runs: a disk that is full, say, ends nothing. It is told once."""
    try:
        turn_over(log, cap_bytes)
    except OSError as error:
        reason = f"{log} cannot be turned over: {error.strerror}"
        if reason not in _told:
            _told.add(reason)
            logger.warning("%s", reason)


def turn_over_at_start(log: Path, cap_bytes: int) -> None:
    """The same with the whole file, for a log that nobody writes to."""
    with suppress(FileNotFoundError):
        if log.lstat().st_size > cap_bytes:
            _make_room(log)
            log.replace(_older(log, 1))


def _move_head(log: Path, descriptor: int, status: os.stat_result) -> None:
    block = os.fstatvfs(descriptor).f_bsize
    cut, end = _where_to_cut(descriptor, status.st_size, block)
    partial = log.with_name(f"{log.name}.turning")
    partial.unlink(missing_ok=True)
    with private_files.create(partial) as copy:
        if os.geteuid() == 0:
            os.fchown(copy.fileno(), status.st_uid, status.st_gid)
        _copy(descriptor, copy.fileno(), 0, end)
        _make_room(log)
        partial.replace(_older(log, 1))
        # Only whole blocks can be cut off: what is left of the last copied line becomes a note.
        os.pwrite(descriptor, _note(log, end - cut), cut)
        if not _collapse(descriptor, cut):
            _empty(descriptor, copy.fileno(), end)


def _where_to_cut(descriptor: int, size: int, block: int) -> tuple[int, int]:
    """Where the file's new head begins, at a block's start, and where the line that lies there ends.

    A line as long as the log is torn.
    """
    cut = (size - 1) // block * block
    while cut > 0:
        # From the byte before: a line that ends there needs no mending.
        found = os.pread(descriptor, block + 1, cut - 1).find(b"\n")
        if found >= 0:
            return cut, cut + found
        cut -= block
    cut = (size - 1) // block * block
    return cut, cut


def _copy(source: int, target: int, begin: int, end: int) -> None:
    while begin < end and (sent := os.sendfile(target, source, begin, end - begin)):
        begin += sent


def _note(log: Path, length: int) -> bytes:
    return f"(earlier lines: {log.name}.1)".encode()[: length - 1].ljust(length - 1) + b"\n" if length else b""


def _collapse(descriptor: int, length: int) -> bool:
    """Cut off the first bytes of a file, whole blocks; ``False`` where that cannot be done."""
    if not length:
        return False
    library = ctypes.CDLL(None, use_errno=True)
    try:
        fallocate = library.fallocate
    except AttributeError:
        return False
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    return bool(fallocate(descriptor, _COLLAPSE_RANGE, 0, length) == 0)


def _empty(descriptor: int, copy: int, copied: int) -> None:
    """Copy the rest, until a look finds nothing new, and empty the file at once."""
    for _ in range(_LOOKS):
        size = os.fstat(descriptor).st_size
        if size == copied:
            break
        _copy(descriptor, copy, copied, size)
        copied = size
    os.ftruncate(descriptor, 0)


def _make_room(log: Path) -> None:
    """Each older file one further; the oldest goes."""
    for number in range(KEPT - 1, 0, -1):
        with suppress(FileNotFoundError):
            _older(log, number).replace(_older(log, number + 1))


def _older(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
