"""``strava-pipeline remap``: rebuilds the tables of activities from the stored raw answers."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import say


@click.command()
@click.option("--athlete", "athlete_id", type=click.IntRange(1, 2**63 - 1), help="Only this athlete's activities.")
@click.option(
    "--before", type=click.DateTime(), help="Only activities not re-mapped since (UTC); goes on after an interruption."
)
def remap(athlete_id: int | None, before: datetime | None) -> None:
    """Rebuild the tables of activities from the stored raw answers; sends no request."""
    from strava_pipeline.warehouse.activities import remapping
    from strava_pipeline.warehouse.engine import now
    from strava_pipeline.warehouse.migrate import open_warehouse

    with open_warehouse(command_settings()) as engine:
        with engine.connect() as connection:
            since = now(connection) if before is None else before.replace(tzinfo=UTC)
        click.echo(f"if this is interrupted, go on with --before {since:%Y-%m-%dT%H:%M:%S}", err=True)
        rebuilt, odd = 0, 0
        for batch in remapping.remap(engine, before=since, athlete_id=athlete_id):
            rebuilt, odd = rebuilt + batch.rebuilt, odd + len(batch.odd)
            for reason in batch.odd.values():
                say(f"not re-mapped: {reason}", err=True)
            click.echo(f"{rebuilt} activities re-mapped", err=True)
    click.echo(f"{rebuilt} activities re-mapped, {odd} could not be")
