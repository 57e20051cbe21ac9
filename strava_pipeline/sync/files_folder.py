"""The watched folder: which files wait in it, for whom, and which of them rest.

In it each athlete has a folder, named by id; files at its top are those of a single athlete. Nothing but folders is
opened here, and no link is followed: whoever may write into a folder could otherwise have us read any file. What is
hidden, and what some program is still bringing, is left alone. :mod:`.folder_files` reads and moves.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.printable import printable
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.athletes.folder_owners import FolderOwners, folder_owners
from strava_pipeline.warehouse.engine import autocommit

DONE: Final = "done"
FAILED: Final = "failed"
# A file that was the same for so long is whole.
RESTS_SECONDS: Final = 5.0
# Characters of a name in a line.
LONGEST_NAME: Final = 120
_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# What open says of a link where a folder is wanted.
_LINK: Final = frozenset({errno.ELOOP, errno.ENOTDIR})
_ATHLETE = re.compile(r"[1-9][0-9]{0,17}")
# Names of files that are still being brought: by browsers, rsync, Syncthing, clients of FTP, and editors.
_PARTIAL = re.compile(
    r"[.~].*|.*~|.*\.(part|partial|tmp|temp|crdownload|download|filepart|opdownload|swp|!sync|!ut)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Signature:
    """What tells that a file was written or replaced; ``modified``: ns since 1970, by its disk's clock."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, found: os.stat_result) -> Signature:
        """Return the signature of a file that was looked at."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class WaitingFile:
    """A file that waits to be read: its name, without its folder, and the athlete of that; ``None``: at the top."""

    athlete_id: int | None
    name: str
    signature: Signature
    at_top: bool = False


@dataclass(frozen=True)
class Look:
    """The ``files`` that wait, the oldest first, and ``troubles``: what keeps others waiting, a line each."""

    files: tuple[WaitingFile, ...]
    troubles: tuple[str, ...] = ()

    @property
    def athletes(self) -> frozenset[int]:
        """The athletes for whom files wait."""
        return frozenset(file.athlete_id for file in self.files if file.athlete_id is not None)


def folder_of(settings: Settings) -> Path:
    """Return the watched folder; ``ConfigurationError`` if none is set."""
    if settings.files_folder is None:
        raise ConfigurationError("STRAVA_FILES_FOLDER is not set: no folder is watched")
    return settings.files_folder


def waiting_files(engine: Engine, root: Path) -> Look:
    """Return the files that wait in the watched folder, with the athletes that they are of, and what is amiss there.

    ``ConfigurationError`` if the folder cannot be read.
    """
    found = look(root)
    if not found.files:
        return found
    with autocommit(engine) as connection:
        return assigned(root, found, folder_owners(connection, found.athletes))


def look(root: Path) -> Look:
    """Look through the watched folder; ``ConfigurationError`` if it cannot be.

    Files at its top have no athlete yet: :func:`assigned` gives them to the single one.
    """
    files: list[WaitingFile] = []
    troubles: list[str] = []
    with opened(root) as top:
        for name in _names(top):
            found = _stat(top, name)
            if found is None or _PARTIAL.fullmatch(name):
                continue
            if stat.S_ISREG(found.st_mode):
                files.append(WaitingFile(None, name, Signature.of(found), at_top=True))
            elif _ATHLETE.fullmatch(name):
                files += _of_athlete(root, top, name, troubles)
            elif stat.S_ISDIR(found.st_mode) and name not in {DONE, FAILED}:
                troubles.append(f"{shown(root, name)} is no folder of an athlete: name it by the athlete's id")
    return Look(tuple(sorted(files, key=lambda file: file.signature.modified)), tuple(troubles))


def assigned(root: Path, found: Look, owners: FolderOwners) -> Look:
    """Return what is taken: without the files of athletes who have left, and those at the top of a single athlete."""
    troubles = [
        f"{root / str(athlete_id)} is not read: the athlete has disconnected; delete it, or let them connect again"
        for athlete_id in sorted(found.athletes & owners.gone)
    ]
    if owners.single is None and any(file.at_top for file in found.files):
        troubles.append(
            f"files in {root} itself are not read, as there is not one athlete alone: use folders named by id"
        )
    given = (replace(file, athlete_id=owners.single) if file.at_top else file for file in found.files)
    files = tuple(file for file in given if file.athlete_id is not None and file.athlete_id not in owners.gone)
    return Look(files, (*found.troubles, *troubles))


@dataclass
class Rest:
    """Remembers since when files are the same, for a process that looks again and again. ``clock``: s, steady."""

    clock: Callable[[], float] = time.monotonic
    _since: dict[tuple[bool, int | None, str], tuple[Signature, float]] = field(default_factory=dict)

    def rested(self, files: Iterable[WaitingFile]) -> list[WaitingFile]:
        """Return those of the files, all that a look found, that were the same for ``RESTS_SECONDS``."""
        moment, before = self.clock(), self._since
        self._since, found = {}, []
        for file in files:
            key = (file.at_top, file.athlete_id, file.name)
            signature, since = before.get(key, (None, moment))
            if signature != file.signature:
                since = moment
            self._since[key] = (file.signature, since)
            if moment - since >= RESTS_SECONDS:
                found.append(file)
        return found


def erase_folder(settings: Settings, athlete_id: int) -> None:
    """Delete an athlete's folder with all that lies in it; does nothing if there is none, or no folder is watched.

    ``ConfigurationError`` if the watched folder is not there, or something in it cannot be deleted.
    """
    if settings.files_folder is None:
        return
    name = str(athlete_id)
    with opened(settings.files_folder) as top:
        found = _stat(top, name)
        if found is None:
            return
        try:
            if stat.S_ISDIR(found.st_mode):
                shutil.rmtree(name, dir_fd=top)
            else:
                os.unlink(name, dir_fd=top)
        except FileNotFoundError:
            erase_folder(settings, athlete_id)  # somebody deletes there, too
        except OSError as error:
            # A folder that something is mounted on stays, empty.
            if error.errno != errno.EBUSY:
                raise ConfigurationError(
                    f"the files in {settings.files_folder / name} cannot be deleted: {error.strerror}"
                ) from None


def erase_files_at_top(settings: Settings) -> None:
    """Delete the files that wait at the top of the watched folder, once no athlete is left whose they could be.

    Otherwise whoever comes next would be the single athlete, and get them. Errors are those of :func:`erase_folder`.
    """
    if settings.files_folder is None:
        return
    waiting = [file for file in look(settings.files_folder).files if file.at_top]
    with opened(settings.files_folder) as top:
        for file in waiting:
            try:
                os.unlink(file.name, dir_fd=top)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise ConfigurationError(
                    f"{shown(settings.files_folder, file.name)} cannot be deleted: {error.strerror}"
                ) from None


@contextmanager
def opened(root: Path) -> Iterator[int]:
    """Open the watched folder during the block, as a descriptor; ``ConfigurationError`` if it cannot be."""
    try:
        # The operator may have put a link here.
        descriptor = os.open(root, _OPEN_FOLDER)
    except OSError as error:
        raise ConfigurationError(
            f"STRAVA_FILES_FOLDER: {root} cannot be read: {error.strerror}; make this folder, or mount it here"
        ) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_within(folder: int, name: str) -> Iterator[int]:
    """Open a folder in a folder during the block; ``OSError`` if it cannot be, or is a link."""
    descriptor = os.open(name, _OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def shown(root: Path, *names: str) -> str:
    """Return a path in the watched folder for a line: names there may be anybody's."""
    return "/".join((str(root), *(printable(name, LONGEST_NAME) for name in names)))


def _of_athlete(root: Path, top: int, name: str, troubles: list[str]) -> Iterator[WaitingFile]:
    """The files that wait in an athlete's folder; none if they could not be moved afterwards."""
    try:
        with opened_within(top, name) as folder:
            found = [(each, _stat(folder, each)) for each in _names(folder) if not _PARTIAL.fullmatch(each)]
            is_ours = os.access(name, os.R_OK | os.W_OK | os.X_OK, dir_fd=top, effective_ids=True)
    except FileNotFoundError:
        return
    except OSError as error:
        why = "links are not followed" if error.errno in _LINK else error.strerror
        troubles.append(f"{root / name} cannot be read: {why}; make it a folder that this process may read and write")
        return
    files = [(each, about) for each, about in found if about is not None and stat.S_ISREG(about.st_mode)]
    if files and not is_ours:
        troubles.append(f"{root / name} is not read: files could not be moved out of it; give this process the right")
        return
    yield from (WaitingFile(int(name), each, Signature.of(about)) for each, about in files)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


def _stat(folder: int, name: str) -> os.stat_result | None:
    """What a name stands for, be it a link; ``None`` if it is gone."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
