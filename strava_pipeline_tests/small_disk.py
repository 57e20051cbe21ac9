"""A disk of a few megabytes, in memory, which a test fills to the last byte."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from strava_pipeline_tests.eventually import PATIENCE_SECONDS

BALLAST = "ballast"
BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class SmallDisk:
    """A file system of its own at ``folder``."""

    folder: Path

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def fill(self) -> None:
        """Leave no byte free; what others free meanwhile is taken as well."""
        with (self.folder / BALLAST).open("ab", buffering=0) as ballast:
            for size in (BLOCK_BYTES, 1):
                _write_until_refused(ballast.fileno(), bytes(size))

    def empty(self) -> None:
        """Give back what :meth:`fill` took."""
        (self.folder / BALLAST).unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Mount a disk of this size at an empty folder; needs root, or ``sudo`` that asks for no password."""
    options = f"size={size_bytes},mode=0755,uid={os.getuid()},gid={os.getgid()}"
    _as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        _as_root("umount", str(folder))


def _write_until_refused(descriptor: int, block: bytes) -> None:
    try:
        while True:
            os.write(descriptor, block)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def _as_root(*command: str) -> None:
    prefix = () if os.getuid() == 0 else ("sudo", "-n")
    subprocess.run((*prefix, *command), check=True, timeout=PATIENCE_SECONDS)
