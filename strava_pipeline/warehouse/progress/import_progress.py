"""The progress of the import of each athlete's history, computed from the stored rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Connection, column, exists, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from strava_pipeline.settings import QuotaScope
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.warehouse.activities.stream_store import lacks_samples
from strava_pipeline.warehouse.progress.backfill_estimate import backfill_end
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import ImportStep, PayloadKind, StreamSource


@dataclass(frozen=True)
class ImportProgress:
    """The number of an athlete's stored activities, and of those with their detail and with their streams.

    ``wants_details`` and ``wants_streams``: whether any import of the athlete does. ``told_by_archive``: how many have
    no detail, and need none, since an archive tells of them; ``from_files``: how many streams were handed in.
    """

    athlete_id: int
    listed: int = 0
    detailed: int = 0
    streamed: int = 0
    wants_details: bool = True
    wants_streams: bool = True
    told_by_archive: int = 0
    from_files: int = 0

    @property
    def requests(self) -> int:
        """The number of requests that all activities need in all: one for each detail and each set of streams."""
        return self.listed * (self.wants_details + self.wants_streams)

    @property
    def requests_left(self) -> int:
        """How many of these are left."""
        detailed = self.detailed + self.told_by_archive
        return max(0, self.requests - detailed * self.wants_details - self.streamed * self.wants_streams)

    @property
    def requests_saved(self) -> int:
        """How many need not be sent, because what they would ask for was handed in."""
        return self.told_by_archive * self.wants_details + self.from_files * self.wants_streams


def import_progress(
    connection: Connection, athlete_ids: Collection[int], *, archive_details: bool = False
) -> dict[int, ImportProgress]:
    """Return the progress of each of these athletes, by id.

    ``archive_details``: activities of which an archive tells need their details all the same.
    """
    ids = func.unnest(literal(list(athlete_ids), ARRAY(BigInteger)))
    given = ids.table_valued(column("id", BigInteger), name="given").render_derived()
    whose = given.c.id
    listed = select(func.count()).where(activities.c.athlete_id == whose)
    detailed = select(func.count()).where(payloads.c.athlete_id == whose, payloads.c.kind == PayloadKind.DETAIL)
    streamed = select(func.count()).where(activity_streams.c.athlete_id == whose)
    # Of the samples that were fetched only those that were none can lack.
    unready = (
        select(func.count())
        .join_from(activity_streams, activities, activities.c.id == activity_streams.c.activity_id)
        .where(activity_streams.c.athlete_id == whose, activity_streams.c.point_count == 0, lacks_samples())
    )
    counts = (listed.scalar_subquery(), detailed.scalar_subquery())
    wanted = [
        exists().where(imports.c.athlete_id == whose, imports.c.steps.contains([step]))
        for step in (ImportStep.DETAIL, ImportStep.STREAMS)
    ]
    has_detail = exists().where(payloads.c.activity_id == activities.c.id, payloads.c.kind == PayloadKind.DETAIL)
    told = select(func.count()).where(
        activities.c.athlete_id == whose, activities.c.archive_taken_at.is_not(None), ~has_detail
    )
    from_files = select(func.count()).where(
        activity_streams.c.athlete_id == whose, activity_streams.c.source == StreamSource.FILE
    )
    handed_in = (literal(0) if archive_details else told.scalar_subquery(), from_files.scalar_subquery())
    stored = streamed.scalar_subquery() - unready.scalar_subquery()
    query = select(whose, *counts, stored, *wanted, *handed_in).select_from(given)
    return {athlete_id: ImportProgress(athlete_id, *counts) for athlete_id, *counts in connection.execute(query)}


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
