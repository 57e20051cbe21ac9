"""Compares what upkeep needs a day with its share of the quota, for the operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from strava_pipeline.settings import QuotaScope, Settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.warehouse.quota.status import upkeep_share, upkeep_shares
from strava_pipeline.warehouse.upkeep.due import Lag, Periods, lag, needs

# Its detail and its samples.
FOR_A_NEW_ACTIVITY = 2
# From here on a delay is told in days.
TOLD_IN_DAYS = timedelta(days=2)


@dataclass(frozen=True)
class OwnShares:
    """What upkeep may send a day for each athlete where limits are the athletes' own: from ``least`` to ``most``.

    ``lacking``: how many athletes need more than their share; ``times_share``: how many times their share those need
    who lack most; at most 1: all are served in time.
    """

    least: int
    most: int
    lacking: int
    times_share: float

    @classmethod
    def of(cls, needs: Mapping[int, float], shares: Mapping[int, int]) -> OwnShares:
        """Compare athletes' needs with their shares; there must be one athlete."""
        times = [need / max(1, shares[athlete_id]) for athlete_id, need in needs.items()]
        return cls(min(shares.values()), max(shares.values()), sum(each > 1 for each in times), max(times))

    def __str__(self) -> str:
        share = f"{self.least:,}" if self.least == self.most else f"{self.least:,} to {self.most:,}"
        told = f"upkeep's share is {share} a day of each athlete's own limits"
        if not self.lacking:
            return told
        who = "1 athlete" if self.lacking == 1 else f"{self.lacking:,} athletes"
        return f"{told}, so the tasks of {who} are late: they need up to {self.times_share:.1f} times that"


@dataclass(frozen=True)
class UpkeepLoad:
    """How far upkeep is behind at a ``moment`` (UTC), and its share: requests on a day with the usual live calls.

    ``recent``: how often the last days are listed. ``own``: the shares where each athlete has limits of their own;
    ``share_a_day`` is then their sum.
    """

    moment: datetime
    lag: Lag
    share_a_day: int
    recent: timedelta
    own: OwnShares | None = None

    @property
    def times_share(self) -> float:
        """How many times upkeep's share it needs, for the athlete who lacks most; at most 1: it keeps up."""
        if self.own is not None:
            return self.own.times_share
        return self.lag.requests_a_day / max(1, self.share_a_day)

    def __str__(self) -> str:
        lag, hours = self.lag, self.recent // timedelta(hours=1)
        who = "1 athlete needs" if lag.athletes == 1 else f"{lag.athletes:,} athletes need"
        needs = (
            f"{who} {lag.requests_a_day:,.0f} requests a day,"
            f" {lag.recent_a_day:,.0f} of these to list the last days every {hours} h,"
            f" and {FOR_A_NEW_ACTIVITY} more for each new activity that no webhook tells of"
        )
        overdue = f"; {lag.due:,} due, the oldest since {_lasting(self.moment, lag.due_since)}" if lag.due else ""
        failing = f"; {lag.failing:,} fail repeatedly" if lag.failing else ""
        return f"{needs}; {self.own or self._share_of_app()}{overdue}{failing}"

    def _share_of_app(self) -> str:
        told = f"upkeep's share is {self.share_a_day:,} a day"
        late = f", so every task is equally late: they need {self.times_share:.1f} times that"
        return told + late if self.times_share > 1 else told


def upkeep_load(connection: Connection, settings: Settings, moment: datetime) -> UpkeepLoad:
    """Return upkeep's load at a moment (UTC)."""
    periods, limits = Periods.from_settings(settings), RateLimits.from_settings(settings)
    found = lag(connection, periods)
    if settings.quota_scope is QuotaScope.APP:
        return UpkeepLoad(moment, found, upkeep_share(connection, limits, moment), periods.recent)
    needed = needs(connection, periods)
    shares = upkeep_shares(connection, limits, moment, needed)
    own = OwnShares.of(needed, shares) if needed else None
    return UpkeepLoad(moment, found, sum(shares.values()), periods.recent, own)


def _lasting(moment: datetime, since: datetime | None) -> str:
    lasting = timedelta(0) if since is None else max(timedelta(0), moment - since)
    if lasting < TOLD_IN_DAYS:
        return f"{lasting / timedelta(hours=1):.0f} h"
    return f"{lasting / timedelta(days=1):.0f} days"
