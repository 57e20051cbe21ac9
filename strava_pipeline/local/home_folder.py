"""Access to STRAVA_HOME and to the lake: files and folders that are too open are closed or reported.

Files that this program made under its own names in STRAVA_HOME are closed. All others may be open on purpose, so they
are only reported.
"""

from __future__ import annotations

import grp
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import HomeEntry
from strava_pipeline.local import acl, private_files
from strava_pipeline.local.private_files import OWNER_ONLY, Readers
from strava_pipeline.settings import Settings

# Files and folders of this program in STRAVA_HOME, without the lake, and without the folder that Postgres protects.
OURS = tuple(name for name in HomeEntry if name not in (HomeEntry.LAKE, HomeEntry.POSTGRES))
_LOCAL = ("file://", "local://")


def lake_folder(settings: Settings) -> Path | None:
    """Return the lake's folder, or ``None`` if the lake is not in the file system of this machine."""
    url = settings.lake_location()
    for prefix in _LOCAL:
        url = url.removeprefix(prefix)
    return None if "://" in url else Path(url).expanduser().resolve()


def lake_readers(settings: Settings) -> Readers:
    """Return who may read the lake besides its owner.

    ``ConfigurationError`` if this user is not in the group of the setting, and so cannot share files with it.
    """
    if settings.file_group is None:
        return OWNER_ONLY
    group = grp.getgrnam(settings.file_group).gr_gid
    if os.geteuid() != 0 and group not in (os.getegid(), *os.getgroups()):
        raise ConfigurationError(
            f"STRAVA_FILE_GROUP: this user is not in the group {settings.file_group}: add the user to the group"
        )
    return Readers(group)


def let_lake_readers_traverse(settings: Settings) -> Readers:
    """Let the lake's readers traverse STRAVA_HOME if the lake is in it; returns the readers.

    ``ConfigurationError`` if the file system cannot let in this group alone.
    """
    readers, lake, home = lake_readers(settings), lake_folder(settings), settings.home.resolve()
    if lake is None or not lake.is_relative_to(home):
        return readers
    private_files.make_folder(home)
    if readers.group is not None:
        above = [folder for folder in lake.parents if folder.is_relative_to(home)]
        for folder in filter(Path.exists, above):
            try:
                acl.allow_traversal(folder, acl.group_principal(readers.group))
            except OSError as error:
                raise ConfigurationError(
                    f"{folder}: cannot give access to the group {settings.file_group} alone ({error.strerror}):"
                    " set STRAVA_LAKE_URL to a folder outside STRAVA_HOME"
                ) from None
    return readers


def close_home(settings: Settings) -> int:
    """Close our files and folders in STRAVA_HOME to others, STRAVA_HOME first; returns how many were open."""
    found, is_root = 0, os.geteuid() == 0
    home = settings.home.resolve()
    if home.is_dir() and not _is_shared(home):
        found += private_files.restrict(home)
    for top, readers in _own_files(settings):
        for path in _walk(top):
            with suppress(FileNotFoundError):  # runs come and go meanwhile
                if is_root or path.lstat().st_uid == os.geteuid():
                    private_files.share_with_group(path, readers)
                    found += private_files.restrict(path, readers)
    return found


def describe_openings(settings: Settings) -> list[str]:
    """Return one line for each file or folder that is too open, with the command that closes it."""
    told = []
    home = settings.home.resolve()
    if home.is_dir() and private_files.is_exposed(home):
        told.append(_line(home, f"chmod go= {home}"))
    for top, readers in _own_files(settings):
        open_ones = [path for path in _walk(top) if _is_open(path, readers)]
        if open_ones:
            more = f" ({len(open_ones)} files and folders)" if len(open_ones) > 1 else ""
            told.append(_line(open_ones[0], f"chmod -R go= {top}{more}"))
    lake, readers = lake_folder(settings), lake_readers(settings)
    if lake is not None and not lake.is_relative_to(home) and lake.is_dir() and _is_open(lake, readers):
        told.append(_line(lake, f"chmod -R go= {lake}, or name a group that may read it in STRAVA_FILE_GROUP"))
    return told + list(_traversable_parents(home, Path(sys.prefix).resolve()))


def describe_opening(folder: Path) -> str | None:
    """Return a line with the command that closes this folder, if others than its owner may use it."""
    is_open = folder.is_dir() and _is_open(folder, OWNER_ONLY)
    return _line(folder, f"chmod -R go= {folder}") if is_open else None


def _is_open(path: Path, readers: Readers) -> bool:
    try:
        return private_files.is_exposed(path, readers)
    except FileNotFoundError:  # runs come and go meanwhile
        return False


def _own_files(settings: Settings) -> Iterator[tuple[Path, Readers]]:
    """Yield the files and folders that this program made in STRAVA_HOME, each with its readers."""
    home = settings.home.resolve()
    for name in OURS:
        yield home / name, OWNER_ONLY
    lake = lake_folder(settings)
    if lake is not None and lake != home and lake.is_relative_to(home):
        yield lake, lake_readers(settings)


def _walk(top: Path) -> Iterator[Path]:
    """Yield ``top`` and everything in it, each folder before its content; links are not followed."""
    if top.is_symlink() or not top.exists():
        return
    yield top
    if top.is_dir():
        for folder, folders, files in os.walk(top):
            yield from (Path(folder) / name for name in (*folders, *files))


def _is_shared(home: Path) -> bool:
    """Whether STRAVA_HOME has other uses: it is a user's home, a temporary folder, or another user's folder."""
    status = home.stat()
    return (
        bool(status.st_mode & stat.S_ISVTX) or home == Path.home().resolve() or os.geteuid() not in (0, status.st_uid)
    )


def _traversable_parents(*places: Path) -> Iterator[str]:
    """Yield a line for each parent folder that all may traverse and nobody may list, as earlier versions left it."""
    if os.geteuid() != 0:
        return
    for folder in dict.fromkeys(above for place in places for above in place.parents):
        if folder.is_dir() and folder.stat().st_mode & 0o007 == stat.S_IXOTH:
            yield (
                f"{folder} can be traversed by everybody, which an earlier version allowed: run chmod o-x {folder}"
                " unless you want this, then start again"
            )


def _line(path: Path, remedy: str) -> str:
    return f"{path} ({stat.S_IMODE(path.lstat().st_mode):04o}) is open to others: {remedy}"
