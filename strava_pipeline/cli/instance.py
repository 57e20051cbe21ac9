"""The Dagster instance that commands share with the webserver and the daemon."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from strava_pipeline.cli.dead_runs import end_dead_runs
from strava_pipeline.defs.pool import set_up_pool
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import work_folder
from strava_pipeline.local.dagster_home import prepare
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.dagster_database import ensure_dagster_database
from strava_pipeline.warehouse.engine import ensure_dagster_url, ensure_database_url

if TYPE_CHECKING:
    from dagster import DagsterInstance


def prepare_dagster_environment(settings: Settings) -> dict[str, str]:
    """The environment of every process that runs Dagster; its database is created if need be.

    It names our own database as well, so that runs find it whatever started them; each by the login for daily work.
    """
    storage = ensure_dagster_url(settings)
    ensure_dagster_database(settings)
    ours = ensure_database_url(settings).render_as_string(hide_password=False)
    return (
        prepare(settings, storage)
        | work_folder.service_environment(settings)
        | {
            "STRAVA_DATABASE_URL": ours,
            # Not theirs, should it stand in our environment.
            "STRAVA_DATABASE_OWNER_URL": "",
            "STRAVA_HOME": str(settings.home),
        }
    )


@contextmanager
def open_instance(settings: Settings) -> Iterator[DagsterInstance]:
    """The instance, opened in this process; runs that a dead command left behind are marked as failed."""
    environment = prepare_dagster_environment(settings)
    os.environ.update(environment)
    with instance_at(environment["DAGSTER_HOME"]) as instance:
        _tidy(instance)
        yield instance


def instance_at(dagster_home: str) -> DagsterInstance:
    """The instance in this folder, as it is. ``ConfigurationError`` if its file is not usable."""
    from dagster import DagsterError, DagsterInstance
    from yaml import YAMLError

    os.environ["DAGSTER_HOME"] = dagster_home
    try:
        return DagsterInstance.get()
    except (DagsterError, YAMLError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigurationError(f"{dagster_home}/dagster.yaml is not usable: {reason}") from None


def _tidy(instance: DagsterInstance) -> None:
    """What has to be in order before a run begins."""
    end_dead_runs(instance)
    set_up_pool(instance)


def main() -> None:
    """A program of its own for ``up``, whose process lasts for years and should not load Dagster."""
    from dagster import DagsterInstance

    with DagsterInstance.get() as instance:
        _tidy(instance)


if __name__ == "__main__":
    main()
