"""What the tests of archive imports hand in, and what they look at then."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Table, select

from strava_pipeline.settings import Settings
from strava_pipeline.sync.archive_import import HandingIn, hand_in
from strava_pipeline.sync.archive_options import ArchiveOptions
from strava_pipeline.sync.archive_readers import Reader, ReadHere
from strava_pipeline.sync.archive_reading import Terms
from strava_pipeline.sync.archive_report import Report
from strava_pipeline.warehouse.states import CameBy

DATA = Path(__file__).parents[1] / "files" / "data"
ARCHIVES = DATA / "archive"
EXPORT = ARCHIVES / "export_en94.zip"
HAZARDS = ARCHIVES / "hazards"
FIT = DATA / "fit"
# Whose archive the small export is.
ATHLETE = 111111111
RUN = 86692125623
TRUSTED = ArchiveOptions(trust_athlete=True)


def here(terms: Terms) -> AbstractContextManager[Reader]:
    """Reads in this process."""
    return nullcontext(ReadHere(terms))


def handing(path: Path, athlete_id: int = ATHLETE, options: ArchiveOptions = TRUSTED) -> HandingIn:
    return HandingIn(given=path, athlete_id=athlete_id, came_by=CameBy.COMMAND, options=options)


def hand(
    engine: Engine, settings: Settings, path: Path, athlete_id: int = ATHLETE, options: ArchiveOptions = TRUSTED
) -> Report:
    return hand_in(engine, settings, handing(path, athlete_id, options), here)


def archive_of(folder: Path, table: Path | str) -> Path:
    """An unpacked archive with nothing but this table."""
    folder.mkdir(exist_ok=True)
    (folder / "activities.csv").write_bytes(table.encode() if isinstance(table, str) else table.read_bytes())
    return folder


def rows_of(engine: Engine, table: Table, *, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """All rows of a table, without some columns, in the order of their keys."""
    columns = [column for column in table.columns if column.name not in without]
    with engine.connect() as connection:
        found = connection.execute(select(*columns).order_by(*table.primary_key))
        return [dict(row) for row in found.mappings()]
