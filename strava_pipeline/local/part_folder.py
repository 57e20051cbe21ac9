"""A private folder beside a place, in which something is written before it gets its name there."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from strava_pipeline.local import private_files

_PART = ".part"


@contextmanager
def part_folder(folder: Path, name: str, *, of_any_name: bool = False) -> Iterator[Path]:
    """Yield a new folder in ``folder`` for what is to be called ``name``, which is gone after the block.

    The block renames it, or what is in it, once all is written. What processes left that died is removed first, of this
    name or ``of_any_name``; one at work holds the lock of its folder.
    """
    _remove_parts(folder, "*" if of_any_name else f"{escape(name)}.*")
    part = folder / f".{name}.{os.getpid()}{_PART}"
    private_files.make_folder(part)
    lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(lock)


def put_in_place(part: Path, target: Path) -> None:
    """Give a whole file, or a folder with all files in it, its name, once it is on disk."""
    for path in sorted(part.rglob("*")) if part.is_dir() else ():
        private_files.flush(path)
    private_files.flush(part)
    part.rename(target)
    private_files.flush(target.parent)


def _remove_parts(folder: Path, names: str) -> None:
    for part in folder.glob(f".{names}{_PART}"):
        with suppress(FileNotFoundError, NotADirectoryError, BlockingIOError, PermissionError):
            lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(part, ignore_errors=True)
            finally:
                os.close(lock)
