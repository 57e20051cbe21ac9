"""The mail that an athlete's archive has been imported: queued when that is done, once for each archive import."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, distinct, func, select
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.warehouse.mail.consent import address_of
from strava_pipeline.warehouse.schema.archive_tables import archive_files, archive_imports, archive_rows
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import ArchiveKind, ArchiveState, MailKind, MailState

# A mail server that is away for longer makes the mail fail.
WORTH_SENDING = timedelta(days=7)


@dataclass(frozen=True)
class ImportedHistory:
    """What an archive import brought: stored activities of its table, and how many of them have a recording.

    ``first`` and ``last``: when the oldest and the newest one began (UTC); ``None`` without any.
    """

    activities: int
    recordings: int
    first: datetime | None
    last: datetime | None


def tell_history(connection: Connection, import_id: int) -> bool:
    """Queue the mail; return False if it was queued before, or the athlete has confirmed no address.

    Only an archive of Strava's that is imported is told, not single files. Call it in the transaction that ends the
    archive import, or after it, as often as you like.
    """
    of_import = select(archive_imports.c.athlete_id).where(
        archive_imports.c.id == import_id,
        archive_imports.c.kind == ArchiveKind.ARCHIVE,
        archive_imports.c.state == ArchiveState.DONE,
    )
    athlete_id = connection.execute(of_import).scalar()
    if athlete_id is None or address_of(connection, athlete_id)[0] is None:
        return False
    queued = (
        insert_or_skip(notifications)
        .values(
            import_id=import_id,
            kind=MailKind.HISTORY,
            athlete_id=athlete_id,
            state=MailState.PENDING,
            next_try_at=database_time(),
        )
        .on_conflict_do_nothing()
    )
    return connection.execute(queued.returning(notifications.c.id)).first() is not None


def imported_history(connection: Connection, import_id: int) -> ImportedHistory | None:
    """Return what an archive import brought; ``None`` if it was undone."""
    state = connection.execute(select(archive_imports.c.state).where(archive_imports.c.id == import_id)).scalar()
    if state != ArchiveState.DONE:
        return None
    of_row = and_(archive_files.c.import_id == import_id, archive_files.c.activity_id == activities.c.id)
    found = connection.execute(
        select(
            func.count(distinct(activities.c.id)).label("activities"),
            func.count(distinct(archive_files.c.activity_id)).label("recordings"),
            func.min(activities.c.start_date).label("first"),
            func.max(activities.c.start_date).label("last"),
        )
        .select_from(archive_rows.join(activities, activities.c.id == archive_rows.c.activity_id))
        .outerjoin(archive_files, of_row)
        .where(archive_rows.c.import_id == import_id)
    ).one()
    return ImportedHistory(found.activities, found.recordings, found.first, found.last)
