"""``strava-pipeline dagster-exec``: becomes a program of Dagster's, with the instance and secrets of this installation.

Dagster's own programs read variables alone: neither the settings file, nor files of secrets (``<NAME>_FILE``).
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.extras import Extra, ensure_installed
from strava_pipeline.settings import Settings, secret_variables
from strava_pipeline.settings_sources import read_value

DAGSTERS, FILE = "DAGSTER_", "_FILE"


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("program")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dagster_exec(program: str, arguments: Sequence[str]) -> None:
    """Become PROGRAM, such as dagster-daemon, which then finds Dagster's instance and the secrets in files."""
    become(program, *arguments)


def become(program: str, *arguments: str) -> NoReturn:
    """Replace this process by a program that was installed beside us; ``ConfigurationError`` if there is none."""
    path = Path(sysconfig.get_path("scripts"), program)
    if Path(program).name != program or not path.is_file():
        raise ConfigurationError(f"{program} is not installed beside strava-pipeline: name one of Dagster's programs")
    # By this name Postgres shows the program's connections.
    os.environ.setdefault("PGAPPNAME", program)
    os.environ.update(dagster_environment(command_settings()))
    os.execv(sys.executable, (sys.executable, str(path), *arguments))  # noqa: S606  what the user or we want to run


def dagster_environment(settings: Settings) -> dict[str, str]:
    """Return the variables by which any program of Dagster's finds its instance, and the storage of that.

    Without ``DAGSTER_HOME`` the instance is our own: its file is written into ``STRAVA_HOME``, and its storage is in
    Postgres, at ``DAGSTER_POSTGRES_URL`` or beside the tables. An instance of somebody else's is left as it is.
    No database is started. ``ConfigurationError`` names what is missing.
    """
    from strava_pipeline.local.dagster_home import prepare, with_usual_runs
    from strava_pipeline.local.running_postgres import with_running_postgres
    from strava_pipeline.warehouse.engine import ensure_dagster_url

    secrets = _secrets_in_files()
    if settings.dagster_home is not None and settings.dagster_postgres_url is None:
        # Its dagster.yaml says where its storage is.
        return secrets | {name: value for name, value in prepare(settings, "").items() if value}
    ensure_installed(Extra.LOCAL, "Dagster's storage in Postgres", "dagster_postgres")
    if settings.dagster_postgres_url is None:
        settings.require_shared_database()
        settings = with_running_postgres(settings)
    return secrets | prepare(with_usual_runs(settings), ensure_dagster_url(settings))


def _secrets_in_files() -> dict[str, str]:
    """What an own ``dagster.yaml`` may ask for, by variables that are no settings of ours."""
    ours = secret_variables()
    named = {name: path for name, path in os.environ.items() if name.startswith(DAGSTERS) and name.endswith(FILE)}
    variables = {name: name.removesuffix(FILE) for name, path in named.items() if path}
    return {
        variable: read_value(named[name], name)
        for name, variable in variables.items()
        if variable not in ours and not os.environ.get(variable)
    }
