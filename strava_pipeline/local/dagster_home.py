"""Dagster's instance folder: where it is, and the file that configures it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import Settings

INSTANCE_FILE = "dagster.yaml"


def prepare(settings: Settings, storage_url: str) -> dict[str, str]:
    """The environment of Dagster's processes; a folder of ours gets this project's ``dagster.yaml``.

    ``storage_url`` is the address of Dagster's own storage.
    """
    home = settings.dagster_home
    if home is None:
        home = settings.home / "dagster"
        home.mkdir(parents=True, exist_ok=True)
        _copy_whole(_instance_file(), home / INSTANCE_FILE)
    elif not (home / INSTANCE_FILE).exists():
        raise ConfigurationError(f"DAGSTER_HOME: {home / INSTANCE_FILE} is missing")
    return {"DAGSTER_HOME": str(home.absolute()), "DAGSTER_POSTGRES_URL": storage_url}


def _instance_file() -> Path:
    """Beside this module in an installed package, at the top of a checkout."""
    for candidate in (Path(__file__).parent / INSTANCE_FILE, Path(__file__).parents[2] / INSTANCE_FILE):
        if candidate.exists():
            return candidate
    raise ConfigurationError(f"{INSTANCE_FILE} of this package is missing: install it anew, or set DAGSTER_HOME")


def _copy_whole(source: Path, target: Path) -> None:
    """Copy so that nobody ever reads half a file."""
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copyfile(source, partial)
    partial.replace(target)
