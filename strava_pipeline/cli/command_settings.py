"""The settings of a command: the embedded Postgres is the database where none is named."""

from __future__ import annotations

from strava_pipeline.settings import Settings, load_settings


def command_settings() -> Settings:
    """Return the settings, as :func:`~strava_pipeline.settings.load_settings`; commands may start a database."""
    return load_settings().with_embedded_database()
