"""``strava-pipeline backup``: dumps both databases into a folder."""

from __future__ import annotations

from pathlib import Path

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import say
from strava_pipeline.cli.whose_dagster import can_have_our_storage, has_hosts_storage
from strava_pipeline.settings import Settings


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--without-dagster", is_flag=True, help="Leave out Dagster's database, where Dagster is somebody else's.")
def backup(folder: Path, without_dagster: bool) -> None:
    """Dump the tables' and Dagster's database into a new folder below FOLDER.

    Everything may go on meanwhile. Keep STRAVA_TOKEN_KEYS, the settings file and the list of erasures elsewhere: they
    are not in it. docs/backup.md says how to restore.
    """
    from strava_pipeline.warehouse.backups import make_backup

    settings = command_settings()
    with_dagster = has_own_dagster(settings) and not without_dagster
    made, note = make_backup(settings, folder.absolute(), with_dagster=with_dagster)
    size = sum(path.stat().st_size for path in made.iterdir())
    say(f"{made}: {size / 1e6:.1f} MB, tables at {note.revision}{'' if with_dagster else ', without Dagster'}")
    if note.key_ids:
        say(f"its tokens need key {', '.join(note.key_ids)} of STRAVA_TOKEN_KEYS, which is not in it")


def has_own_dagster(settings: Settings) -> bool:
    """Whether Dagster's storage is the pipeline's own, as far as the settings of this machine say."""
    return can_have_our_storage() and not has_hosts_storage(settings)
