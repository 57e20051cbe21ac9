"""Dagster's instance folder and its configuration file."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import HomeEntry
from strava_pipeline.local import private_files
from strava_pipeline.local.memory import usable_memory
from strava_pipeline.settings import FEWEST_RUNS, Settings

INSTANCE_FILE = "dagster.yaml"
# Dagster stores a step's events in batches of this size: each event by itself would take several connections.
EVENT_BATCH_SIZE = 100
# What Dagster, the bridge, Postgres and the process of `up` take together, and one run; see docs/small-machines.md.
SERVICES_BYTES = 600_000_000
RUN_BYTES = 170_000_000
MOST_RUNS = 10
_RUNS = re.compile(r"^(    max_concurrent_runs: )(\d+)$", re.MULTILINE)


def prepare(settings: Settings, storage_url: str) -> dict[str, str]:
    """Prepare Dagster's instance folder, and return environment variables for Dagster's processes.

    A folder in ``STRAVA_HOME`` gets this project's ``dagster.yaml``, and loses what steps of earlier versions printed;
    a folder of the user must have a ``dagster.yaml``, else ``ConfigurationError``. ``storage_url`` is the URL of
    Dagster's own storage.

    How many runs may be at work at once is written there, too: the setting, or what an earlier call has written, which
    the processes of ``up`` go by, or what fits into the memory.
    """
    runs: dict[str, str] = {}
    home = settings.dagster_home
    if home is None:
        home = settings.home / HomeEntry.DAGSTER
        private_files.make_folder(home)
        _delete_what_steps_printed(home)
        at_once = settings.runs_at_once or _runs_noted(home / INSTANCE_FILE) or runs_that_fit()
        shipped = shipped_file(INSTANCE_FILE).read_text(encoding="utf-8")
        _write_atomically(home / INSTANCE_FILE, _RUNS.sub(rf"\g<1>{at_once}", shipped))
        runs["STRAVA_RUNS_AT_ONCE"] = str(at_once)
    elif not (home / INSTANCE_FILE).exists():
        raise ConfigurationError(f"DAGSTER_HOME: {home / INSTANCE_FILE} is missing: create it, or unset DAGSTER_HOME")
    return runs | {
        "DAGSTER_HOME": str(home.absolute()),
        "DAGSTER_POSTGRES_URL": storage_url,
        "DAGSTER_EVENT_BATCH_SIZE": str(EVENT_BATCH_SIZE),
        # A code location that cannot load, for an outage of Dagster's database, ends no backfill: it is tried again.
        "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1",
    }


def has_instance(settings: Settings) -> bool:
    """Whether there is an instance already: in the folder that the settings name, or in ``STRAVA_HOME``."""
    home = settings.dagster_home or settings.home / HomeEntry.DAGSTER
    return (home / INSTANCE_FILE).is_file()


def runs_that_fit() -> int:
    """Return how many runs fit into the memory beside the services: at least two, at most :data:`MOST_RUNS`."""
    return max(FEWEST_RUNS, min((usable_memory() - SERVICES_BYTES) // RUN_BYTES, MOST_RUNS))


def with_runs_that_fit(settings: Settings) -> Settings:
    """Return settings that say how many runs may be at work at once; for ``up`` and ``demo``, which start Dagster."""
    if settings.runs_at_once is not None or settings.dagster_home is not None:
        return settings
    return settings.model_copy(update={"runs_at_once": runs_that_fit()})


def with_usual_runs(settings: Settings) -> Settings:
    """Return settings that say how many runs may be at work at once, for a daemon whose runs are in other containers.

    The memory of its own container says nothing of theirs.
    """
    if settings.runs_at_once is not None:
        return settings
    return settings.model_copy(update={"runs_at_once": MOST_RUNS})


def _delete_what_steps_printed(home: Path) -> None:
    """Delete the files in which Dagster kept it: this project's ``dagster.yaml`` keeps none, so nobody else would."""
    for printed in home.glob("storage/*/compute_logs"):
        # Another command may be at it, too.
        with suppress(FileNotFoundError):
            shutil.rmtree(printed)
            if not any(printed.parent.iterdir()):
                printed.parent.rmdir()


def _runs_noted(path: Path) -> int | None:
    noted = _RUNS.search(path.read_text(encoding="utf-8")) if path.exists() else None
    return None if noted is None else int(noted[2])


def shipped_file(name: str) -> Path:
    """Return the path of a file of this package for Dagster, beside this module or at the top of a checkout."""
    for candidate in (Path(__file__).parent / name, Path(__file__).parents[2] / name):
        if candidate.exists():
            return candidate
    raise ConfigurationError(f"{name} of this package is missing: install strava-pipeline anew")


def _write_atomically(target: Path, text: str) -> None:
    """Write a file so that no process ever reads half of it."""
    content = text.encode()
    if not target.exists() or target.read_bytes() != content:
        private_files.write_atomically(target, content)
