"""``strava-pipeline restore``: loads a backup, and compares it with Strava and with the list of erasures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from strava_pipeline.cli.backup import has_own_dagster
from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import say
from strava_pipeline.cli.interruptible import interruptible
from strava_pipeline.errors import ConfigurationError, RetriableStravaError, WarehouseError
from strava_pipeline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from strava_pipeline.keyring import Keyring
    from strava_pipeline.sync.restore_check import Passed
    from strava_pipeline.warehouse.after_restore import Undone
    from strava_pipeline.warehouse.erasure_list import Departures

GO_ON = "run strava-pipeline restore check again, which goes on from there"
# Between two lines of how far it has come.
TOLD_EVERY = 25


@click.group()
def restore() -> None:
    """Load a backup; then compare it with Strava, before anything else calls Strava."""


@restore.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--without-dagster", is_flag=True, help="Load the tables only.")
def load(folder: Path, without_dagster: bool) -> None:
    """Load a backup that `backup` made in FOLDER into empty databases."""
    from strava_pipeline.sync import restore_check
    from strava_pipeline.warehouse import backups
    from strava_pipeline.warehouse.access.dagster_database import ensure_dagster_database
    from strava_pipeline.warehouse.migrate import open_warehouse

    settings = command_settings()
    note = backups.read_note(folder)
    with_dagster = has_own_dagster(settings) and not without_dagster
    if with_dagster:
        ensure_dagster_database(settings)
    prepared = backups.load_backup(settings, folder, with_dagster=with_dagster)
    for left in prepared.left:
        say(f"strava-pipeline: {left}", err=True)
    with open_warehouse(settings) as engine:
        # Nothing else tells it of the very database that they came from, emptied meanwhile, or before the first call.
        if restore_check.why_needed(engine) is None:
            _say_undone(restore_check.begin(engine, anew=True))
    say(f"loaded the backup of {note.made_at}; nothing calls Strava until strava-pipeline restore check has passed")


@restore.command()
def begin() -> None:
    """Say that the tables were restored into the very database that they came from.

    Nothing else tells that. After it, nothing calls Strava until `restore check` has passed. Where the tables are on
    another server or in another database than before, the pipeline sees it by itself.
    """
    from strava_pipeline.sync import restore_check
    from strava_pipeline.warehouse.migrate import open_warehouse

    with open_warehouse(command_settings()) as engine:
        _say_undone(restore_check.begin(engine, anew=True))
    say("nothing calls Strava until strava-pipeline restore check has passed")


@restore.command()
@click.option(
    "--erasures",
    multiple=True,
    metavar="PLACE",
    help="A further list of erasures, such as that of another machine: a folder or an fsspec address.",
)
@click.option("--no-erasures", is_flag=True, help="There is no list of erasures: nobody ever left, or it is lost.")
@click.option(
    "--nothing-lost",
    is_flag=True,
    help="Ask Strava nothing, and end nothing: the tables are as they were when everything was stopped, as after a move"
    " or pg_upgrade.",
)
def check(erasures: tuple[str, ...], no_erasures: bool, nothing_lost: bool) -> None:
    """Compare a restored database with what has happened since the backup.

    Erases again whoever left after the backup, by the list of erasures. Asks Strava for everybody else, one request
    each, and names who must connect again. Then calls to Strava go on. If it is interrupted, or the quota is used up,
    run it again: it goes on.
    """
    from strava_pipeline.cli.made_settings import with_token_keys
    from strava_pipeline.sync import restore_check
    from strava_pipeline.sync.access import open_tokens
    from strava_pipeline.warehouse.migrate import open_warehouse

    settings = command_settings()
    with open_warehouse(settings) as engine, interruptible(f"interrupted: {GO_ON}"):
        settings = with_token_keys(settings, engine)
        for needed in ("client_id", "client_secret") if restore_check.asks_for_anybody(engine) else ():
            settings.required(needed)
        if restore_check.why_needed(engine) is None:
            say(
                "nothing to check: the tables belong to this database; after a restore into the database that they came"
                " from, run strava-pipeline restore begin first"
            )
            return
        keyring = open_tokens(settings, engine, checks_restore=True).keyring
        departures = _read_departures(settings, keyring, erasures, none=no_erasures)
        _say_undone(restore_check.begin(engine, undo=not nothing_lost))
        passed = _check(settings, engine, departures, asks=not nothing_lost)
        _say_passed(engine, passed)


def _read_departures(settings: Settings, keyring: Keyring, more: Sequence[str], *, none: bool) -> Departures:
    from strava_pipeline.warehouse.erasure_list import Folder, read_departures

    own = settings.erasures_location()
    places = [own, *more] if Folder(own).is_there() else list(more)
    if not places and not none:
        raise ConfigurationError(
            f"there is no list of erasures at {own}: bring it from where it was (STRAVA_ERASURES_URL or --erasures"
            " names its place), or whoever left since the backup stays; --no-erasures goes on without it"
        )
    departures = read_departures(keyring, places)
    say(f"list of erasures: {len(departures.entries)} departures")
    return departures


def _check(settings: Settings, engine: Engine, departures: Departures, *, asks: bool) -> Passed:
    from strava_pipeline.sync import restore_check

    for athlete_id, rows in restore_check.erase_departed(settings, engine, departures):
        say(f"athlete {athlete_id} had left after the backup: erased again, {rows} rows deleted")
    if not asks:
        restore_check.accept_all(engine)
        return restore_check.end(engine, {})
    try:
        unasked = restore_check.ask_for_all(settings, engine, _say_progress)
    except RetriableStravaError as error:
        raise WarehouseError(f"not all athletes were asked for: {error}; {GO_ON}") from error
    return restore_check.end(engine, unasked)


def _say_undone(undone: Undone | None) -> None:
    say("going on with the check that was begun" if undone is None else f"brought back by the backup: {undone}")


def _say_progress(done: int, of: int) -> None:
    if done == of or (done and done % TOLD_EVERY == 0):
        say(f"asked Strava for {done} of {of} athletes")


def _say_passed(engine: Engine, passed: Passed) -> None:
    from strava_pipeline.warehouse.athletes.athlete_status import athlete_names

    with engine.connect() as connection:
        names = athlete_names(connection, passed.must_reconnect)
    for athlete_id in passed.must_reconnect:
        told = f" ({names[athlete_id]})" if athlete_id in names else ""
        say(f"athlete {athlete_id}{told} must connect again: send an invitation; or, if they left, disconnect them")
    if not passed.is_whole:
        (athlete_id, reason), *more = passed.unasked.items()
        others = f", and of {len(more)} more" if more else ""
        raise WarehouseError(f"Strava told nothing of athlete {athlete_id}{others}: {reason}; {GO_ON}")
    say(f"passed: {passed}; calls to Strava go on")
