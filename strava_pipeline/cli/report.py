"""``strava-pipeline report``: writes one activity as an HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import say
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.extras import Extra, is_installed, missing
from strava_pipeline.local import private_files


@click.command()
# An activity that only a file tells of has a negative id.
@click.argument("activity_id", metavar="ACTIVITY", type=click.IntRange(-(2**63), 2**63 - 1))
@click.option(
    "--output", "-o", "target", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default="-",
    help="File to write; - prints the page.", show_default=True,
)  # fmt: skip
def report(activity_id: int, target: Path) -> None:
    """Write activity ACTIVITY (its id) as one HTML page: figures, pictures, climbs, splits, zones and records.

    The page is made from the tables, without any request. It needs no other file and no network to be read. Write --
    before a negative id, and options before that.
    """
    from strava_pipeline.cli.reading import read
    from strava_pipeline.notifications.report import load_ride, render_report

    ride = read(command_settings(), lambda connection: load_ride(connection, activity_id))
    if ride is None:
        raise ConfigurationError(
            f"activity {activity_id} is not in the tables: import it with strava-pipeline backfill"
        )
    page = render_report(ride)
    if not is_installed(Extra.PICTURES):
        say(missing(Extra.PICTURES, "a page with pictures"), err=True)
    if str(target) == "-":
        click.echo(page, nl=False)
        return
    # The page may show where somebody lives: a new file is its owner's alone.
    with open(target, "w", encoding="utf-8", opener=private_files.private_opener) as file:
        file.write(page)
