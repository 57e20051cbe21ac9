"""How far the import of each athlete's history is, from what the tables hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, func, select

from strava_pipeline.strava.quota import Lane
from strava_pipeline.warehouse.activities import DETAIL
from strava_pipeline.warehouse.ops_tables import api_calls, payloads
from strava_pipeline.warehouse.tables import activities, activity_streams

PACE_OVER = timedelta(hours=1)


@dataclass(frozen=True)
class ImportProgress:
    """One athlete's activities: those listed, and how many of them have their detail and their streams."""

    athlete_id: int
    listed: int = 0
    detailed: int = 0
    streamed: int = 0

    @property
    def requests_left(self) -> int:
        """One for each detail and each set of streams that is missing."""
        return 2 * self.listed - self.detailed - self.streamed

    @property
    def is_whole(self) -> bool:
        return self.requests_left == 0


def import_progress(connection: Connection, athlete_ids: Collection[int]) -> dict[int, ImportProgress]:
    """The progress of each of these athletes."""
    query = (
        select(
            activities.c.athlete_id,
            func.count(),
            func.count(payloads.c.activity_id),
            func.count(activity_streams.c.activity_id),
        )
        .outerjoin(payloads, and_(payloads.c.activity_id == activities.c.id, payloads.c.kind == DETAIL))
        .outerjoin(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .where(activities.c.athlete_id.in_(athlete_ids))
        .group_by(activities.c.athlete_id)
    )
    found = {athlete_id: ImportProgress(athlete_id, *counts) for athlete_id, *counts in connection.execute(query)}
    return {athlete_id: found.get(athlete_id, ImportProgress(athlete_id)) for athlete_id in athlete_ids}


def time_left(connection: Connection, requests_left: int, moment: datetime) -> timedelta | None:
    """How long so many requests take at the pace of the last hour; ``None`` if none was sent in it."""
    sent = connection.execute(
        select(func.count()).where(api_calls.c.lane == Lane.BACKFILL, api_calls.c.reserved_at > moment - PACE_OVER)
    ).scalar_one()
    return PACE_OVER * requests_left / sent if sent else None
