"""``STRAVA_HOME``, the folder in which this machine keeps its data and its settings file, and what lies there."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

from strava_pipeline.errors import ConfigurationError

# Special between double quotes, where pg_ctl puts the path in a shell command.
_OF_A_SHELL = frozenset('"$`\\')


def home_from_environment() -> Path:
    """Return ``STRAVA_HOME``, the folder in which this machine keeps its data and its settings file.

    ``ConfigurationError`` as in :func:`checked_home`.
    """
    return checked_home(os.environ.get("STRAVA_HOME", "").strip() or Path("~", ".strava-pipeline"))


def checked_home(given: str | Path) -> Path:
    """Return a path for ``STRAVA_HOME`` as an absolute one.

    ``ConfigurationError`` for a path that Postgres' programs cannot use, and for the home of an unknown user.
    """
    try:
        home = Path(given).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigurationError(f"STRAVA_HOME names the home of an unknown user: {error}") from None
    # The embedded Postgres gets the path with its links resolved.
    for path in (str(home), os.path.realpath(home)):
        odd = next((char for char in path if char in _OF_A_SHELL or not char.isprintable()), None)
        if odd is not None:
            raise ConfigurationError(
                f"STRAVA_HOME {path!a} holds {odd!a}, which Postgres' programs do not accept in a path:"
                " choose a folder whose path has no line break, control character, byte outside UTF-8,"
                ' nor any of " $ ` \\'
            )
    return home


class HomeEntry(StrEnum):
    """All names of files and folders that this program makes in ``STRAVA_HOME``."""

    SETTINGS = ".env"
    DAGSTER = "dagster"
    DEMO = "demo"
    DIRECT_ALERTS = "direct-alerts.lock"
    DIRECTLY_TOLD = "direct-alerts.json"
    DATABASE_LOGINS = "database.logins"
    ERASURES = "erasures"
    LAKE = "lake"
    LOGS = "logs"
    POSTGRES = "postgres"
    POSTGRES_LOGINS = "postgres.logins"
    POSTGRES_NEW = "postgres.new"
    POSTGRES_SOCKET = "postgres.socket"
    POSTGRES_STARTING = "postgres.starting"
    POSTGRES_USERS = "postgres.users"
    TEMPORARY = "tmp"
    TEMPORARY_NOTE = "temporary.folder"
    UPLOADS = "uploads"
    WORK = "work"
    WORKSPACE = "workspace.yaml"


def settings_file(home: Path) -> Path:
    """Return the path of the settings file in ``home``, which is ``STRAVA_HOME``."""
    return home / HomeEntry.SETTINGS
