"""``strava-pipeline up``: runs Postgres, Dagster and the bridge on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import NoReturn

import click

from strava_pipeline.cli.closed_home import close_to_others
from strava_pipeline.cli.command_settings import command_settings, keep_data_in_home
from strava_pipeline.cli.console import say
from strava_pipeline.cli.dagster_webserver import dagster_port
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.extras import Extra, ensure_installed
from strava_pipeline.home import home_from_environment, settings_file
from strava_pipeline.settings import Settings

TIDY = (sys.executable, "-m", "strava_pipeline.cli.instance")


@click.command()
def up() -> None:
    """Run Postgres, Dagster's code server, webserver and daemon, and the bridge, until Ctrl-C.

    Starts the embedded Postgres and the code server again if they end; stops all if another of them ends. Each storage
    of Dagster's has one at a time: a second one says who has it, and ends.
    """
    ensure_installed(Extra.LOCAL, "strava-pipeline up")
    from strava_pipeline.cli.operator_token import ensure_operator_token
    from strava_pipeline.local.dagster_home import with_runs_that_fit
    from strava_pipeline.local.listeners import open_listener
    from strava_pipeline.local.services import LOOPBACK
    from webhook_bridge.app import check_settings

    keep_data_in_home()
    # A wrong setting is reported before anything is written.
    check_settings(command_settings())
    if ensure_operator_token():
        click.echo(f"STRAVA_OPERATOR_TOKEN was not set: wrote a new one to {settings_file(home_from_environment())}")
    settings = with_runs_that_fit(command_settings())
    close_to_others(settings)
    for line in _warnings(settings):
        say(f"warning: {line}", err=True)
    # Both ports stay ours to the end: another process that took one could show a false login page.
    with (
        open_listener(LOOPBACK, dagster_port(settings), "Dagster's webserver (DAGSTER_WEBSERVER_URL)") as for_dagster,
        open_listener(LOOPBACK, settings.bridge_port, "the bridge (STRAVA_BRIDGE_PORT)") as for_bridge,
    ):
        _run(settings, for_dagster, for_bridge)


def _run(settings: Settings, for_dagster: socket.socket, for_bridge: socket.socket) -> NoReturn:
    from strava_pipeline.cli.instance import prepare_dagster_environment
    from strava_pipeline.cli.made_settings import with_token_keys
    from strava_pipeline.local.code_server import new_code_server
    from strava_pipeline.local.keeper import Plan, become_keeper
    from strava_pipeline.local.kept_lock import KeptLock
    from strava_pipeline.local.postgres import keep_server
    from strava_pipeline.local.services import bridge_service, code_server_service, dagster_services
    from strava_pipeline.local.work_folder import make_work_folder
    from strava_pipeline.sync.access import open_tokens
    from strava_pipeline.sync.restore_check import why_needed
    from strava_pipeline.warehouse.access.dagster_database import ensure_dagster_database
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.storage_lock import take_storage_lock

    with open_warehouse(settings) as engine:
        # Missing tables are created, and wrong keys are reported, before anything starts.
        settings = with_token_keys(settings, engine)
        open_tokens(settings, engine)
        if (why := why_needed(engine)) is not None:
            say(f"warning: {why}", err=True)
    ensure_dagster_database(settings)
    # Before anything is written for Dagster. The connection lasts until this process ends, as another program, too.
    lock = take_storage_lock(settings)
    environment = prepare_dagster_environment(settings)
    # In a process of its own, since Dagster takes seconds to load. Its errors are ignored: the services fail for the
    # same reasons, and log them.
    subprocess.run(  # noqa: S603  a constant
        TIDY,
        env=os.environ | environment,
        cwd=make_work_folder(settings.home),
        stderr=subprocess.DEVNULL,
        check=False,
    )
    server = new_code_server(settings.home)
    plan = Plan(
        services=(
            (
                code_server_service(settings.home, server, environment),
                bridge_service(settings.home, for_bridge, environment),
            ),
            dagster_services(settings.home, for_dagster, server.workspace, environment),
        ),
        told=list(_told(settings, for_dagster.getsockname()[1])),
        postgres=keep_server(settings.home) if settings.is_embedded else None,
        log_level=settings.log_level or "WARNING",
        log_format=settings.log_format,
        # A second descriptor of the socket: the driver's own closes as this program ends.
        storage=KeptLock(os.dup(lock.descriptor), environment),
    )
    click.echo("starting Dagster and the bridge ...", err=True)
    # What was loaded for all this is not needed any more, and would stay in memory for years.
    become_keeper(plan)


def _told(settings: Settings, dagster_port: int) -> Iterator[str]:
    """Yield what is printed once everything is served."""
    from strava_pipeline.cli.sign_in import new_login_link
    from strava_pipeline.local.services import log_folder

    yield f"Dagster   http://127.0.0.1:{dagster_port}"
    yield f"bridge    http://127.0.0.1:{settings.bridge_port}"
    if not settings.dangerously_open_without_login:
        yield f"log in    {new_login_link(settings)}"
        yield "          works once, within half an hour; strava-pipeline login-link prints another"
    yield f"logs      {log_folder(settings.home)}"
    yield "Ctrl-C stops all of them"


def _warnings(settings: Settings) -> Iterator[str]:
    """Yield a warning for each part that is open to everybody or cannot work yet; everything starts all the same."""
    from strava_pipeline.web.operator_door import OPEN_WITHOUT_LOGIN

    if settings.dangerously_open_without_login:
        yield OPEN_WITHOUT_LOGIN
    try:
        settings.require("client_id", "client_secret")
    except ConfigurationError as error:
        yield f"nobody can connect with Strava, and nothing is fetched: {error}"
