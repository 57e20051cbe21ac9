"""Private working and temporary folders for services.

Python's ``-m`` first looks for modules in the current folder, and Dagster reads a ``.env`` there. If a service worked
in the folder where ``up`` was called, everybody who may write there could make it run their code. Dagster's code
servers listen on sockets in the temporary folder, with names that all users can see in their arguments: in a shared
folder, another user could create such a socket first.
"""

from __future__ import annotations

import os
from pathlib import Path

from strava_pipeline.home import HomeEntry
from strava_pipeline.local import private_files, socket_folder
from strava_pipeline.settings import Settings

# The kernel limits a socket's path to 107 bytes, of which Dagster's random name for a socket takes 12.
LONGEST_TEMPORARY = 90
LOG_FORMAT = "STRAVA_LOG_FORMAT"


def make_work_folder(home: Path) -> Path:
    """Make the private, empty working folder of services, and return its path."""
    folder = home / HomeEntry.WORK
    private_files.make_folder(folder)
    return folder


def make_temporary_folder(home: Path) -> Path:
    """Make the private temporary folder of services, and return its path.

    If the path in ``home`` is too long for a socket, the folder is elsewhere, with a random name.
    """
    folder = home / HomeEntry.TEMPORARY
    if len(os.fsencode(folder)) <= LONGEST_TEMPORARY:
        private_files.make_folder(folder)
        return folder
    note = home / HomeEntry.TEMPORARY_NOTE
    return socket_folder.find_noted_folder(note, os.geteuid()) or socket_folder.create_noted_folder(
        note, os.geteuid(), os.getegid()
    )


def service_environment(settings: Settings) -> dict[str, str]:
    """Return environment variables for services in these folders; relative paths in settings become absolute."""
    found = {
        "PYTHONSAFEPATH": "1",
        "TMPDIR": str(make_temporary_folder(settings.home)),
        LOG_FORMAT: settings.log_format.value,
    }
    if settings.lake_url is not None and ":" not in settings.lake_url:
        found["STRAVA_LAKE_URL"] = str(Path(settings.lake_url).expanduser().absolute())
    if settings.upload_url is not None and ":" not in settings.upload_url:
        found["STRAVA_UPLOAD_URL"] = str(Path(settings.upload_url).expanduser().absolute())
    if settings.ca_bundle is not None:
        found["STRAVA_CA_BUNDLE"] = str(settings.ca_bundle)
    for name, text in os.environ.items():
        if name.startswith(("STRAVA_", "DAGSTER_")) and name.endswith("_FILE") and (path := text.strip()):
            found[name] = str(Path(path).absolute())
    return found
