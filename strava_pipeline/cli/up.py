"""``strava-pipeline up``: runs Postgres, Dagster and the bridge on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

import click

from strava_pipeline.cli.closed_home import close_to_others
from strava_pipeline.cli.console import say
from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.settings import Settings, home_from_environment, load_settings, settings_file

TIDY = (sys.executable, "-m", "strava_pipeline.cli.instance")


@click.command()
def up() -> None:
    """Run Postgres, Dagster's webserver and daemon, and the bridge, until Ctrl-C.

    Starts the embedded Postgres again if it ends; stops all if another of them ends.
    """
    from strava_pipeline.cli.operator_token import ensure_operator_token
    from strava_pipeline.local.listeners import open_listener
    from strava_pipeline.local.services import LOOPBACK
    from webhook_bridge.app import check_settings

    # A wrong setting is reported before anything is written.
    check_settings(load_settings())
    if ensure_operator_token():
        click.echo(f"STRAVA_OPERATOR_TOKEN was not set: wrote a new one to {settings_file(home_from_environment())}")
    settings = load_settings()
    close_to_others(settings)
    settings.required("token_keys")
    for line in _warnings(settings):
        say(f"warning: {line}", err=True)
    dagster_port = urlsplit(settings.dagster_webserver_url).port or 3000
    # Both ports stay ours to the end: another process that took one could show a false login page.
    with (
        open_listener(LOOPBACK, dagster_port, "Dagster's webserver (DAGSTER_WEBSERVER_URL)") as for_dagster,
        open_listener(LOOPBACK, settings.bridge_port, "the bridge (STRAVA_BRIDGE_PORT)") as for_bridge,
    ):
        _run(settings, for_dagster, for_bridge)
    click.echo("stopped", err=True)


def _run(settings: Settings, for_dagster: socket.socket, for_bridge: socket.socket) -> None:
    from strava_pipeline.cli.instance import prepare_dagster_environment
    from strava_pipeline.cli.sign_in import new_login_link
    from strava_pipeline.local.services import bridge_service, dagster_services, log_folder
    from strava_pipeline.local.supervisor import Supervisor
    from strava_pipeline.local.work_folder import make_work_folder
    from strava_pipeline.sync.access import open_tokens
    from strava_pipeline.warehouse.migrate import open_warehouse

    with open_warehouse(settings) as engine:
        # Missing tables are created, and wrong keys are reported, before anything starts.
        open_tokens(settings, engine)
    environment = prepare_dagster_environment(settings)
    # In a process of its own, since this one lasts for years and should not load Dagster. Its errors are ignored: the
    # services fail for the same reasons, and log them.
    subprocess.run(  # noqa: S603  a constant
        TIDY,
        env=os.environ | environment,
        cwd=make_work_folder(settings.home),
        stderr=subprocess.DEVNULL,
        check=False,
    )
    with Supervisor() as supervisor:
        for service in dagster_services(settings.home, for_dagster, environment):
            supervisor.start(service)
        supervisor.start(bridge_service(settings.home, for_bridge, environment))
        click.echo("starting Dagster and the bridge ...", err=True)
        supervisor.wait_until_ready()
        click.echo(f"Dagster   http://127.0.0.1:{for_dagster.getsockname()[1]}")
        click.echo(f"bridge    http://127.0.0.1:{settings.bridge_port}")
        if not settings.dangerously_open_without_login:
            click.echo(f"log in    {new_login_link(settings)}")
            click.echo("          works once, within half an hour; strava-pipeline login-link prints another")
        say(f"logs      {log_folder(settings.home)}")
        click.echo("Ctrl-C stops all of them")
        supervisor.watch(partial(_keep_postgres, settings))


def _warnings(settings: Settings) -> Iterator[str]:
    """Yield a warning for each part that is open to everybody or cannot work yet; everything starts all the same."""
    from strava_pipeline.web.operator_door import OPEN_WITHOUT_LOGIN

    if settings.dangerously_open_without_login:
        yield OPEN_WITHOUT_LOGIN
    try:
        settings.require("client_id", "client_secret")
    except ConfigurationError as error:
        yield f"nobody can connect with Strava, and nothing is fetched: {error}"


def _keep_postgres(settings: Settings) -> None:
    """Start the embedded Postgres again if it has ended; no other process does while the services run."""
    from strava_pipeline.local.postgres import ServerMoved, revive_server

    if settings.database_url is not None:
        return
    try:
        if revive_server(settings.home):
            click.echo("Postgres had ended: started it again", err=True)
    except ServerMoved:
        raise  # the running services know the old address only
    except WarehouseError as error:
        # Processes of the old server may need a moment to end.
        say(f"{error}; trying again", err=True)
