"""``strava-pipeline import``: list the imports; ask for those of all athletes; pause and resume an athlete's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import add_row, new_table, print_table, say_json
from strava_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from strava_pipeline.warehouse.progress.import_status import ImportStatus

_ATHLETE = click.argument("athlete_id", metavar="ATHLETE", type=click.IntRange(1, 2**63 - 1))


@click.group("import")
def import_() -> None:
    """List the imports; ask for those of all athletes; pause and resume an athlete's."""


@import_.command("list")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
def list_all(form: str) -> None:
    """List imports by athlete: their months, what they do, and what they leave out and why."""
    from strava_pipeline.cli.reading import read
    from strava_pipeline.warehouse.progress.import_status import import_statuses

    found = read(command_settings(), import_statuses)
    if form == "json":
        say_json([_as_json(status) for status in found])
    elif not found:
        click.echo("no import was asked for: strava-pipeline import all asks for those of all athletes")
    else:
        _print(found)


@import_.command("all")
def ask_for_all_athletes() -> None:
    """Ask for the whole history of every connected athlete who has no such import yet.

    A running bridge, or Dagster's daemon, launches a few at a time. If this command is interrupted, run it again to
    finish. Imports that are there stay as they are, paused ones, too.
    """
    from strava_pipeline.warehouse.access.operator_audit import Actor
    from strava_pipeline.warehouse.imports.everybody import ask_for_all
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.states import MadeBy

    with open_warehouse(command_settings()) as engine:
        done = ask_for_all(engine, MadeBy.COMMAND, Actor.COMMAND)
    click.echo(f"{_imports(done.asked)} of a whole history asked for, {done.asked_before} asked for before")
    if done.paused:
        click.echo(f"{_imports(done.paused)} paused: strava-pipeline import resume ATHLETE goes on", err=True)


@import_.command()
@_ATHLETE
def pause(athlete_id: int) -> None:
    """Pause all imports of an athlete until they are resumed; runs at work end soon, and keep what is stored."""
    from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
    from strava_pipeline.warehouse.imports import wishes
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.states import PausedBy

    with open_warehouse(command_settings()) as engine, engine.begin() as connection:
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

    with open_warehouse(command_settings()) as engine, engine.begin() as connection:
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
