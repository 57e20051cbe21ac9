"""What was imported without a run that shows its months: by the command, or as an archive in the watched folder."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Date, and_, cast, func, or_, select, union

from strava_pipeline.months import Span, month_span, month_start
from strava_pipeline.warehouse.schema.archive_tables import archive_files, archive_imports, archive_rows
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import ArchiveKind, ArchiveState, CameBy

_i = archive_imports.c
# First day of the month (UTC) in which an activity starts.
_month = cast(func.date_trunc("month", func.timezone("UTC", activities.c.start_date)), Date)


def imports_outside_runs(connection: Connection) -> str:
    """Return a text that changes whenever another such import is done or undone; empty if there is none."""
    query = select(func.count(), func.max(_i.ended_at)).where(_is_outside())
    count, last = connection.execute(query).one()
    return f"{count} {last.isoformat()}" if count else ""


def months_outside_runs(connection: Connection) -> list[Span]:
    """Return the months in which activities of such imports start, the newest first, athlete by athlete."""
    of_rows, of_files = (
        select(activities.c.athlete_id, _month.label("month"))
        .join(table, table.c.activity_id == activities.c.id)
        .join(archive_imports, _i.id == table.c.import_id)
        .where(_is_outside())
        for table in (archive_rows, archive_files)
    )
    found = union(of_rows, of_files).subquery()
    query = select(found.c.athlete_id, found.c.month).order_by(found.c.athlete_id, found.c.month.desc())
    return [month_span(athlete_id, month_start(month)) for athlete_id, month in connection.execute(query)]


def _is_outside() -> ColumnElement[bool]:
    """Of the single files of the watched folder their own run shows the activities."""
    by_command = _i.came_by == CameBy.COMMAND
    from_folder = and_(_i.came_by == CameBy.FOLDER, _i.kind == ArchiveKind.ARCHIVE)
    return and_(_i.state == ArchiveState.DONE, or_(by_command, from_folder))
