"""``strava-pipeline export-gpx``: prints one activity as GPX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.errors import ConfigurationError, DatabaseUnavailable
from strava_pipeline.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine


@click.command()
@click.argument("activity_id", metavar="ACTIVITY", type=click.IntRange(-(2**63), 2**63 - 1))
@click.option(
    "--athlete", "athlete_id", type=click.IntRange(1, 2**63 - 1), help="Id of its athlete; else as in the tables."
)
def export_gpx(activity_id: int, athlete_id: int | None) -> None:
    """Print activity ACTIVITY (its id) as GPX 1.1, with heart rate, cadence, temperature and power.

    Costs two requests; none where only an archive or a file tells of it. While the database is away, prints it as the
    replica has it stored, without a request. Write -- before a negative id, and options before that.
    """
    settings = command_settings()
    try:
        document = _from_the_best_source(settings, activity_id, athlete_id)
    except DatabaseUnavailable as error:
        document = _as_stored(settings, activity_id, error)
    click.echo(document, nl=False)


def _from_the_best_source(settings: Settings, activity_id: int, athlete_id: int | None) -> str:
    """The activity as Strava's API has it; as it is stored, if that does not tell of it."""
    from strava_pipeline.strava.quota.windows import Lane
    from strava_pipeline.sync.access import COMMAND_MAX_WAIT, open_client
    from strava_pipeline.warehouse.activities.activity_store import is_handed_in_alone
    from strava_pipeline.warehouse.activities.stored_gpx import stored_gpx
    from strava_pipeline.warehouse.migrate import open_warehouse

    with open_warehouse(settings) as engine:
        with engine.connect() as connection:
            if is_handed_in_alone(connection, activity_id):
                return stored_gpx(connection, activity_id)
        settings.required("token_keys")
        owner = _owner(engine, activity_id) if athlete_id is None else athlete_id
        client = open_client(settings, engine, Lane.LIVE, COMMAND_MAX_WAIT)
        return client.export_gpx(owner, activity_id)


def _as_stored(settings: Settings, activity_id: int, because: DatabaseUnavailable) -> str:
    from strava_pipeline.cli.reading import read_replica
    from strava_pipeline.warehouse.activities.stored_gpx import stored_gpx

    return read_replica(settings, lambda connection: stored_gpx(connection, activity_id), because)


def _owner(engine: Engine, activity_id: int) -> int:
    """The id of the athlete whose stored activity this is."""
    from strava_pipeline.warehouse.activities.activity_store import owner_of

    with engine.connect() as connection:
        owner = owner_of(connection, activity_id)
    if owner is None:
        raise ConfigurationError(f"activity {activity_id} is not in the tables: say whose it is with --athlete")
    return owner
