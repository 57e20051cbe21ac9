"""Reads the files of one athlete in the watched folder, and moves each to ``done`` or ``failed`` once it was taken.

A file that goes on changing is left for a later look. One that was moved was read to its end before: if the process
dies in between, the next look finds the file where it was.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.printable import printable
from strava_pipeline.sync.files_folder import DONE, FAILED, Signature, WaitingFile, opened, opened_within, shown

# Bytes that a name may have on most disks.
LONGEST_NAME: Final = 255
# Larger ones are no recordings.
MOST_BYTES: Final = 128 * 2**20
ZIP: Final = b"PK\x03\x04"
REASON: Final = ".txt"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ENDING = re.compile(r"(\.[a-z0-9]{1,5})?(\.gz)?\Z", re.IGNORECASE)


class NotAtRest(Exception):
    """A file is gone, or was changed or replaced since it was found: a later look has it."""


class CannotMove(Exception):
    """The disk or its rights do not let files be read or moved; the message is a line that says what to do."""


@dataclass(frozen=True)
class FolderFiles:
    """The open folder of one athlete in the watched folder ``root``; ``top`` and ``own`` are descriptors."""

    root: Path
    athlete_id: int
    top: int
    own: int

    def is_archive(self, file: WaitingFile) -> bool:
        """Whether a file begins as a zip does. ``NotAtRest``, ``CannotMove``."""
        return self._begin_of(file, len(ZIP)) == ZIP

    def read(self, file: WaitingFile) -> bytes:
        """Return a file's bytes. ``NotAtRest``; ``UnreadableFile`` for what is no recording; ``CannotMove``."""
        if file.signature.size > MOST_BYTES:
            raise UnreadableFile(f"it is larger than {MOST_BYTES // 2**20} MiB: no recording is")
        body = self._begin_of(file, file.signature.size + 1)
        if len(body) != file.signature.size:
            raise NotAtRest(file.name)
        return body

    @contextmanager
    def opened_file(self, file: WaitingFile) -> Iterator[BinaryIO]:
        """Open a file during the block: what takes its place meanwhile is not read. ``NotAtRest``, ``CannotMove``."""
        with os.fdopen(self._descriptor(file), "rb") as stream:
            self._check(file, os.fstat(stream.fileno()))
            yield stream

    def _descriptor(self, file: WaitingFile) -> int:
        try:
            return os.open(file.name, _READ, dir_fd=self._place(file))
        except FileNotFoundError:
            raise NotAtRest(file.name) from None
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link has taken its place
                raise NotAtRest(file.name) from None
            raise self._trouble(file, "cannot be read", error) from None

    def _begin_of(self, file: WaitingFile, most: int) -> bytes:
        descriptor = self._descriptor(file)
        try:
            with os.fdopen(descriptor, "rb") as stream:
                self._check(file, os.fstat(descriptor))
                begin = stream.read(most)
                self._check(file, os.fstat(descriptor))
        except OSError as error:
            raise self._trouble(file, "cannot be read", error) from None
        return begin

    def prepare(self) -> None:
        """Make the folders that files are moved to, and look whether that works, before one is read. ``CannotMove``."""
        for name in (DONE, FAILED):
            try:
                os.mkdir(name, stat.S_IMODE(os.fstat(self.own).st_mode), dir_fd=self.own)
            except FileExistsError:
                pass
            except OSError as error:
                raise CannotMove(f"{shown(self.root, self._name, name)} cannot be made: {error.strerror}") from None
            with self._opened(name):
                if not os.access(name, os.W_OK | os.X_OK, dir_fd=self.own, effective_ids=True):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def move_to_done(self, file: WaitingFile) -> str:
        """Move a file that was taken; return its path from the watched folder. ``NotAtRest``, ``CannotMove``."""
        with self._opened(DONE) as target:
            return f"{self._name}/{DONE}/{self._move(file, target, self._free(target, file.name))}"

    def move_to_failed(self, file: WaitingFile, why: str) -> str:
        """Move a file that was refused, with a file beside it that says why; return its path from the watched folder.

        ``NotAtRest``, ``CannotMove``.
        """
        with self._opened(FAILED) as target:
            name = self._free(target, file.name)
            self._write(target, f"{name}{REASON}", f"{printable(why)}\n")
            try:
                return f"{self._name}/{FAILED}/{self._move(file, target, name)}"
            except NotAtRest:
                os.unlink(f"{name}{REASON}", dir_fd=target)
                raise

    @property
    def _name(self) -> str:
        return str(self.athlete_id)

    def _place(self, file: WaitingFile) -> int:
        return self.top if file.at_top else self.own

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        try:
            with opened_within(self.own, name) as folder:
                yield folder
        except OSError as error:
            path = shown(self.root, self._name, name)
            raise CannotMove(
                f"files cannot be moved to {path}: {error.strerror}; let this process write there"
            ) from None

    def _move(self, file: WaitingFile, target: int, name: str) -> str:
        source = self._place(file)
        self._check(file, _stat(source, file.name))
        try:
            os.rename(file.name, name, src_dir_fd=source, dst_dir_fd=target)
        except FileNotFoundError:
            raise NotAtRest(file.name) from None
        moved = _stat(target, name)
        if moved is None or Signature.of(moved) != file.signature:
            # Replaced right then: what nobody has read goes back.
            os.rename(name, self._free(source, file.name), src_dir_fd=target, dst_dir_fd=source)
            raise NotAtRest(file.name)
        return name

    def _write(self, folder: int, name: str, line: str) -> None:
        # Readable for whoever may read the file beside it.
        descriptor = os.open(name, _WRITE, 0o640, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(line)
        except OSError:
            # A full disk: the file is moved all the same, and the log tells why.
            os.unlink(name, dir_fd=folder)

    def _free(self, folder: int, name: str) -> str:
        """The name, with a number if it is taken there, be it by a reason."""
        number = 1
        while True:
            numbered = _numbered(name, number)
            if _stat(folder, numbered) is None and _stat(folder, f"{numbered}{REASON}") is None:
                return numbered
            number += 1

    def _check(self, file: WaitingFile, found: os.stat_result | None) -> None:
        if found is None or not stat.S_ISREG(found.st_mode) or Signature.of(found) != file.signature:
            raise NotAtRest(file.name)

    def _trouble(self, file: WaitingFile, what: str, error: OSError) -> CannotMove:
        folder = () if file.at_top else (self._name,)
        return CannotMove(f"{shown(self.root, *folder, file.name)} {what}: {error.strerror}")


@contextmanager
def files_of(root: Path, athlete_id: int) -> Iterator[FolderFiles]:
    """Open an athlete's folder during the block, and make it where files at the top are all there is.

    ``CannotMove``; ``ConfigurationError`` if the watched folder cannot be read.
    """
    name = str(athlete_id)
    with ExitStack() as stack:
        top = stack.enter_context(opened(root))
        try:
            if _stat(top, name) is None:
                os.mkdir(name, stat.S_IMODE(os.fstat(top).st_mode), dir_fd=top)
            own = stack.enter_context(opened_within(top, name))
        except OSError as error:
            raise CannotMove(f"{root / name} cannot be used: {error.strerror}") from None
        yield FolderFiles(root, athlete_id, top, own)


def _numbered(name: str, number: int) -> str:
    """A name with a number before its ending, such as ``ride (2).fit.gz``, short enough for a reason beside it."""
    found = _ENDING.search(name)
    ending = found[0] if found is not None else ""
    stem, mark = name.removesuffix(ending), f" ({number})" if number > 1 else ""
    most = LONGEST_NAME - len(REASON) - len(os.fsencode(mark + ending))
    while len(os.fsencode(stem)) > most:
        stem = stem[:-1]
    return f"{stem}{mark}{ending}"


def _stat(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
