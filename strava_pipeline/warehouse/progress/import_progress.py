"""The progress of the import of each athlete's history, computed from the stored rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, select

from strava_pipeline.settings import QuotaScope
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.warehouse.activities.stream_store import lacks_samples
from strava_pipeline.warehouse.progress.backfill_estimate import backfill_end
from strava_pipeline.warehouse.schema.ops_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import PayloadKind


@dataclass(frozen=True)
class ImportProgress:
    """The number of an athlete's stored activities, and of those with their detail and with their streams."""

    athlete_id: int
    listed: int = 0
    detailed: int = 0
    streamed: int = 0

    @property
    def requests_left(self) -> int:
        """The number of requests left: one for each missing detail and one for each missing set of streams."""
        return 2 * self.listed - self.detailed - self.streamed


def import_progress(connection: Connection, athlete_ids: Collection[int]) -> dict[int, ImportProgress]:
    """Return the progress of each of these athletes, by id."""
    query = (
        select(
            activities.c.athlete_id,
            func.count(),
            func.count(payloads.c.activity_id),
            func.count(activities.c.id).filter(~lacks_samples()),
        )
        .outerjoin(payloads, and_(payloads.c.activity_id == activities.c.id, payloads.c.kind == PayloadKind.DETAIL))
        .outerjoin(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .where(activities.c.athlete_id.in_(athlete_ids))
        .group_by(activities.c.athlete_id)
    )
    found = {athlete_id: ImportProgress(athlete_id, *counts) for athlete_id, *counts in connection.execute(query)}
    return {athlete_id: found.get(athlete_id, ImportProgress(athlete_id)) for athlete_id in athlete_ids}


def earliest_end(
    connection: Connection, rate_limits: RateLimits, progress: Collection[ImportProgress]
) -> datetime | None:
    """Estimate the earliest time (UTC) at which all imports can be complete, by Strava's limits.

    ``None`` if nothing is missing.
    """
    left = {each.athlete_id: each.requests_left for each in progress if each.requests_left}
    if rate_limits.scope is QuotaScope.APP:
        # All athletes share one limit, so the requests can be counted for any one of them.
        left = {next(iter(left)): sum(left.values())} if left else {}
    ends = [backfill_end(connection, rate_limits, *each, seconds_per_request=0) for each in left.items()]
    return max(filter(None, ends), default=None)
