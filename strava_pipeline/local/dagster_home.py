"""Dagster's instance folder: where it is, and the file that configures it."""

from __future__ import annotations

from pathlib import Path

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import private_files
from strava_pipeline.settings import Settings

INSTANCE_FILE = "dagster.yaml"
# A step's materializations go into Dagster's storage together: one by one, each costs several connections.
EVENTS_AT_ONCE = 100


def prepare(settings: Settings, storage_url: str) -> dict[str, str]:
    """The environment of Dagster's processes; a folder of ours gets this project's ``dagster.yaml``.

    ``storage_url`` is the address of Dagster's own storage.
    """
    home = settings.dagster_home
    if home is None:
        home = settings.home / "dagster"
        private_files.make_folder(home)
        _copy_whole(shipped_file(INSTANCE_FILE), home / INSTANCE_FILE)
    elif not (home / INSTANCE_FILE).exists():
        raise ConfigurationError(f"DAGSTER_HOME: {home / INSTANCE_FILE} is missing")
    return {
        "DAGSTER_HOME": str(home.absolute()),
        "DAGSTER_POSTGRES_URL": storage_url,
        "DAGSTER_EVENT_BATCH_SIZE": str(EVENTS_AT_ONCE),
    }


def shipped_file(name: str) -> Path:
    """A file of Dagster's that comes with this package: beside this module, or at the top of a checkout."""
    for candidate in (Path(__file__).parent / name, Path(__file__).parents[2] / name):
        if candidate.exists():
            return candidate
    raise ConfigurationError(f"{name} of this package is missing: install strava-pipeline anew")


def _copy_whole(source: Path, target: Path) -> None:
    """Copy so that nobody ever reads half a file."""
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    private_files.write_whole(target, source.read_bytes())
