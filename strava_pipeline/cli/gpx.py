"""``strava-pipeline export-gpx``: prints one activity as GPX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import load_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine


@click.command()
@click.argument("activity_id", metavar="ACTIVITY", type=click.IntRange(1, 2**63 - 1))
@click.option(
    "--athlete", "athlete_id", type=click.IntRange(1, 2**63 - 1), help="Id of its athlete; else as in the tables."
)
def export_gpx(activity_id: int, athlete_id: int | None) -> None:
    """Print activity ACTIVITY (its id) as GPX 1.1, with heart rate, cadence, temperature and power.

    Costs two requests.
    """
    from strava_pipeline.strava.quota.windows import Lane
    from strava_pipeline.sync.access import COMMAND_MAX_WAIT, open_client
    from strava_pipeline.warehouse.migrate import open_warehouse

    settings = load_settings()
    settings.required("token_keys")
    with open_warehouse(settings) as engine:
        owner = _owner(engine, activity_id) if athlete_id is None else athlete_id
        client = open_client(settings, engine, Lane.LIVE, COMMAND_MAX_WAIT)
        click.echo(client.export_gpx(owner, activity_id), nl=False)


def _owner(engine: Engine, activity_id: int) -> int:
    """The id of the athlete whose stored activity this is."""
    from strava_pipeline.warehouse.activities.activity_store import owner_of

    with engine.connect() as connection:
        owner = owner_of(connection, activity_id)
    if owner is None:
        raise ConfigurationError(f"activity {activity_id} is not in the tables: say whose it is with --athlete")
    return owner
