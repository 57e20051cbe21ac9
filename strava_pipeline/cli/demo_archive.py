"""``strava-pipeline demo --archive``: from a made-up archive to tables, figures, a page and files, without an app."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strava_pipeline.cli.command_settings import command_settings, keep_data_in_home
from strava_pipeline.cli.console import print_table, say
from strava_pipeline.cli.demo_system import MARK, fresh_home, only_our_environment, write_settings_text
from strava_pipeline.cli.progress_lines import ProgressLines
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import HomeEntry
from strava_pipeline.local import private_files

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from strava_pipeline.mock_strava.archive import WrittenArchive
    from strava_pipeline.settings import Settings
    from strava_pipeline.sync.archive_report import Report

# Neither an app nor keys: an archive needs none.
SETTINGS_FILE = """\
{mark}
STRAVA_OPERATOR_TOKEN={operator_token}
"""
PAGE = "newest-activity.html"
QUERY_SECONDS = 60.0


@dataclass(frozen=True)
class Shown:
    """What the steps of the demo work with. ``folder``: where the archive and the page go."""

    settings: Settings
    engine: Engine
    lines: ProgressLines
    folder: Path


def show_archive(seed: int, activities: int) -> None:
    """Make up an archive, import it as the command does, and print what it gave; the data stay."""
    from strava_pipeline.cli.archive_words import report_lines
    from strava_pipeline.cli.demo_report import rows_per_table
    from strava_pipeline.cli.operator_token import new_token
    from strava_pipeline.local.postgres import release_server

    began = time.monotonic()
    home = fresh_home()
    write_settings_text(home, SETTINGS_FILE.format(mark=MARK, operator_token=new_token()))
    only_our_environment()
    keep_data_in_home()
    folder = home / HomeEntry.DEMO
    folder.mkdir(mode=0o700)
    with ExitStack() as at_last, ProgressLines() as lines:
        at_last.callback(release_server, home)
        lines.say(f"an archive is made up, by seed {seed}; all data go to {home}", lambda: "writing the archive")
        written = _write(folder, seed, activities)
        counts = f"{len(written.ways)} activities in language {written.language}"
        size = written.path.stat().st_size / 2**20
        lines.say(f"{written.path.name} has {counts}, {size:.1f} MiB", lambda: "waiting for Postgres")

        from strava_pipeline.warehouse.migrate import open_warehouse

        settings = command_settings()
        with open_warehouse(settings) as engine:
            shown = Shown(settings, engine, lines, folder)
            report = _import(shown, written)
            _write_lake(shown)
            page = _write_page(shown)
            rows = rows_per_table(engine)
            lines.say("all is there", lambda: "asking the tables")
        click.echo()
        for line in report_lines(report):
            say(line)
        print_table(rows)
        _ask(settings)
    click.echo()
    say(f"seed {seed}, {time.monotonic() - began:.0f} s. The page of the newest recording: {page}")
    say(f"The data stay in {home} until the next demo. To look at them, run make up in a checkout,")
    click.echo("or strava-pipeline up with the same STRAVA_HOME elsewhere.")


def _write(folder: Path, seed: int, activities: int) -> WrittenArchive:
    from strava_pipeline.mock_strava.archive import write_archive
    from strava_pipeline.mock_strava.history import generate_history

    athlete = generate_history(activities, time.time())
    path = folder / f"export_{athlete.id}.zip"
    return write_archive(path, athlete=athlete, activities=list(athlete.activities.values()), seed=seed)


def _import(shown: Shown, written: WrittenArchive) -> Report:
    """Import and analyse month by month, as ``archive import`` does."""
    from strava_pipeline.sync.archive_analysis import analyse_month, analyse_rest
    from strava_pipeline.sync.archive_import import HandingIn, import_archive
    from strava_pipeline.warehouse.states import CameBy

    under_way = "reading the table of activities"
    shown.lines.say("the tables are made; the archive is imported", lambda: under_way)
    handing = HandingIn(given=written.path, athlete_id=written.athlete_id, came_by=CameBy.COMMAND)
    work = import_archive(shown.engine, shown.settings, handing)
    while True:
        try:
            month = next(work)
        except StopIteration as ended:
            report: Report = ended.value
            break
        under_way = f"{month.number} of {month.of} months are stored and analysed, {month.span.months} the last"
        analyse_month(shown.engine, month.span)
    shown.lines.say("all recordings are read", lambda: "computing the training load")
    for _ in analyse_rest(shown.engine, written.athlete_id):
        pass
    return report


def _write_lake(shown: Shown) -> None:
    """Write each month's samples as Parquet, if the libraries for it are there."""
    from strava_pipeline.extras import Extra, is_installed, missing

    if not is_installed(Extra.LAKE):
        shown.lines.say(missing(Extra.LAKE, "the samples as Parquet"), lambda: "writing the page")
        return
    from strava_pipeline.local.home_folder import let_lake_readers_traverse
    from strava_pipeline.warehouse.activities.lake_months import outdated_months
    from strava_pipeline.warehouse.lake import write_month

    with shown.engine.connect() as connection:
        months = outdated_months(connection, is_set=True)
    url, readers = shown.settings.lake_to_write(), let_lake_readers_traverse(shown.settings)
    shown.lines.say("the training load is computed", lambda: "writing the lake")
    points = sum(write_month(shown.engine, url, span, readers=readers).points for span in months)
    shown.lines.say(
        f"{points:,} samples are in {len(months)} Parquet files below {url}", lambda: "writing the page of an activity"
    )


def _write_page(shown: Shown) -> Path:
    """Write the page of the newest activity with a recording."""
    from strava_pipeline.cli.reading import read
    from strava_pipeline.notifications.report import load_ride, render_report
    from strava_pipeline.warehouse.example_queries import newest_recorded

    with shown.engine.connect() as connection:
        newest = newest_recorded(connection)
    if newest is None:
        raise ConfigurationError("no activity of this archive has a recording: ask for more with --activities")
    ride = read(shown.settings, lambda connection: load_ride(connection, newest))
    path = shown.folder / PAGE
    with open(path, "w", encoding="utf-8", opener=private_files.private_opener) as file:
        file.write("" if ride is None else render_report(ride))
    return path


def _ask(settings: Settings) -> None:
    """Print what the example queries answer."""
    from strava_pipeline.cli.reading import sql_url
    from strava_pipeline.cli.rows import print_as_table
    from strava_pipeline.local.logins import Login
    from strava_pipeline.warehouse.access.read_only_query import answering
    from strava_pipeline.warehouse.example_queries import EXAMPLE_QUERIES

    url = sql_url(settings, Login.SQL_AS_ANALYST)
    for title, query in EXAMPLE_QUERIES.items():
        click.echo(f"\n{title}:\n\n{query}\n")
        with answering(url, query, QUERY_SECONDS) as answer:
            print_as_table(answer.names, answer.rows)
