"""What the quota looks like now: for the operator, without a lock and without booking anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from strava_pipeline.settings import QuotaScope
from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.strava.quota.lanes import RateLimits, WindowUse, busy_day_profile
from strava_pipeline.strava.quota.windows import APP, Lane, window_at
from strava_pipeline.warehouse.quota import api_calls
from strava_pipeline.warehouse.quota.strava_clock import load_clock
from strava_pipeline.warehouse.quota.windows import look_at_uses, scopes_in_use


@dataclass(frozen=True)
class WindowStatus:
    """One current window of one scope: its use and limits, the reserve (calls), and what each lane may use of it now.

    ``blocked_until``: Strava's clock, as the window's own times.
    """

    scope: str
    use: WindowUse
    limit: int
    reserve: int
    blocked_until: datetime | None
    calls_left: dict[Lane, int]


@dataclass(frozen=True)
class QuotaStatus:
    """All current windows, the short one of a scope first; the last hour's calls by status (``none``: no answer)."""

    clock: StravaClock
    windows: list[WindowStatus]
    last_hour: dict[str, int]

    def calls_left(self, lane: Lane, scope: str) -> int:
        """How many calls this lane may send now, all windows of a scope considered."""
        return min(status.calls_left[lane] for status in self.windows if status.scope == scope)

    @property
    def scopes(self) -> list[str]:
        return list(dict.fromkeys(status.scope for status in self.windows))


def quota_status(connection: Connection, rate_limits: RateLimits, moment: datetime) -> QuotaStatus:
    """The status at ``moment`` (database's clock). Where limits are athletes' own: of those who used any now."""
    clock = load_clock(connection)
    now = clock.now(moment)
    current = [window_at(now, length) for length in rate_limits.lengths]
    scopes = [APP] if rate_limits.scope is QuotaScope.APP else scopes_in_use(connection, current)
    return QuotaStatus(
        clock=clock,
        windows=[status for scope in scopes for status in _of_scope(connection, rate_limits, scope, moment, now)],
        last_hour=api_calls.statuses_since(connection, moment - timedelta(hours=1)),
    )


def scope_status(connection: Connection, rate_limits: RateLimits, scope: str, moment: datetime) -> list[WindowStatus]:
    """The current windows of one scope, the short one first, at ``moment`` (database's clock)."""
    return _of_scope(connection, rate_limits, scope, moment, load_clock(connection).now(moment))


def _of_scope(
    connection: Connection, rate_limits: RateLimits, scope: str, moment: datetime, now: datetime
) -> list[WindowStatus]:
    current = [window_at(now, length) for length in rate_limits.lengths]
    uses = look_at_uses(connection, scope, current, now)
    athlete_id = None if scope == APP else int(scope.removeprefix("athlete:"))
    calls = api_calls.live_calls(connection, athlete_id, rate_limits.long_window_s, moment)
    busy_day = busy_day_profile(calls)
    is_blocked = any(use.blocked_until is not None and use.blocked_until > now for use in uses)
    found = []
    for use in sorted((use for use in uses if use.window in current), key=lambda use: use.window):
        # A block may outlast the window in whose row it stands.
        blocks = [other.blocked_until for other in uses if other.window.length_s == use.window.length_s]
        until = max((block for block in blocks if block is not None and block > now), default=None)
        found.append(
            WindowStatus(
                scope=scope,
                use=use,
                limit=rate_limits.limit(use),
                reserve=math.ceil(rate_limits.reserve(use, busy_day).at(use.share_left(now))),
                blocked_until=until,
                calls_left={
                    lane: 0 if is_blocked else rate_limits.calls_left(lane, use, busy_day, now) for lane in Lane
                },
            )
        )
    return found
