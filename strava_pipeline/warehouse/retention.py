"""Which activities are kept, and the deletion of those past STRAVA_RETENTION_DAYS."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import ColumnElement, Engine, and_, exists, select

from strava_pipeline.months import add_months
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.activities.activity_store import is_in_archive
from strava_pipeline.warehouse.activities.tombstones import lock_activities
from strava_pipeline.warehouse.archives.merging import delete_for_good, forget_answers
from strava_pipeline.warehouse.engine import autocommit, plan_for_now
from strava_pipeline.warehouse.imports.histories import note_removed
from strava_pipeline.warehouse.imports.listed_months import forget_before
from strava_pipeline.warehouse.revoked import put_off_erasure
from strava_pipeline.warehouse.schema.grant_tables import erasures
from strava_pipeline.warehouse.schema.tables import activities

# Each batch is its own transaction: a run that dies keeps its finished batches, and nobody waits long for a lock.
BATCH = 500


def keep_from(settings: Settings) -> datetime | None:
    """Return the time (UTC) from which on activities are kept, by their start; ``None``: all are kept."""
    if settings.retention_days is None:
        return None
    return datetime.now(UTC) - timedelta(days=settings.retention_days)


def earliest_month(settings: Settings) -> date:
    """Return the first day of the earliest month (UTC) whose activities are imported and kept."""
    kept = keep_from(settings)
    first = settings.history_start if kept is None else max(settings.history_start, kept.date())
    return add_months(first, 0)


def remove_activities_before(engine: Engine, moment: datetime, *, handed_in: bool = False) -> dict[str, int]:
    """Delete activities that started before ``moment`` (UTC), with their rows in other tables.

    Of those that an archive or a file tells, only what came by the API goes, unless ``handed_in``.
    Were activities of then kept again, their months would be listed again. Returns the number of deleted rows by table,
    without tables from which none was deleted.
    """
    removed = Counter[str]()
    # What is being erased goes with its athlete.
    too_old = and_(activities.c.start_date < moment, ~exists().where(erasures.c.athlete_id == activities.c.athlete_id))
    if not handed_in:
        too_old = and_(too_old, activities.c.told_by_api)
    while (athlete_id := _owner_of_oldest(engine, too_old)) is not None:
        while _remove_batch(engine, athlete_id, too_old, removed, handed_in=handed_in):
            pass
    with engine.begin() as connection:
        # Whatever was deleted, also by a run that died before this.
        first_kept = add_months(moment.astimezone(UTC).date(), 0)
        note_removed(connection, first_kept)
        forget_before(connection, first_kept)
    return dict(+removed)


def _owner_of_oldest(engine: Engine, too_old: ColumnElement[bool]) -> int | None:
    """Whose the oldest activity is, if it is too old: most nights nobody has any."""
    oldest = select(activities.c.athlete_id).where(too_old).order_by(activities.c.start_date)
    with autocommit(engine) as connection:
        return connection.execute(oldest.limit(1)).scalar()


def _remove_batch(
    engine: Engine, athlete_id: int, too_old: ColumnElement[bool], removed: Counter[str], *, handed_in: bool
) -> bool:
    """Delete some of an athlete's activities that are too old; False if none is left."""
    with engine.begin() as connection:
        plan_for_now(connection)
        lock_activities(connection, athlete_id)
        put_off_erasure(connection, athlete_id)
        theirs = (activities.c.athlete_id == athlete_id, too_old)
        columns = activities.c["id", "archive_taken_at", "file_taken_at"]
        oldest = (
            select(*columns, is_in_archive().label("is_in_archive"))
            .where(*theirs)
            .order_by(activities.c.start_date)
            .limit(BATCH)
        )
        batch = connection.execute(oldest).all()
        told = [row.id for row in batch if row.archive_taken_at or row.file_taken_at or row.is_in_archive]
        kept = told if not handed_in else []
        gone = [row.id for row in batch if row.id not in set(kept)]
        removed.update(delete_for_good(connection, athlete_id, gone))
        removed.update(forget_answers(connection, athlete_id, kept))
    return len(batch) == BATCH
