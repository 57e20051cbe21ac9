"""``strava-pipeline dagster-webserver``: Dagster's own webserver behind the guard."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.extras import Extra, ensure_installed
from strava_pipeline.local.listeners import inherit_listener, open_listener
from strava_pipeline.log_lines import LogFormatName
from strava_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from starlette.types import ASGIApp

    from strava_pipeline.defs.dagster_internals import WorkspaceProcessContext

LOOPBACK = "127.0.0.1"
WHAT = "Dagster's webserver"
# The defaults of Dagster's own command.
STATEMENT_MILLISECONDS = 15_000
CONNECTION_SECONDS = 3600
MOST_CONNECTIONS_BEYOND_THE_POOL = 20
POLL_MILLISECONDS = 2000
# At INFO each code server would log its start.
LOG_LEVEL = "WARNING"


@click.command()
@click.option(
    "-w", "--workspace", "workspaces", multiple=True, required=True, type=click.Path(exists=True, dir_okay=False),
    help="Dagster's workspace file; may be given several times.",
)  # fmt: skip
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="Port; DAGSTER_WEBSERVER_URL's if not given.")
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on.")
@click.option("--fd", type=click.IntRange(0), help="File descriptor of a listening socket, in place of host and port.")
def dagster_webserver(workspaces: Sequence[str], port: int | None, host: str, fd: int | None) -> None:
    """Serve the UI of the Dagster instance in DAGSTER_HOME to the logged-in operator, until Ctrl-C."""
    ensure_installed(Extra.LOCAL, WHAT, "dagster_webserver", "httptools", "starlette", "uvicorn")
    from strava_pipeline.cli.dagsters_database import explaining_dagsters_database
    from strava_pipeline.cli.instance import instance_at
    from strava_pipeline.dagster_guard.door import AccessSettings
    from strava_pipeline.dagster_guard.guard import Guard
    from strava_pipeline.dagster_guard.serving import serve
    from strava_pipeline.dagster_guard.sessions import Sessions
    from strava_pipeline.own_process import announce
    from strava_pipeline.warehouse.migrate import open_warehouse_of_any_release

    settings = command_settings()
    door = AccessSettings.from_settings(settings)
    dagster_home = settings.required("dagster_home")
    with (
        _listener(settings, host, port, fd) as listener,
        open_warehouse_of_any_release(settings) as engine,
        explaining_dagsters_database(settings),
        instance_at(dagster_home) as instance,
        _workspace(instance, workspaces, settings) as workspace,
    ):
        guard = Guard(_dagster_app(workspace), door, Sessions(engine, door.proof))

        def greet(address: str) -> None:
            announce(f"Dagster listening on {address}, for the logged-in operator", settings.log_format)

        serve(guard, listener, greet)


def _listener(settings: Settings, host: str, port: int | None, fd: int | None) -> socket.socket:
    if fd is not None:
        return inherit_listener(fd, WHAT)
    return open_listener(host, port or dagster_port(settings), WHAT)


def dagster_port(settings: Settings) -> int:
    """Return the port of Dagster's webserver on this machine."""
    return urlsplit(settings.dagster_webserver_url).port or 3000


def _workspace(instance: DagsterInstance, files: Sequence[str], settings: Settings) -> WorkspaceProcessContext:
    """Load the code locations that the workspace files name, as Dagster's own command does."""
    from dagster_webserver.version import __version__

    from strava_pipeline.defs.dagster_internals import (
        WorkspaceFileTarget,
        WorkspaceProcessContext,
        configure_loggers,
    )

    form = "json" if settings.log_format is LogFormatName.JSON else "colored"
    configure_loggers(formatter=form, log_level=LOG_LEVEL)
    instance.optimize_for_webserver(STATEMENT_MILLISECONDS, CONNECTION_SECONDS, MOST_CONNECTIONS_BEYOND_THE_POOL)
    return WorkspaceProcessContext(
        instance, WorkspaceFileTarget(list(files)), version=__version__, code_server_log_level=LOG_LEVEL
    )


def _dagster_app(workspace: WorkspaceProcessContext) -> ASGIApp:
    # Dagster's own command calls a function that also sends usage data (telemetry) to Dagster's makers.
    from dagster_webserver.webserver import DagsterWebserver

    app: ASGIApp = DagsterWebserver(workspace, live_data_poll_rate=POLL_MILLISECONDS).create_asgi_app()
    return app
