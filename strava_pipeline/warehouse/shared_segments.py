"""Deletes segments that nobody has ridden any more: one that a single athlete rode may tell where they live."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, exists, select

from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.tables import segment_efforts, segments


def segments_ridden_in(connection: Connection, activity_ids: Collection[int]) -> set[int]:
    """Return the ids of the segments of these activities' efforts."""
    query = select(segment_efforts.c.segment_id).where(
        any_of(segment_efforts.c.activity_id, activity_ids), segment_efforts.c.segment_id.is_not(None)
    )
    return set(connection.execute(query.distinct()).scalars())


def delete_segments_of_nobody(connection: Connection, segment_ids: Collection[int]) -> None:
    """Delete those of the segments that have no effort. Call it after efforts were deleted, at the transaction's end.

    Of two transactions that delete a segment's last efforts, the second one sees that none is left. Whoever stores an
    effort stores its segment afterwards, and so either keeps it or inserts it again.
    """
    if not segment_ids:
        return
    # In the order in which segments are stored, so that no two transactions wait for each other.
    named = select(segments.c.id).where(any_of(segments.c.id, segment_ids))
    connection.execute(named.order_by(segments.c.id).with_for_update())
    # A statement of its own, which sees what was committed while the lock was waited for.
    ridden = exists().where(segment_efforts.c.segment_id == segments.c.id)
    connection.execute(delete(segments).where(any_of(segments.c.id, segment_ids), ~ridden))
