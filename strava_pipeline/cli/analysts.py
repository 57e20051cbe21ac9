"""``strava-pipeline analysts``: logins that may read schema ``strava``, with limits from the start."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

import click

from strava_pipeline.cli.console import say
from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.settings import load_settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Names that need no quotes in any tool.
_PLAIN = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
SECRET_BYTES = 24


@click.group()
def analysts() -> None:
    """Make logins of analysts, and list them."""


@analysts.command()
@click.argument("name")
def add(name: str) -> None:
    """Make a login NAME that reads schema strava and nothing else; prints its address, this once."""
    from strava_pipeline.warehouse.access.analyst import ensure_analyst_role, join_analysts
    from strava_pipeline.warehouse.access.made_logins import create_login
    from strava_pipeline.warehouse.engine import ensure_administrator_url, ensure_database_url, open_engine
    from strava_pipeline.warehouse.locks import Lock, acquire
    from strava_pipeline.warehouse.migrate import open_warehouse

    if not _PLAIN.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name for a login: use small letters, digits and _")
    settings, secret = load_settings(), secrets.token_urlsafe(SECRET_BYTES)
    with open_warehouse(settings):
        engine = open_engine(ensure_administrator_url(settings))
        try:
            with engine.begin() as connection:
                _check_may_make(connection, name, settings.analyst_role)
            ensure_analyst_role(engine, settings.analyst_role)
            with engine.begin() as connection:
                acquire(connection, Lock.RIGHTS)
                # Somebody else may have made it meanwhile.
                _check_may_make(connection, name, settings.analyst_role)
                create_login(connection, name, secret)
                if left := join_analysts(connection, settings.analyst_role, name):
                    raise WarehouseError("; ".join(left))
            # With its limits; should this process die before, the next migration gives them.
            for line in ensure_analyst_role(engine, settings.analyst_role):
                say(line, err=True)
        finally:
            engine.dispose()
        url = ensure_database_url(settings).set(drivername="postgresql", username=name, password=secret)
    click.echo(url.render_as_string(hide_password=False))


def _check_may_make(connection: Connection, name: str, role: str) -> None:
    from strava_pipeline.warehouse.access.analyst import RESERVED
    from strava_pipeline.warehouse.access.made_logins import is_reserved, may_create_roles, role_exists

    if name in RESERVED or is_reserved(connection, name):
        raise ConfigurationError(f"{name!r} is no name for a login: the word has a meaning in SQL")
    if not may_create_roles(connection):
        raise WarehouseError(
            "this database user may not make logins: set STRAVA_DATABASE_OWNER_URL to one that may, or, as an"
            f" administrator, run CREATE ROLE {name} LOGIN PASSWORD '...' IN ROLE \"{role}\", then strava-pipeline"
            " migrate"
        )
    if role_exists(connection, name):
        raise WarehouseError(
            f'{name} is there already: GRANT "{role}" TO {name} lets it read, and strava-pipeline migrate limits it'
        )


@analysts.command("list")
def list_() -> None:
    """List the analysts' logins with their limits; -1: any number of connections."""
    from strava_pipeline.warehouse.access.analyst_limits import LIMITS, find_analysts
    from strava_pipeline.warehouse.migrate import open_warehouse

    settings = load_settings()
    with open_warehouse(settings) as engine, engine.connect() as connection:
        there = find_analysts(connection, settings.analyst_role)
        if not there:
            click.echo("nobody is an analyst yet: run strava-pipeline analysts add NAME")
        for analyst in there:
            # Of what they set for themselves only this counts.
            known = sorted(name for name in analyst.settings if name in LIMITS)
            limits = " ".join(f"{name}={analyst.settings[name]}" for name in known)
            say(f"{analyst.name} connections={analyst.connection_limit} {limits}".rstrip())
