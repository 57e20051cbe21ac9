"""Tombstones: activities that Strava no longer has, so that an answer requested earlier does not bring them back.

A transaction that stores or deletes activities of an athlete calls :func:`lock_activities` first: reading the
tombstones and writing the activities is then one step.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, delete, or_, select
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from strava_pipeline.warehouse.inbox.claims import CLOCKS_DIFFER
from strava_pipeline.warehouse.locks import AthleteLock, acquire_for_athlete
from strava_pipeline.warehouse.schema.columns import SAME_MOMENT, any_of, database_time, is_not_newer
from strava_pipeline.warehouse.schema.payload_tables import tombstones

# Why an activity is gone, as far as a listing tells. What was handed in of it may be stored all the same.
UNLISTED = "no longer listed"


def lock_activities(connection: Connection, athlete_id: int) -> None:
    """Keep all others from storing or deleting an athlete's activities until the transaction ends."""
    acquire_for_athlete(connection, AthleteLock.STORING, athlete_id)


def add_tombstones(
    connection: Connection, athlete_id: int, activity_ids: Collection[int], asked_at: datetime, reason: str
) -> None:
    """Add tombstones of activities that are gone; ``asked_at``: when Strava was asked (UTC)."""
    if not activity_ids:
        return
    new = insert_or_update(tombstones).values(
        [
            {"activity_id": activity_id, "athlete_id": athlete_id, "asked_at": asked_at, "reason": reason}
            for activity_id in activity_ids
        ]
    )
    connection.execute(
        new.on_conflict_do_update(
            index_elements=[tombstones.c.activity_id],
            set_={name: new.excluded[name] for name in ("athlete_id", "asked_at", "reason")}
            | {"deleted_at": database_time()},
            where=is_not_newer(tombstones.c.asked_at, new.excluded.asked_at),
        )
    )


def has_tombstone(connection: Connection, athlete_id: int, activity_id: int, event_time: datetime) -> bool:
    """Whether Strava, asked for this athlete after ``event_time`` (UTC), no longer had the activity.

    Strava's clock and ours may differ: an answer asked for up to :data:`CLOCKS_DIFFER` earlier counts, too.
    """
    query = select(tombstones.c.activity_id).where(
        tombstones.c.activity_id == activity_id,
        tombstones.c.athlete_id == athlete_id,
        tombstones.c.asked_at >= event_time - CLOCKS_DIFFER,
        # One from ahead was written before the database's clock was set back: it is older than any event.
        tombstones.c.asked_at <= database_time() + SAME_MOMENT,
    )
    return connection.execute(query).first() is not None


def gone_for_good(connection: Connection, activity_ids: Collection[int]) -> set[int]:
    """Those of the ids that were deleted at Strava, not only left out of a listing."""
    query = select(tombstones.c.activity_id).where(
        any_of(tombstones.c.activity_id, activity_ids), tombstones.c.reason != UNLISTED
    )
    return set(connection.execute(query).scalars())


def gone_since(connection: Connection, activity_ids: Collection[int]) -> dict[int, datetime]:
    """When (UTC) Strava was last asked for activities that it did not have then; only those with a tombstone."""
    query = select(tombstones.c.activity_id, tombstones.c.asked_at)
    found = connection.execute(query.where(any_of(tombstones.c.activity_id, activity_ids)))
    return {row.activity_id: row.asked_at for row in found}


def reject_deleted(connection: Connection, activity_ids: Collection[int], asked_at: datetime) -> set[int]:
    """The ids, in an answer asked for at ``asked_at`` (UTC), that were gone then or later and are not to be stored.

    The tombstones of the other ids are deleted: Strava has these activities again. A tombstone that lies ahead was
    written before the database's clock was set back; it is older than any answer of now.
    """
    if not activity_ids:
        return set()
    ours = any_of(tombstones.c.activity_id, activity_ids)
    is_older = or_(tombstones.c.asked_at < asked_at, tombstones.c.asked_at > database_time())
    found = connection.execute(select(tombstones.c.activity_id, is_older.label("is_older")).where(ours)).all()
    if any(row.is_older for row in found):
        connection.execute(delete(tombstones).where(ours, is_older))
    return {row.activity_id for row in found if not row.is_older}
