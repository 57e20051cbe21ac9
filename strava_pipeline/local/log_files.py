"""Rotation of log files while services write to them: old lines move to ``NAME.1``, then to ``NAME.2``, and so on.

A service writes through an inherited file descriptor and cannot be told to open another file. So its file stays, and
its first part is copied and then cut off. On ext4 and XFS the kernel cuts in one step between two writes: no line is
lost or split, and no service waits. If this process dies in between, lines are in both files. On other file systems the
file is truncated once all of it has been copied; lines written in the microseconds before are lost.
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
_MOST_COPIES = 10_000
logger = get_logger(__name__)
_warned: set[str] = set()


def rotate(log: Path, cap_bytes: int) -> bool:
    """Move the first part of a log that is longer than ``cap_bytes`` to ``NAME.1``; returns whether it was longer.

    At most :data:`KEPT` older files are kept. Only one process at a time may call this for a log. Links are ignored.
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


def rotate_or_warn(log: Path, cap_bytes: int) -> None:
    """Rotate a log; log a warning once if that fails (disk full, for example), so that the services go on."""
    try:
        rotate(log, cap_bytes)
    except OSError as error:
        reason = f"{log} cannot be rotated: {error.strerror}"
        if reason not in _warned:
            _warned.add(reason)
            logger.warning("%s", reason)


def rotate_unused(log: Path, cap_bytes: int) -> None:
    """Rename a log that is longer than ``cap_bytes`` to ``NAME.1``; for a log that no process has open."""
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
        # Only whole blocks can be cut off: the rest of the last copied line is overwritten by a note.
        os.pwrite(descriptor, _note(log, end - cut), cut)
        if not _collapse(descriptor, cut):
            _truncate(descriptor, copy.fileno(), end)


def _where_to_cut(descriptor: int, size: int, block: int) -> tuple[int, int]:
    """Return the offset of the block where the file is cut, and the end of the line that crosses this offset.

    A line as long as the whole log is split.
    """
    cut = (size - 1) // block * block
    while cut > 0:
        # Start at the byte before: no line crosses the offset if one ends there.
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
    """Cut off the first bytes of a file, whole blocks; returns whether the file system could do so."""
    if not length:
        return False
    library = ctypes.CDLL(None, use_errno=True)
    try:
        fallocate = library.fallocate
    except AttributeError:
        return False
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    return bool(fallocate(descriptor, _COLLAPSE_RANGE, 0, length) == 0)


def _truncate(descriptor: int, copy: int, copied: int) -> None:
    """Copy the rest of the file until it no longer grows, then truncate it at once."""
    for _ in range(_MOST_COPIES):
        size = os.fstat(descriptor).st_size
        if size == copied:
            break
        _copy(descriptor, copy, copied, size)
        copied = size
    os.ftruncate(descriptor, 0)


def _make_room(log: Path) -> None:
    """Rename each older file to the next number; the oldest is overwritten."""
    for number in range(KEPT - 1, 0, -1):
        with suppress(FileNotFoundError):
            _older(log, number).replace(_older(log, number + 1))


def _older(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
