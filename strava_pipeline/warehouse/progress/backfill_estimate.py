"""Estimates when the requests of a backfill will have been sent, from the quota as it is now."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from strava_pipeline.strava.quota.estimate import Allowance, estimated_end
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.quota.status import scope_status


def backfill_end(
    connection: Connection, rate_limits: RateLimits, athlete_id: int, requests: int, seconds_per_request: float
) -> datetime | None:
    """Estimate when so many requests for an athlete will have been sent (UTC); ``None`` if ``requests`` is 0."""
    if not requests:
        return None
    moment = now(connection)
    short, long = (
        Allowance(rate_limits.room(status.use), status.limit, status.use.window.length_s)
        for status in scope_status(connection, rate_limits, rate_limits.scope_of(athlete_id), moment)
    )
    return estimated_end(moment, requests, short, long, seconds_per_request)
