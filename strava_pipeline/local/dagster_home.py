"""Dagster's instance folder and its configuration file."""

from __future__ import annotations

from pathlib import Path

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import private_files
from strava_pipeline.settings import HomeEntry, Settings

INSTANCE_FILE = "dagster.yaml"
# Dagster stores a step's events in batches of this size: each event by itself would take several connections.
EVENT_BATCH_SIZE = 100


def prepare(settings: Settings, storage_url: str) -> dict[str, str]:
    """Prepare Dagster's instance folder, and return environment variables for Dagster's processes.

    A folder in ``STRAVA_HOME`` gets this project's ``dagster.yaml``; a folder of the user must have one, else
    ``ConfigurationError``. ``storage_url`` is the URL of Dagster's own storage.
    """
    home = settings.dagster_home
    if home is None:
        home = settings.home / HomeEntry.DAGSTER
        private_files.make_folder(home)
        _copy_atomically(shipped_file(INSTANCE_FILE), home / INSTANCE_FILE)
    elif not (home / INSTANCE_FILE).exists():
        raise ConfigurationError(f"DAGSTER_HOME: {home / INSTANCE_FILE} is missing: create it, or unset DAGSTER_HOME")
    return {
        "DAGSTER_HOME": str(home.absolute()),
        "DAGSTER_POSTGRES_URL": storage_url,
        "DAGSTER_EVENT_BATCH_SIZE": str(EVENT_BATCH_SIZE),
        # A code location that cannot load, for an outage of Dagster's database, ends no backfill: it is tried again.
        "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1",
    }


def shipped_file(name: str) -> Path:
    """Return the path of a Dagster file of this package, beside this module or at the top of a checkout."""
    for candidate in (Path(__file__).parent / name, Path(__file__).parents[2] / name):
        if candidate.exists():
            return candidate
    raise ConfigurationError(f"{name} of this package is missing: install strava-pipeline anew")


def _copy_atomically(source: Path, target: Path) -> None:
    """Copy a file so that no process ever reads half of it."""
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    private_files.write_atomically(target, source.read_bytes())
