"""Who gets into STRAVA_HOME and into the lake: what is more open than it should be, told or closed.

What this program has made under its own names in STRAVA_HOME is closed. What lies elsewhere, or was there before, may
be as somebody wants it: it is told.
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
from strava_pipeline.local import acl, private_files
from strava_pipeline.local.private_files import NOBODY_ELSE, Readers
from strava_pipeline.settings import Settings

# What this program makes in STRAVA_HOME, beside the lake; Postgres keeps its own folder to itself.
OURS = (
    ".env",
    "dagster",
    "logs",
    "postgres.new",
    "postgres.socket",
    "postgres.starting",
    "postgres.users",
)
_LOCAL = ("file://", "local://")


def lake_folder(settings: Settings) -> Path | None:
    """The lake's folder; ``None`` if it is not on a disk of this machine."""
    url = settings.lake_url or str(settings.home / "lake")
    for prefix in _LOCAL:
        url = url.removeprefix(prefix)
    return None if "://" in url else Path(url).expanduser().resolve()


def lake_readers(settings: Settings) -> Readers:
    """Who may read the lake beside its owner; ``ConfigurationError`` if this user cannot give files to that group."""
    if settings.file_group is None:
        return NOBODY_ELSE
    group = grp.getgrnam(settings.file_group).gr_gid
    if os.geteuid() != 0 and group not in (os.getegid(), *os.getgroups()):
        raise ConfigurationError(f"STRAVA_FILE_GROUP: this user is not in the group {settings.file_group}: join it")
    return Readers(group)


def let_readers_in(settings: Settings) -> Readers:
    """Who may read the lake beside its owner; they may pass STRAVA_HOME from now on, should the lake lie in it.

    ``ConfigurationError`` if they cannot be let pass without everybody else.
    """
    readers, lake, home = lake_readers(settings), lake_folder(settings), settings.home.resolve()
    if lake is None or not lake.is_relative_to(home):
        return readers
    private_files.make_folder(home)
    if readers.group is not None:
        above = [folder for folder in lake.parents if folder.is_relative_to(home)]
        for folder in filter(Path.exists, above):
            try:
                acl.let_pass(folder, acl.a_group(readers.group))
            except OSError as error:
                raise ConfigurationError(
                    f"{folder} cannot let in the group {settings.file_group} alone ({error.strerror}):"
                    " set STRAVA_LAKE_URL to a folder outside STRAVA_HOME"
                ) from None
    return readers


def close_home(settings: Settings) -> int:
    """Close what others can get at in STRAVA_HOME, the folder first; returns how many files and folders that was."""
    found, is_root = 0, os.geteuid() == 0
    home = settings.home.resolve()
    if home.is_dir() and not _is_shared(home):
        found += private_files.close(home)
    for top, readers in _trees(settings):
        for path in _below(top):
            with suppress(FileNotFoundError):  # runs come and go meanwhile
                if is_root or path.lstat().st_uid == os.geteuid():
                    private_files.share(path, readers)
                    found += private_files.close(path, readers)
    return found


def openings(settings: Settings) -> list[str]:
    """What is more open than it should be, and how to close it: a line each."""
    told = []
    home = settings.home.resolve()
    if home.is_dir() and private_files.is_open(home):
        told.append(_line(home, f"chmod go= {home}"))
    for top, readers in _trees(settings):
        open_ones = [path for path in _below(top) if _is_open(path, readers)]
        if open_ones:
            more = f" ({len(open_ones)} files and folders)" if len(open_ones) > 1 else ""
            told.append(_line(open_ones[0], f"chmod -R go= {top}{more}"))
    lake, readers = lake_folder(settings), lake_readers(settings)
    if lake is not None and not lake.is_relative_to(home) and lake.is_dir() and _is_open(lake, readers):
        told.append(_line(lake, f"chmod -R go= {lake}, or name a group that may read it in STRAVA_FILE_GROUP"))
    storage = settings.dagster_home / "storage" if settings.dagster_home else None
    if storage is not None and storage.is_dir() and _is_open(storage, NOBODY_ELSE):
        told.append(_line(storage, f"chmod -R go= {storage}"))
    return told + list(_passable_above(home, Path(sys.prefix).resolve()))


def _is_open(path: Path, readers: Readers) -> bool:
    try:
        return private_files.is_open(path, readers)
    except FileNotFoundError:  # runs come and go meanwhile
        return False


def _trees(settings: Settings) -> Iterator[tuple[Path, Readers]]:
    """What this program has made in STRAVA_HOME, and who may read it."""
    home = settings.home.resolve()
    for name in OURS:
        yield home / name, NOBODY_ELSE
    lake = lake_folder(settings)
    if lake is not None and lake != home and lake.is_relative_to(home):
        yield lake, lake_readers(settings)


def _below(top: Path) -> Iterator[Path]:
    """A file, or a folder with all it holds, each folder before what is in it; no link is followed."""
    if top.is_symlink() or not top.exists():
        return
    yield top
    if top.is_dir():
        for folder, folders, files in os.walk(top):
            yield from (Path(folder) / name for name in (*folders, *files))


def _is_shared(home: Path) -> bool:
    """Whether STRAVA_HOME is a place that serves for more: a user's own folder, a temporary one, another user's."""
    status = home.stat()
    return (
        bool(status.st_mode & stat.S_ISVTX) or home == Path.home().resolve() or os.geteuid() not in (0, status.st_uid)
    )


def _passable_above(*places: Path) -> Iterator[str]:
    """Folders that everybody may pass and nobody list: what earlier versions made of those above data and programs."""
    if os.geteuid() != 0:
        return
    for folder in dict.fromkeys(above for place in places for above in place.parents):
        if folder.is_dir() and folder.stat().st_mode & 0o007 == stat.S_IXOTH:
            yield (
                f"{folder} may be passed by everybody, which earlier versions brought about: chmod o-x {folder},"
                " unless you want that, and start again"
            )


def _line(path: Path, remedy: str) -> str:
    return f"{path} ({stat.S_IMODE(path.lstat().st_mode):04o}) is open to others: {remedy}"
