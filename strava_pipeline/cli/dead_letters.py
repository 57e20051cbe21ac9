"""``strava-pipeline dead-letters``: show, replay and discard events that were given up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from strava_pipeline.cli.ages import Age
from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import add_row, new_table, print_table, say, say_json
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.printable import printable
from strava_pipeline.warehouse.states import ErrorClass

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from strava_pipeline.warehouse.inbox.dead_letters import DeadLetter, Selection

SHOWN_REASON = 60


def _chosen(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose dead letters."""
    for decorate in (
        click.option("--older-than", type=Age(), help="Only those that died at least this long ago, such as 2d."),
        click.option(
            "--class",
            "error_class",
            type=click.Choice([each.value for each in ErrorClass]),
            callback=lambda _context, _option, given: None if given is None else ErrorClass(given),
            help="Only those of this class.",
        ),
    ):
        command = decorate(command)
    return command


@click.group()
def dead_letters() -> None:
    """Show, replay and discard events that were given up."""


@dead_letters.command("list")
@_chosen
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
def list_letters(error_class: ErrorClass | None, older_than: timedelta | None, form: str) -> None:
    """List dead letters, oldest first."""
    from strava_pipeline.cli.reading import read
    from strava_pipeline.warehouse.inbox import dead_letters
    from strava_pipeline.warehouse.inbox.overview import waiting_events

    chosen = dead_letters.Selection(None, error_class, older_than)
    found, waiting = read(
        command_settings(),
        lambda connection: (dead_letters.find_dead_letters(connection, chosen), waiting_events(connection)),
    )
    if form == "json":
        say_json([_as_json(letter) for letter in found])
    elif not found:
        click.echo("no dead letters")
    else:
        _print(found)
    for some in waiting:
        told = f"they wait for {some.waiting_for}, until {some.until:%Y-%m-%d %H:%M} UTC"
        say(f"{some.events} event(s) are not dead: {told}", err=True)


@dead_letters.command()
@click.argument("event_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
def show(event_id: int) -> None:
    """Print one dead or discarded letter in full, as JSON."""
    from strava_pipeline.cli.reading import read
    from strava_pipeline.warehouse.inbox import dead_letters

    found = read(command_settings(), lambda connection: dead_letters.find_dead_letter(connection, event_id))
    if found is None:
        raise ConfigurationError(f"there is no dead letter {event_id}: strava-pipeline dead-letters list shows all")
    say_json(_as_json(found))


@dead_letters.command()
@click.argument("ids", metavar="[ID]...", type=click.IntRange(1, 2**63 - 1), nargs=-1)
@_chosen
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@click.option("--yes", is_flag=True, help="Do not ask, however many there are.")
def replay(
    ids: tuple[int, ...], error_class: ErrorClass | None, older_than: timedelta | None, everything: bool, yes: bool
) -> None:
    """Put dead letters back into the inbox, from where a running bridge launches them at once."""
    from strava_pipeline.warehouse.inbox import dead_letters

    chosen = _selection(ids, error_class, older_than, everything=everything)
    with _warehouse() as connection:
        _confirm(connection, chosen, "replay", yes=yes)
        _done(connection, "replay", ids, dead_letters.replay(connection, chosen))


@dead_letters.command()
@click.argument("ids", metavar="[ID]...", type=click.IntRange(1, 2**63 - 1), nargs=-1)
@_chosen
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@click.option("--because", required=True, help="The reason, which is kept with the letter.")
@click.option("--yes", is_flag=True, help="Do not ask, however many there are.")
def discard(
    ids: tuple[int, ...],
    error_class: ErrorClass | None,
    older_than: timedelta | None,
    everything: bool,
    because: str,
    yes: bool,
) -> None:
    """Discard dead letters for good. They stay in the table, with your user name and the reason."""
    from getpass import getuser

    from strava_pipeline.warehouse.inbox import dead_letters

    chosen = _selection(ids, error_class, older_than, everything=everything)
    with _warehouse() as connection:
        _confirm(connection, chosen, "discard", yes=yes)
        _done(
            connection,
            "discard",
            ids,
            dead_letters.discard(connection, chosen, by=getuser(), because=printable(because)),
        )


@contextmanager
def _warehouse() -> Iterator[Connection]:
    """A connection to the migrated database, in one transaction."""
    from strava_pipeline.warehouse.migrate import open_warehouse

    with open_warehouse(command_settings()) as engine, engine.begin() as connection:
        yield connection


def _selection(
    ids: tuple[int, ...], error_class: ErrorClass | None, older_than: timedelta | None, *, everything: bool
) -> Selection:
    from strava_pipeline.warehouse.inbox.dead_letters import Selection

    if not (ids or error_class or older_than or everything):
        raise click.UsageError("say which: ids, --class, --older-than, or --all")
    return Selection(ids or None, error_class, older_than)


def _confirm(connection: Connection, chosen: Selection, verb: str, *, yes: bool) -> None:
    from strava_pipeline.warehouse.inbox.dead_letters import find_dead_letters

    count = len(find_dead_letters(connection, chosen))
    if count > 1 and not yes:
        click.confirm(f"{verb} {count} dead letters?", abort=True, err=True)


def _done(connection: Connection, action: str, ids: tuple[int, ...], changed: list[int]) -> None:
    """Audit and print what was done. ``ConfigurationError``, which undoes all, if one of the ids was not changed."""
    from strava_pipeline.warehouse.access.operator_audit import Actor, note_action

    if missing := sorted(set(ids) - set(changed)):
        raise ConfigurationError(
            f"{', '.join(map(str, missing))}: no such dead letter in this selection; nothing was changed"
        )
    for event_id in changed:
        note_action(connection, Actor.COMMAND, action, f"event {event_id}")
    click.echo(f"{action}: {len(changed)} dead letter(s)")


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in vars(letter).items()}


def _print(found: list[DeadLetter]) -> None:
    table = new_table(("id", "died at (UTC)", "class", "object", "athlete", "aspect", "again at (UTC)", "why"))
    for letter in found:
        add_row(
            table,
            str(letter.id),
            f"{letter.died_at:%Y-%m-%d %H:%M:%S}",
            letter.error_class,
            f"{letter.object_type} {letter.object_id}",
            str(letter.owner_id),
            letter.aspect_type,
            f"{letter.redrive_at:%Y-%m-%d %H:%M}" if letter.redrive_at else "-",
            printable(letter.error, SHOWN_REASON),
        )
    print_table(table)
