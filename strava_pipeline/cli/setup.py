"""``strava-pipeline init`` and ``migrate``: write the settings file, and create or update the databases."""

from __future__ import annotations

import os
import secrets

import click

from strava_pipeline.cli.closed_home import close_to_others
from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import say
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import home_from_environment, settings_file
from strava_pipeline.local import private_files

TEMPLATE = """\
# Settings of strava-pipeline; an environment variable of the same name has precedence.
# https://www.strava.com/settings/api shows the app's id and secret.
STRAVA_CLIENT_ID=
STRAVA_CLIENT_SECRET=
# Keep a copy of the keys: without them the stored tokens are lost.
STRAVA_TOKEN_KEYS={keys}
# Opens the operator's page and Dagster's UI.
STRAVA_OPERATOR_TOKEN={operator_token}
STRAVA_WEBHOOK_VERIFY_TOKEN={verify_token}
# Strava documents no way to learn its signing key: if you have none, keep off and the path token.
STRAVA_WEBHOOK_SIGNATURE=off
STRAVA_WEBHOOK_SIGNING_SECRETS=
STRAVA_WEBHOOK_PATH_TOKEN={path_token}
# The bridge's address for Strava, such as https://strava.example.org; `webhook subscribe` needs it.
STRAVA_BRIDGE_PUBLIC_URL=
# The Postgres of the tables. Empty: commands, such as up, use an embedded one under STRAVA_HOME. For a Dagster of your
# own, write its address, or the word embedded.
STRAVA_DATABASE_URL=
"""


@click.command()
def init() -> None:
    """Write a settings file with fresh keys to $STRAVA_HOME/.env; never overwrites one."""
    from strava_pipeline.cli.operator_token import new_token
    from strava_pipeline.keyring import generate_key

    home = home_from_environment()
    private_files.make_folder(home)
    path = settings_file(home)
    text = TEMPLATE.format(
        keys=generate_key(),
        operator_token=new_token(),
        verify_token=secrets.token_urlsafe(24),
        path_token=secrets.token_urlsafe(24),
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists already: edit it, or move it away first") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    say(f"wrote {path}: fill in STRAVA_CLIENT_ID and STRAVA_CLIENT_SECRET")


@click.command()
def migrate() -> None:
    """Create or update the tables, the logins' rights, the analysts' role, and our own Dagster's database."""
    from strava_pipeline.cli.whose_dagster import can_have_our_storage, has_hosts_storage, hosts_dagster
    from strava_pipeline.warehouse import migrate
    from strava_pipeline.warehouse.access.dagster_database import ensure_dagster_database
    from webhook_bridge.dagster_server import DagsterUnavailable

    settings = command_settings()
    close_to_others(settings)
    prepared = migrate.prepare(settings)
    for left in prepared.left:
        # Only rights could not be set; the tables are up to date.
        say(f"strava-pipeline: {left}", err=True)
    before = prepared.before
    say(f"tables at {migrate.HEAD}" + (f", were at {before}" if before != migrate.HEAD and before else ""))
    try:
        # The tables come before their first run: a host's webserver need not be there yet.
        is_own = can_have_our_storage() and not has_hosts_storage(settings) and hosts_dagster(settings) is None
    except DagsterUnavailable:
        is_own = False
    if is_own:
        ensure_dagster_database(settings)
    else:
        say("Dagster is not the pipeline's own: its storage stays as it is")
