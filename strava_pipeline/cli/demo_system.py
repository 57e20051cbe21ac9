"""The demo's system: a folder with settings of its own, and processes on this machine."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from strava_pipeline.cli.command_settings import command_settings, keep_data_in_home
from strava_pipeline.cli.progress_lines import ProgressLines
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import home_from_environment, settings_file
from strava_pipeline.months import add_months
from strava_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from sqlalchemy import Engine

    from strava_pipeline.local.supervisor import Supervisor

# Months of history before the current one.
WHOLE_MONTHS = 6
KEPT = frozenset({"STRAVA_HOME", "STRAVA_LOG_FORMAT", "STRAVA_LOG_LEVEL"})
MARK = "# Written by strava-pipeline demo: this folder is emptied whenever the demo starts."
# Under Strava's own limits, importing half a year of two athletes would take hours.
SETTINGS_FILE = """\
{mark}
STRAVA_API_URL=http://127.0.0.1:{mock_port}/api/v3
STRAVA_OAUTH_URL=http://127.0.0.1:{mock_port}/oauth
STRAVA_CLIENT_ID=1
STRAVA_CLIENT_SECRET={client_secret}
STRAVA_TOKEN_KEYS={token_keys}
STRAVA_OPERATOR_TOKEN={operator_token}
STRAVA_QUOTA_SHORT_LIMIT=5000
STRAVA_QUOTA_LONG_LIMIT=50000
STRAVA_IMPORT_BATCH_INTERVAL_SECONDS=0
STRAVA_WEBHOOK_VERIFY_TOKEN={verify_token}
STRAVA_WEBHOOK_SIGNING_SECRETS={signing_secret}
STRAVA_WEBHOOK_SUBSCRIPTION_ID=1
STRAVA_HISTORY_START={history_start:%Y-%m}-01
"""


@dataclass(frozen=True)
class System:
    """The running system that the steps of the demo work with."""

    settings: Settings
    engine: Engine
    instance: DagsterInstance
    mock_url: str
    lines: ProgressLines
    supervisor: Supervisor

    def wait_until_ready(self) -> None:
        """Return once Dagster and the bridge answer."""
        self.lines.say(
            "waiting for Dagster and the bridge", lambda: f"waiting until {self.supervisor.waited_for} answers"
        )
        self.supervisor.wait_until_ready()
        self.lines.say("all of them answer", lambda: "launching the import in Dagster")


@contextmanager
def running_system(lines: ProgressLines) -> Iterator[System]:
    """Run Postgres, a mock Strava, Dagster and the bridge on free ports; end all of them afterwards.

    The tables exist and the mock answers when the block begins; Dagster and the bridge may answer later, see
    :meth:`System.wait_until_ready`.
    """
    from strava_pipeline.local.code_server import new_code_server
    from strava_pipeline.local.dagster_home import with_runs_that_fit
    from strava_pipeline.local.listeners import open_listener
    from strava_pipeline.local.postgres import release_server
    from strava_pipeline.local.services import (
        LOOPBACK,
        bridge_service,
        code_server_service,
        dagster_services,
        mock_strava_service,
    )
    from strava_pipeline.local.supervisor import Supervisor, find_free_port
    from strava_pipeline.local.work_folder import LOG_FORMAT

    home = fresh_home()
    mock_port = find_free_port()
    write_settings(home, mock_port)
    with (
        ExitStack() as at_last,
        open_listener(LOOPBACK, 0, "Dagster's webserver") as for_dagster,
        open_listener(LOOPBACK, 0, "the bridge") as for_bridge,
        Supervisor() as supervisor,
    ):
        # Postgres would end with this process anyway, but after the progress lines have ended.
        at_last.callback(release_server, home)
        dagster_port, bridge_port = (listener.getsockname()[1] for listener in (for_dagster, for_bridge))
        only_our_environment(
            STRAVA_BRIDGE_PORT=str(bridge_port), DAGSTER_WEBSERVER_URL=f"http://{LOOPBACK}:{dagster_port}"
        )
        keep_data_in_home()
        settings = with_runs_that_fit(command_settings())
        lines.say(f"a mock Strava and Postgres start; all data go to {home}", lambda: "waiting for Postgres")
        supervisor.start(mock_strava_service(home, mock_port, {LOG_FORMAT: settings.log_format.value}))

        from strava_pipeline.cli.instance import open_instance, prepare_dagster_environment
        from strava_pipeline.warehouse.migrate import open_warehouse

        environment = prepare_dagster_environment(settings)
        with open_instance(settings) as instance:
            server = new_code_server(home)
            # It reads no tables, and loads while they are made.
            supervisor.start(code_server_service(home, server, environment))
            supervisor.wait_until_ready()
            lines.say("Postgres and the mock answer", lambda: "waiting for the tables to be made")
            # No service may look before the tables are there: its login cannot make them.
            with open_warehouse(settings) as engine:
                for service in (
                    *dagster_services(home, for_dagster, server.workspace, environment),
                    bridge_service(home, for_bridge, environment),
                ):
                    supervisor.start(service)
                lines.say("the tables are there; Dagster and the bridge start", lambda: "connecting the athletes")
                try:
                    yield System(settings, engine, instance, f"http://{LOOPBACK}:{mock_port}", lines, supervisor)
                finally:
                    lines.say("the processes end", lambda: "waiting until all of them have ended")


def first_month() -> datetime:
    """The month with which the demo's history begins (UTC)."""
    return add_months(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0), -WHOLE_MONTHS)


def fresh_home() -> Path:
    """Empty and return STRAVA_HOME. ``ConfigurationError`` if it holds anything but an earlier demo, or is in use."""
    from strava_pipeline.local.postgres import is_in_use, using_server

    home = home_from_environment()
    marked = settings_file(home).is_file() and settings_file(home).read_text(encoding="utf-8").startswith(MARK)
    if home.exists() and any(home.iterdir()) and not marked:
        raise ConfigurationError(f"STRAVA_HOME {home} is not empty: set STRAVA_HOME to a folder for the demo alone")
    if is_in_use(home):
        raise ConfigurationError(f"something is running in {home}: stop it first")
    if marked:
        with using_server(home):
            pass  # stops the Postgres that a killed demo left behind, before its folder is deleted
    # A folder that is a volume's cannot be removed itself.
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, mode=0o700, exist_ok=True)
    return home


def write_settings(home: Path, mock_port: int) -> None:
    """Write the demo's settings file, with fresh keys, into its folder."""
    from strava_pipeline.cli.operator_token import new_token
    from strava_pipeline.keyring import generate_key

    text = SETTINGS_FILE.format(
        mark=MARK,
        mock_port=mock_port,
        client_secret=secrets.token_hex(20),
        token_keys=generate_key(),
        operator_token=new_token(),
        verify_token=secrets.token_urlsafe(24),
        signing_secret=secrets.token_urlsafe(32),
        history_start=first_month(),
    )
    write_settings_text(home, text)


def write_settings_text(home: Path, text: str) -> None:
    """Write a settings file, which is its owner's alone."""
    path = settings_file(home)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def only_our_environment(**variables: str) -> None:
    """Set these variables, and unset the settings of a real installation, which the demo must not use.

    Where the demo is and how it logs may be chosen.
    """
    for name in list(os.environ):
        if name.startswith(("STRAVA_", "DAGSTER_")) and name not in KEPT:
            del os.environ[name]
    os.environ.update(variables)
