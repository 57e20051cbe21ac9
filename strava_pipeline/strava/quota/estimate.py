"""Estimates when a number of requests will have been sent, from the limits and the pace so far."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from strava_pipeline.strava.quota.windows import window_at


@dataclass(frozen=True)
class Allowance:
    """Windows of one length (s): how many requests the current one still takes (``left``), and each later one."""

    left: int
    limit: int
    length_s: int


def estimated_end(
    now: datetime, requests: int, short: Allowance, long: Allowance, seconds_per_request: float
) -> datetime:
    """Return when the last of ``requests`` is sent, if nobody else uses the limits."""
    moment, left = now, requests
    short_left, long_left = max(0, short.left), max(0, long.left)
    while left > 0:
        short_end = window_at(moment, short.length_s).ends_at
        long_end = window_at(moment, long.length_s).ends_at
        until = min(short_end, long_end)
        by_pace = (until - moment).total_seconds() / seconds_per_request if seconds_per_request else float(left)
        sent = int(min(left, short_left, long_left, by_pace))
        if sent == left:
            return moment + timedelta(seconds=left * seconds_per_request)
        left, long_left = left - sent, long_left - sent
        moment = long_end if long_left <= 0 else until
        if moment >= short_end:
            short_left = short.limit
        else:
            short_left -= sent
        if moment >= long_end:
            long_left = long.limit
    return moment
