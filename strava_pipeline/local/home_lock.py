"""A lock that one of the processes that share ``STRAVA_HOME`` holds, until it ends.

Once it is open it needs no room on the disk, and no database.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self


class HomeLock:
    """A locked file of a home. The kernel frees the lock when its process ends, however that is."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file, and make it if it is missing. Where that is not possible, each process has the lock."""
        try:
            return cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except OSError:
            return cls(None)

    def acquire(self) -> bool:
        """Take the lock, unless another process has it; returns whether this one has it now."""
        if self._descriptor is None:
            return True
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # This file system knows no locks.
            return True
        return True

    def close(self) -> None:
        """Give the lock back, if this process has it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
