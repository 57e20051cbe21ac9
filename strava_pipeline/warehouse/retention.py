"""Which activities are kept, and the deletion of those past STRAVA_RETENTION_DAYS."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine, select

from strava_pipeline.months import add_months
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.activities.activity_store import delete_activities
from strava_pipeline.warehouse.activities.tombstones import lock_activities
from strava_pipeline.warehouse.engine import autocommit, plan_for_now
from strava_pipeline.warehouse.imports.histories import note_removed
from strava_pipeline.warehouse.imports.listed_months import forget_before
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


def remove_activities_before(engine: Engine, moment: datetime) -> dict[str, int]:
    """Delete activities that started before ``moment`` (UTC), with their rows in other tables.

    Were activities of then kept again, their months would be listed again. Returns the number of deleted rows by table,
    without tables from which none was deleted.
    """
    removed = Counter[str]()
    while (athlete_id := _owner_of_oldest(engine, moment)) is not None:
        while _remove_batch(engine, athlete_id, moment, removed):
            pass
    with engine.begin() as connection:
        # Whatever was deleted, also by a run that died before this.
        first_kept = add_months(moment.astimezone(UTC).date(), 0)
        note_removed(connection, first_kept)
        forget_before(connection, first_kept)
    return dict(+removed)


def _owner_of_oldest(engine: Engine, moment: datetime) -> int | None:
    """Whose the oldest activity is, if it started before ``moment``: most nights nobody has any."""
    oldest = select(activities.c.athlete_id).where(activities.c.start_date < moment).order_by(activities.c.start_date)
    with autocommit(engine) as connection:
        return connection.execute(oldest.limit(1)).scalar()


def _remove_batch(engine: Engine, athlete_id: int, moment: datetime, removed: Counter[str]) -> bool:
    """Delete some of an athlete's activities that started before ``moment``; False if none is left."""
    with engine.begin() as connection:
        plan_for_now(connection)
        lock_activities(connection, athlete_id)
        theirs = (activities.c.athlete_id == athlete_id, activities.c.start_date < moment)
        oldest = select(activities.c.id).where(*theirs).order_by(activities.c.start_date).limit(BATCH)
        batch = list(connection.execute(oldest).scalars())
        removed.update(delete_activities(connection, batch))
    return len(batch) == BATCH
