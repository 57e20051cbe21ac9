"""The settings of a command: the embedded Postgres is the database where none is named.

In a container only ``up`` and ``demo`` start one. Other commands use theirs, if ``STRAVA_HOME`` has one: each container
would otherwise have a database of its own, empty and without a word.
"""

from __future__ import annotations

import os

from strava_pipeline.home import HomeEntry
from strava_pipeline.settings import Settings, load_settings, variable_name


def command_settings() -> Settings:
    """Return the settings, as :func:`~strava_pipeline.settings.load_settings`; commands may start a database."""
    settings = load_settings()
    if settings.keeps_data_in_home or (settings.home / HomeEntry.POSTGRES).is_dir():
        return settings.with_embedded_database()
    return settings


def keep_data_in_home() -> None:
    """Let this process and those that it starts keep all data in ``STRAVA_HOME``, in a container, too."""
    os.environ[variable_name("data_in_home")] = "true"
