"""``strava-pipeline import``: list the imports that were asked for; pause and resume an athlete's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from strava_pipeline.cli.console import add_row, new_table, print_table, say_json
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import load_settings

if TYPE_CHECKING:
    from strava_pipeline.warehouse.progress.import_status import ImportStatus

_ATHLETE = click.argument("athlete_id", metavar="ATHLETE", type=click.IntRange(1, 2**63 - 1))


@click.group("import")
def import_() -> None:
    """List the imports that were asked for; pause and resume an athlete's."""


@import_.command("list")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
def list_all(form: str) -> None:
    """List imports by athlete: their months, what they do, and what they leave out and why."""
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.progress.import_status import import_statuses

    with open_warehouse(load_settings()) as engine, engine.connect() as connection:
        found = import_statuses(connection)
    if form == "json":
        say_json([_as_json(status) for status in found])
    elif not found:
        click.echo("no import was asked for: connect an athlete on the bridge's page, or run strava-pipeline backfill")
    else:
        _print(found)


@import_.command()
@_ATHLETE
def pause(athlete_id: int) -> None:
    """Pause all imports of an athlete until they are resumed; runs at work end soon, and keep what is stored."""
    from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
    from strava_pipeline.warehouse.imports import wishes
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.states import PausedBy

    with open_warehouse(load_settings()) as engine, engine.begin() as connection:
        paused = wishes.pause(connection, athlete_id, PausedBy.COMMAND)
        note_action(connection, Actor.COMMAND, "pause", f"athlete {athlete_id}", ok=paused > 0)
    if not paused:
        raise ConfigurationError(
            f"athlete {athlete_id} has no import that is not paused: strava-pipeline import list shows all"
        )
    click.echo(f"athlete {athlete_id}: {_imports(paused)} paused; strava-pipeline import resume {athlete_id} goes on")


@import_.command()
@_ATHLETE
def resume(athlete_id: int) -> None:
    """Let the paused imports of an athlete go on; a running bridge, or Dagster's daemon, launches them."""
    from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
    from strava_pipeline.warehouse.imports import wishes
    from strava_pipeline.warehouse.migrate import open_warehouse

    with open_warehouse(load_settings()) as engine, engine.begin() as connection:
        resumed = wishes.resume(connection, athlete_id)
        note_action(connection, Actor.COMMAND, "resume", f"athlete {athlete_id}", ok=resumed > 0)
    if not resumed:
        raise ConfigurationError(f"no import of athlete {athlete_id} is paused: strava-pipeline import list shows all")
    click.echo(f"athlete {athlete_id}: {_imports(resumed)} resumed")


def _imports(number: int) -> str:
    return "1 import" if number == 1 else f"{number} imports"


def _as_json(status: ImportStatus) -> dict[str, Any]:
    wish = status.wish
    return {
        "athlete_id": wish.athlete_id,
        "months": status.months,
        "steps": list(wish.steps),
        "made_by": wish.made_by,
        "made_at": wish.made_at.isoformat(),
        "state": "paused" if wish.paused_at else wish.state,
        "complete": status.is_complete,
        "next_at": wish.next_at.isoformat(),
        "runs": wish.runs,
        "runs_without_progress": wish.attempts,
        "told": str(status),
    }


def _print(found: list[ImportStatus]) -> None:
    table = new_table(("athlete", "months", "asked for by", "state"))
    for status in found:
        add_row(table, str(status.wish.athlete_id), status.months, status.wish.made_by, str(status))
    print_table(table)
