"""``strava-pipeline athletes export`` and ``restore``: everything of an athlete as files, and back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import say
from strava_pipeline.cli.interruptible import interruptible

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from strava_pipeline.settings import Settings

_MEGABYTE = 1e6


@click.command("export")
@click.argument("athlete_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR|ZIP",
    help="A new folder, or a file that ends in .zip.",
)
@click.option("--without-gpx", is_flag=True, help="Leave out the GPX files, which take most of the time and room.")
def export_athlete(athlete_id: int, output: Path, without_gpx: bool) -> None:
    """Write everything that is stored of athlete ID into a folder or a zip.

    As JSON and Parquet for programs, from which `athletes restore` brings it back, and as CSV and GPX for people.
    Tokens and webhook events are not in it; docs/athlete-export.md tells what is. It is personal data: nobody else can
    read the files.
    """
    from strava_pipeline.extras import Extra, install, is_installed
    from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
    from strava_pipeline.warehouse.athlete_export import exporting
    from strava_pipeline.warehouse.migrate import open_warehouse

    settings, target = command_settings(), output.absolute()
    exporting.refuse_taken(target)
    parquet = is_installed(Extra.LAKE)
    if not parquet:
        say(f"without Parquet, for which the extra {Extra.LAKE} is missing: {install(Extra.LAKE)}", err=True)
    with (
        open_warehouse(settings) as engine,
        interruptible(f"interrupted: nothing was written to {output}"),
        _steps() as told,
    ):
        made = exporting.export_athlete(engine, athlete_id, target, parquet=parquet, gpx=not without_gpx, told=told)
        with engine.begin() as connection:
            note_action(connection, Actor.COMMAND, "export", f"athlete {athlete_id}", detail=f"{made.rows} rows")
    say(
        f"athlete {athlete_id}: {made.activities:,} activities, {made.rows:,} rows, {made.tracks:,} GPX files,"
        f" {made.recordings:,} recordings, {made.bytes / _MEGABYTE:,.1f} MB in {output}"
    )


@click.command("restore")
@click.argument("path", type=click.Path(exists=True, path_type=Path), metavar="PATH")
@click.option("--again", is_flag=True, help="Also an athlete who has left: they want to be back.")
def restore_athlete(path: Path, again: bool) -> None:
    """Bring back an athlete from PATH, a folder or zip that `athletes export` wrote.

    The athlete must not be in the tables. All or nothing is written. There are no tokens in an export: until the
    athlete connects again, nothing asks Strava for them.
    """
    from strava_pipeline.warehouse.athlete_export.opened_export import open_export
    from strava_pipeline.warehouse.athlete_export.restoring import refuse_departed
    from strava_pipeline.warehouse.athlete_export.restoring import restore_athlete as bring_back
    from strava_pipeline.warehouse.migrate import open_warehouse

    settings = command_settings()
    with (
        open_warehouse(settings) as engine,
        interruptible("interrupted: nothing was restored"),
        open_export(path) as export,
        _steps() as told,
    ):
        if not again:
            refuse_departed(settings, export.manifest.athlete_id)
        back = bring_back(engine, export, again=again, told=told)
        taken_at = export.manifest.taken_at
        _register(settings, engine, back.athlete_id)
    say(f"athlete {back.athlete_id}: {back.activities:,} activities, {back.rows:,} rows, as of {taken_at}")
    if back.had_grant:
        say(
            f"athlete {back.athlete_id} was connected, and an export has no tokens: nothing asks Strava for them until"
            " they connect again"
        )


def _register(settings: Settings, engine: Engine, athlete_id: int) -> None:
    """Create the athlete's partitions, which the bridge does otherwise."""
    from strava_pipeline.cli.athlete_in_dagster import AthleteInDagster
    from strava_pipeline.warehouse.athletes.dagster_tasks import hold_task, strike_off

    with AthleteInDagster.opened(settings) as dagster:
        dagster.add(athlete_id)
        if not dagster.was_there:
            return
    with engine.begin() as connection:
        if hold_task(connection, athlete_id) is not None:
            strike_off(connection, athlete_id)


@contextmanager
def _steps() -> Iterator[Callable[[str], None]]:
    """Takes what is under way, and shows it on a terminal every few seconds."""
    if not sys.stdout.isatty():
        yield lambda _: None
        return
    from strava_pipeline.cli.progress_lines import ProgressLines

    doing = ["beginning"]

    def told(step: str) -> None:
        doing[0] = step

    with ProgressLines() as lines:
        lines.say("beginning", lambda: doing[0])
        yield told
