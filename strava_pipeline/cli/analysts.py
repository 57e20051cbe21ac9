"""``strava-pipeline analysts``: logins that may read schema ``strava``, with limits from the start."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import say
from strava_pipeline.errors import ConfigurationError, WarehouseError

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Names that need no quotes in any tool.
_PLAIN = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
SECRET_BYTES = 24


@click.group()
def analysts() -> None:
    """Make and list logins for analysts."""


@analysts.command()
@click.argument("name")
def add(name: str) -> None:
    """Make a login NAME that may only read schema strava, and print its database URL; it is not shown again."""
    from strava_pipeline.warehouse.access.analyst import ensure_analyst_role, join_analysts
    from strava_pipeline.warehouse.access.made_logins import create_login
    from strava_pipeline.warehouse.addresses import render
    from strava_pipeline.warehouse.engine import ensure_administrator_url, ensure_database_url, open_engine
    from strava_pipeline.warehouse.locks import Lock, acquire
    from strava_pipeline.warehouse.migrate import open_warehouse

    if not _PLAIN.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no name for a login: use at most 63 small letters, digits and _, no digit or pg_ at the start"
        )
    settings, secret = command_settings(), secrets.token_urlsafe(SECRET_BYTES)
    with open_warehouse(settings):
        engine = open_engine(ensure_administrator_url(settings))
        try:
            with engine.begin() as connection:
                _check_may_make(connection, name, settings.analyst_role)
            ensure_analyst_role(engine, settings.analyst_role)
            with engine.begin() as connection:
                acquire(connection, Lock.RIGHTS)
                # Another process may have made the login since the first check.
                _check_may_make(connection, name, settings.analyst_role)
                create_login(connection, name, secret)
                if left := join_analysts(connection, settings.analyst_role, name):
                    raise WarehouseError("; ".join(left))
            # Set the login's limits. If the process dies before this line, the next migration sets them.
            for line in ensure_analyst_role(engine, settings.analyst_role):
                say(line, err=True)
        finally:
            engine.dispose()
        url = ensure_database_url(settings).set(drivername="postgresql", username=name, password=secret)
    click.echo(render(url))


def _check_may_make(connection: Connection, name: str, role: str) -> None:
    from strava_pipeline.warehouse.access.analyst import RESERVED
    from strava_pipeline.warehouse.access.made_logins import is_reserved, may_create_roles, role_exists

    if name in RESERVED or is_reserved(connection, name):
        raise ConfigurationError(f"{name!r} is no name for a login: the word has a meaning in SQL")
    if not may_create_roles(connection):
        raise WarehouseError(
            "this database user may not make logins: set STRAVA_DATABASE_OWNER_URL to a user that may, or, as an"
            f" administrator, run CREATE ROLE {name} LOGIN PASSWORD '...' IN ROLE \"{role}\", then strava-pipeline"
            " migrate"
        )
    if role_exists(connection, name):
        raise WarehouseError(
            f'login {name} exists already: run GRANT "{role}" TO {name} to let it read, then strava-pipeline migrate to'
            " limit it"
        )


@analysts.command("list")
def list_() -> None:
    """List the analysts' logins with their limits; connections=-1 stands for any number."""
    from strava_pipeline.cli.reading import read
    from strava_pipeline.warehouse.access.analyst_limits import LIMITS, find_analysts

    settings = command_settings()
    there = read(settings, lambda connection: find_analysts(connection, settings.analyst_role))
    if not there:
        click.echo("nobody is an analyst yet: run strava-pipeline analysts add NAME")
    for analyst in there:
        # An analyst's login may have other parameters set; only the limits are shown.
        known = sorted(name for name in analyst.settings if name in LIMITS)
        limits = " ".join(f"{name}={analyst.settings[name]}" for name in known)
        say(f"{analyst.name} connections={analyst.connection_limit} {limits}".rstrip())
