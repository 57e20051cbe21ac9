"""The Dagster instance that commands share with the webserver and the daemon."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.dagsters_database import explaining_dagsters_database
from strava_pipeline.defs.pools import Pools, set_up_pools
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.extras import Extra, ensure_installed
from strava_pipeline.local import work_folder
from strava_pipeline.local.dagster_home import prepare
from strava_pipeline.names import OWN_NAMES
from strava_pipeline.own_process import application_name
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.dagster_database import ensure_dagster_database
from strava_pipeline.warehouse.addresses import render
from strava_pipeline.warehouse.engine import ensure_dagster_url, ensure_database_url

if TYPE_CHECKING:
    from dagster import DagsterInstance


def prepare_dagster_environment(settings: Settings) -> dict[str, str]:
    """Create Dagster's database if it is missing; returns the environment of every process that runs Dagster.

    It names Dagster's database and ours, each with the login for daily work, so that every run finds both.
    """
    ensure_installed(Extra.LOCAL, "Dagster's storage in Postgres", "dagster_postgres")
    storage = ensure_dagster_url(settings)
    ensure_dagster_database(settings)
    ours = render(ensure_database_url(settings))
    return (
        prepare(settings, storage)
        | work_folder.service_environment(settings)
        | {
            "STRAVA_DATABASE_URL": ours,
            # Our own environment may hold the owner's URL, which these processes must not get.
            "STRAVA_DATABASE_OWNER_URL": "",
            "STRAVA_HOME": str(settings.home),
            # The name of Dagster's own connections, which a service replaces by its own.
            "PGAPPNAME": application_name(),
        }
    )


@contextmanager
def open_instance(settings: Settings) -> Iterator[DagsterInstance]:
    """Open the instance in this process, end runs of dead processes, and set up the pools.

    ``DatabaseUnavailable`` if Dagster's database is away, now or during the block.
    """
    environment = prepare_dagster_environment(settings)
    os.environ.update(environment)
    with explaining_dagsters_database(settings), instance_at(environment["DAGSTER_HOME"]) as instance:
        _tidy(instance, settings)
        yield instance


def instance_at(dagster_home: str) -> DagsterInstance:
    """Open the instance in this folder, unchanged. ``ConfigurationError`` if its ``dagster.yaml`` is not usable."""
    from dagster import DagsterError, DagsterInstance
    from yaml import YAMLError

    os.environ["DAGSTER_HOME"] = dagster_home
    try:
        return DagsterInstance.get()
    except (DagsterError, YAMLError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigurationError(f"{dagster_home}/dagster.yaml is not usable: {reason}") from None


def _tidy(instance: DagsterInstance, settings: Settings) -> None:
    """Prepare the instance before any run begins."""
    from strava_pipeline.defs.dead_runs import end_dead_runs
    from strava_pipeline.defs.renamed_assets import carry_over_materializations

    end_dead_runs(instance, OWN_NAMES, is_own=True)
    set_up_pools(instance, OWN_NAMES, Pools.from_settings(OWN_NAMES, settings))
    carry_over_materializations(instance, OWN_NAMES)


def main() -> None:
    """Prepare the instance in a process for ``up``, whose own process lasts for years and should not load Dagster."""
    from dagster import DagsterInstance

    with DagsterInstance.get() as instance:
        _tidy(instance, command_settings())


if __name__ == "__main__":
    main()
