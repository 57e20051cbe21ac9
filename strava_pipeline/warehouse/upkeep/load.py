"""Compares what upkeep needs a day with its share of the quota, for the operator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from strava_pipeline.settings import QuotaScope, Settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.warehouse.quota.status import upkeep_share
from strava_pipeline.warehouse.upkeep.due import Lag, Periods, lag

# Its detail and its samples.
FOR_A_NEW_ACTIVITY = 2
# From here on a delay is told in days.
TOLD_IN_DAYS = timedelta(days=2)


@dataclass(frozen=True)
class UpkeepLoad:
    """How far upkeep is behind at a ``moment`` (UTC), and its share: requests on a day with the usual live calls.

    ``recent``: how often the last days are listed.
    """

    moment: datetime
    lag: Lag
    share_a_day: int
    recent: timedelta

    @property
    def times_share(self) -> float:
        """How many times upkeep's share it needs; at most 1: it keeps up."""
        return self.lag.requests_a_day / max(1, self.share_a_day)

    def __str__(self) -> str:
        lag, hours = self.lag, self.recent // timedelta(hours=1)
        who = "1 athlete needs" if lag.athletes == 1 else f"{lag.athletes:,} athletes need"
        told = (
            f"{who} {lag.requests_a_day:,.0f} requests a day,"
            f" {lag.recent_a_day:,.0f} of these to list the last days every {hours} h,"
            f" and {FOR_A_NEW_ACTIVITY} more for each new activity that no webhook tells of;"
            f" upkeep's share is {self.share_a_day:,} a day"
        )
        late = (
            f", so every task is equally late: they need {self.times_share:.1f} times that"
            if self.times_share > 1
            else ""
        )
        overdue = f"; {lag.due:,} due, the oldest since {_lasting(self.moment, lag.due_since)}" if lag.due else ""
        failing = f"; {lag.failing:,} fail repeatedly" if lag.failing else ""
        return told + late + overdue + failing


def upkeep_load(connection: Connection, settings: Settings, moment: datetime) -> UpkeepLoad:
    """Return upkeep's load at a moment (UTC)."""
    periods = Periods.from_settings(settings)
    found = lag(connection, periods)
    share = upkeep_share(connection, RateLimits.from_settings(settings), moment)
    if settings.quota_scope is QuotaScope.ATHLETE:
        share *= found.athletes
    return UpkeepLoad(moment, found, share, periods.recent)


def _lasting(moment: datetime, since: datetime | None) -> str:
    lasting = timedelta(0) if since is None else max(timedelta(0), moment - since)
    if lasting < TOLD_IN_DAYS:
        return f"{lasting / timedelta(hours=1):.0f} h"
    return f"{lasting / timedelta(days=1):.0f} days"
