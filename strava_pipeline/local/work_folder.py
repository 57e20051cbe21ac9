"""Where services work: folders of their own, in which nobody else can have put anything.

Python's ``-m`` looks for modules in the current folder first, and Dagster reads a ``.env`` there. If that were the
folder in which ``up`` was called, whoever may write to it could have us run a program of theirs. Dagster's code servers
listen at sockets in the temporary folder, under names that stand in their arguments: in a shared one, others could be
there first.
"""

from __future__ import annotations

import os
from pathlib import Path

from strava_pipeline.local import private_files, socket_folder
from strava_pipeline.settings import Settings

# A socket's path is limited to 107 bytes by the kernel; the name that Dagster draws for one takes 12 of them.
LONGEST_TEMPORARY = 90
NOTE = "temporary.folder"


def work_folder(home: Path) -> Path:
    """The current folder of services: private, and empty."""
    folder = home / "work"
    private_files.make_folder(folder)
    return folder


def temporary_folder(home: Path) -> Path:
    """The temporary folder of services, private; where its path is too long for a socket, one of a random name."""
    folder = home / "tmp"
    if len(os.fsencode(folder)) <= LONGEST_TEMPORARY:
        private_files.make_folder(folder)
        return folder
    note = home / NOTE
    return socket_folder.noted_folder(note, os.geteuid()) or socket_folder.new_folder(note, os.geteuid(), os.getegid())


def environment(settings: Settings) -> dict[str, str]:
    """What services need in their environment to work there; paths that were given from here stay what they are."""
    found = {"PYTHONSAFEPATH": "1", "TMPDIR": str(temporary_folder(settings.home))}
    if settings.lake_url is not None and ":" not in settings.lake_url:
        found["STRAVA_LAKE_URL"] = str(Path(settings.lake_url).expanduser().absolute())
    for name, path in os.environ.items():
        if name.startswith(("STRAVA_", "DAGSTER_")) and name.endswith("_FILE") and path:
            found[name] = str(Path(path).absolute())
    return found
