"""``strava-pipeline connect``: an authorization code becomes a connected athlete."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from strava_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine


@click.command()
@click.option("--code", help="The code, or the whole address the browser ended on. Without it: asks.")
def connect(code: str | None) -> None:
    """Connect an athlete: exchange an authorization code, store the tokens, create the partitions.

    Prints {"athlete_id": ...}.
    """
    from strava_pipeline.strava.oauth import authorize_url
    from strava_pipeline.warehouse.migrate import open_warehouse

    settings = load_settings()
    for needed in ("client_id", "client_secret", "token_keys"):
        settings.required(needed)
    with open_warehouse(settings) as engine:
        if code is None:
            click.echo("Open this page, allow access, and paste the address the browser ends on:", err=True)
            click.echo(f"  {authorize_url(settings)}", err=True)
            code = click.prompt("address or code", err=True)
        athlete_id = connect_athlete(settings, engine, code)
    click.echo(json.dumps({"athlete_id": athlete_id}))


def connect_athlete(settings: Settings, engine: Engine, pasted: str) -> int:
    """Exchange a code, store tokens and profile, and give the athlete their partitions; returns the id."""
    from strava_pipeline.access import open_tokens
    from strava_pipeline.cli.instance import open_instance
    from strava_pipeline.partitions import register_athlete
    from strava_pipeline.strava import oauth
    from strava_pipeline.strava.http import new_session
    from strava_pipeline.strava.payload import athlete_row
    from strava_pipeline.warehouse.athletes import store_athlete
    from strava_pipeline.warehouse.engine import now

    # Whatever can fail before the code is used up fails here: a code works once.
    store = open_tokens(settings, engine)
    code, scopes = oauth.parse_redirect(pasted)
    with open_instance(settings) as instance:
        athlete_id, grant = store.exchanged(lambda: oauth.exchange_code(settings, new_session(), code), scopes)
        with engine.begin() as connection:
            store_athlete(connection, athlete_row(grant.athlete or {}), now(connection))
        register_athlete(instance, athlete_id)
    return athlete_id
