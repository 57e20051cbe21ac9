"""``strava-pipeline archive``: import Strava's archive, or files of devices; list, show and undo what was imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from strava_pipeline.cli.archive_link import new_upload_link
from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import add_row, new_table, print_table, say, say_json
from strava_pipeline.cli.interruptible import interruptible
from strava_pipeline.warehouse.states import CameBy

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from strava_pipeline.settings import Settings
    from strava_pipeline.sync.archive_import import HandingIn, MonthDone
    from strava_pipeline.sync.archive_report import Report
    from strava_pipeline.warehouse.archives.imports import ArchiveImport

# Where stderr is no terminal, a line of progress comes this often.
LINE_EVERY_SECONDS = 30.0
_ID = click.IntRange(1, 2**63 - 1)
_FORM = click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
_IMPORT = click.argument("import_id", metavar="IMPORT", type=_ID)


@click.group()
def archive() -> None:
    """Import Strava's archive, or files of devices; list, show and undo what was imported.

    This needs no app at Strava, no keys, and no request.
    """


@archive.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--athlete", "athlete_id", type=_ID, required=True, help="Strava's id of the athlete whose it is.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--sport", "sports", multiple=True, metavar="WORD=SPORT",
    help="What a word of the archive's language means, as in 'Corsa=Run'; may be given several times.",
)  # fmt: skip
@click.option("--timezone", help="Zone of activities whose local time nothing tells, as in Europe/Rome.")
@click.option(
    "--taken", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE",
    help="Day of the export, YYYY-MM-DD; the archive's newest member tells it otherwise.",
)  # fmt: skip
@click.option("--trust-athlete", is_flag=True, help="An archive without profile.csv is this athlete's.")
@click.option("--check", is_flag=True, help="Verify the checksums of FIT files.")
@click.option("--no-analysis", is_flag=True, help="Leave figures and training load to Dagster.")
def import_archive(  # noqa: PLR0913  each is an option
    path: Path,
    athlete_id: int,
    sports: tuple[str, ...],
    timezone: str | None,
    taken: datetime | None,
    *,
    dry_run: bool,
    trust_athlete: bool,
    check: bool,
    no_analysis: bool,
) -> None:
    """Import PATH: Strava's archive as a zip or an unpacked folder, a FIT, TCX or GPX file, or a folder of them.

    The newest month comes first. If it is interrupted, run it again: it goes on.
    """
    from strava_pipeline.sync.archive_import import HandingIn
    from strava_pipeline.sync.archive_options import ArchiveOptions
    from strava_pipeline.warehouse.migrate import open_warehouse

    options = ArchiveOptions(
        sports=sports,
        timezone=timezone,
        taken=None if taken is None else taken.date(),
        trust_athlete=trust_athlete,
        check=check,
    )
    handing = HandingIn(given=path, athlete_id=athlete_id, came_by=CameBy.COMMAND, options=options)
    settings = command_settings()
    with open_warehouse(settings) as engine, interruptible("interrupted: run the same command again, and it goes on"):
        if dry_run:
            _plan(engine, settings, handing)
        else:
            _import(engine, settings, handing, analyses=not no_analysis)


@archive.command("list")
@click.option("--athlete", "athlete_id", type=_ID, help="Only those of this athlete.")
@_FORM
def list_archives(athlete_id: int | None, form: str) -> None:
    """List what was handed in, the newest first."""
    from functools import partial

    from strava_pipeline.cli.reading import read
    from strava_pipeline.warehouse.archives.imports import list_imports

    found = read(command_settings(), partial(list_imports, athlete_id=athlete_id))
    if form == "json":
        say_json([_as_json(each) for each in found])
    elif not found:
        click.echo("nothing was handed in: strava-pipeline archive import PATH --athlete ID does that")
    else:
        _print(found)


@archive.command()
@click.option("--athlete", "athlete_id", type=_ID, required=True, help="Strava's id of the athlete who may upload.")
def link(athlete_id: int) -> None:
    """Print a link by which an athlete may upload their archive for a week, and do nothing else."""
    click.echo(new_upload_link(command_settings(), athlete_id))


@archive.command()
@_IMPORT
@_FORM
def show(import_id: int, form: str) -> None:
    """Show an archive import (its number) with its quality report."""
    from functools import partial

    from strava_pipeline.cli.archive_words import report_lines
    from strava_pipeline.cli.reading import read
    from strava_pipeline.sync.archive_report import Report
    from strava_pipeline.warehouse.archives.imports import load_import

    found = read(command_settings(), partial(load_import, import_id=import_id))
    if form == "json":
        say_json(_as_json(found) | {"options": dict(found.options), "report": found.report})
        return
    _print([found])
    if found.failure:
        say(f"why: {found.failure}")
    for line in () if found.report is None else report_lines(Report.from_json(found.report)):
        say(line)


@archive.command()
@_IMPORT
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def undo(import_id: int, *, yes: bool) -> None:
    """Take back whatever an archive import (its number) brought.

    Activities of which nothing else tells go; all others become what Strava's API, other archives and other files tell.
    If it is interrupted, run it again: it goes on.
    """
    from datetime import UTC

    from strava_pipeline.cli.archive_words import counted
    from strava_pipeline.sync.training_load import update_training_load
    from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
    from strava_pipeline.warehouse.archives.imports import load_import
    from strava_pipeline.warehouse.archives.undo import undo_import
    from strava_pipeline.warehouse.archives.unknown_athletes import let_go_of_unknown
    from strava_pipeline.warehouse.migrate import open_warehouse

    with open_warehouse(command_settings()) as engine, interruptible("interrupted: run the same command again"):
        with engine.connect() as connection:
            found = load_import(connection, import_id)
        if not yes:
            what = f"archive import {import_id} ({found.name}) of athlete {found.athlete_id}"
            say(f"everything that {what} brought is taken back", err=True)
            click.confirm("undo it?", abort=True, err=True)
        undone = undo_import(engine, import_id)
        with engine.begin() as connection:
            note_action(connection, Actor.COMMAND, "undo-archive", f"archive import {import_id}", ok=True)
        update_training_load(engine, found.athlete_id, datetime.now(UTC).date())
        with engine.begin() as connection:
            is_gone = let_go_of_unknown(connection, found.athlete_id)
    gone = "; nothing else was known of the athlete, who is gone as well" if is_gone else ""
    say(
        f"archive import {import_id} is undone: {counted(undone.deleted, 'activity')} deleted, {undone.kept:,} stay as"
        f" other sources tell them{gone}"
    )


def _plan(engine: Engine, settings: Settings, handing: HandingIn) -> None:
    from strava_pipeline.cli.archive_words import plan_lines
    from strava_pipeline.sync.archive_plan import plan_import

    for line in plan_lines(plan_import(engine, settings, handing)):
        say(line)


def _import(engine: Engine, settings: Settings, handing: HandingIn, *, analyses: bool) -> None:
    from strava_pipeline.cli.archive_words import history_line, report_lines
    from strava_pipeline.errors import AlreadyImported
    from strava_pipeline.sync.archive_analysis import analyse_rest

    report: Report | None = None
    try:
        report = _months(engine, settings, handing, analyses=analyses)
    except AlreadyImported as error:
        say(str(error))
    if analyses:
        # Of an import that was interrupted after its last month, too.
        for _ in analyse_rest(engine, handing.athlete_id):
            pass
    if report is not None:
        for line in report_lines(report):
            say(line)
    say(history_line(engine, handing.athlete_id))


def _months(engine: Engine, settings: Settings, handing: HandingIn, *, analyses: bool) -> Report:
    from strava_pipeline.sync.archive_analysis import analyse_month
    from strava_pipeline.sync.archive_import import import_archive

    work = import_archive(engine, settings, handing)
    with _progress() as told:
        while True:
            try:
                month = next(work)
            except StopIteration as ended:
                report: Report = ended.value
                return report
            if analyses:
                analyse_month(engine, month.span)
            told(month)


@contextmanager
def _progress() -> Iterator[Any]:
    """Yield what tells of a month that is done: a bar on a terminal, lines now and then elsewhere."""
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        told_at = time.monotonic()

        def tell(month: MonthDone) -> None:
            nonlocal told_at
            if time.monotonic() - told_at > LINE_EVERY_SECONDS:
                say(f"{month.span.months} is done, month {month.number} of {month.of}", err=True)
                told_at = time.monotonic()

        yield tell
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("reading the table", total=None)

        def move(month: MonthDone) -> None:
            progress.update(task, description=month.span.months, completed=month.number, total=month.of)

        yield move


def _as_json(found: ArchiveImport) -> dict[str, Any]:
    return {
        "id": found.id,
        "athlete_id": found.athlete_id,
        "kind": found.kind,
        "name": found.name,
        "state": found.state,
        "came_by": found.came_by,
        "taken_at": found.taken_at.isoformat(),
        "begun_at": found.begun_at.isoformat(),
        "ended_at": None if found.ended_at is None else found.ended_at.isoformat(),
        "failure": found.failure,
    }


def _print(found: list[ArchiveImport]) -> None:
    from strava_pipeline.cli.archive_words import count_words
    from strava_pipeline.sync.archive_report import Report

    table = new_table(("import", "athlete", "name", "state", "tells until", "begun", "held"))
    for each in found:
        add_row(
            table,
            str(each.id),
            str(each.athlete_id),
            each.name,
            each.state,
            f"{each.taken_at:%Y-%m-%d}",
            f"{each.begun_at:%Y-%m-%d %H:%M}",
            "" if each.report is None else count_words(Report.from_json(each.report)),
        )
    print_table(table)
