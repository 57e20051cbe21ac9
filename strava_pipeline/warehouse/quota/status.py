"""The state of the quota now, for the operator; read without a lock, and nothing is booked."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from strava_pipeline.settings import QuotaScope
from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.strava.quota.lanes import RateLimits, WindowUse, busy_day_profile
from strava_pipeline.strava.quota.outage import Service
from strava_pipeline.strava.quota.windows import APP, Lane, window_at
from strava_pipeline.warehouse.quota import api_calls
from strava_pipeline.warehouse.quota.app_status import inactive_line, load_status
from strava_pipeline.warehouse.quota.outages import away_line, load_outage
from strava_pipeline.warehouse.quota.strava_clock import load_clock
from strava_pipeline.warehouse.quota.windows import look_at_uses, newest_limits, scopes_in_use
from strava_pipeline.warehouse.restored import unchecked_line


@dataclass(frozen=True)
class WindowStatus:
    """One current window of one scope: its use, limit and reserve (calls), and how many calls each lane may send now.

    ``blocked_until``: by Strava's clock, like the window's times.
    """

    scope: str
    use: WindowUse
    limit: int
    reserve: int
    blocked_until: datetime | None
    calls_left: dict[Lane, int]


@dataclass(frozen=True)
class QuotaStatus:
    """All current windows, by scope with the short one first, and the last hour's calls by status.

    The status ``none``: no answer, or none yet. ``outages``: a line for each reason why Strava answers no call at all.
    """

    clock: StravaClock
    windows: list[WindowStatus]
    last_hour: dict[str, int]
    outages: list[str]

    def calls_left(self, lane: Lane, scope: str) -> int:
        """Return how many calls this lane may send now, considering all windows of the scope."""
        return min(status.calls_left[lane] for status in self.windows if status.scope == scope)

    @property
    def scopes(self) -> list[str]:
        return list(dict.fromkeys(status.scope for status in self.windows))


def quota_status(connection: Connection, rate_limits: RateLimits, moment: datetime) -> QuotaStatus:
    """Return the status at ``moment`` (database's clock).

    If each athlete has limits of their own, it covers the athletes whose current windows are in use.
    """
    clock = load_clock(connection)
    now = clock.now(moment)
    current = [window_at(now, length) for length in rate_limits.lengths]
    scopes = [APP] if rate_limits.scope is QuotaScope.APP else scopes_in_use(connection, current)
    return QuotaStatus(
        clock=clock,
        windows=[status for scope in scopes for status in _of_scope(connection, rate_limits, scope, moment, now)],
        last_hour=api_calls.statuses_since(connection, moment - timedelta(hours=1)),
        outages=_outages(connection, moment),
    )


def _outages(connection: Connection, moment: datetime) -> list[str]:
    status = load_status(connection)
    held = [unchecked_line(status.belonging)] if status.belonging and status.belonging.holds_calls else []
    inactive = [] if status.inactive_since is None else [inactive_line(status)]
    states = {Service.API: status.outage, Service.OAUTH: load_outage(connection, Service.OAUTH)}
    return held + inactive + [away_line(service, state, moment) for service, state in states.items() if state.is_away]


def upkeep_share(connection: Connection, rate_limits: RateLimits, moment: datetime) -> int:
    """Return how many requests upkeep may send on a day on which live calls come as on a busy day.

    By the limits of the app.
    """
    day = window_at(load_clock(connection).now(moment), rate_limits.long_window_s)
    read, overall = newest_limits(connection, [APP], day).get(APP, (None, None))
    calls = api_calls.live_calls(connection, None, rate_limits.long_window_s, moment)
    return _share(rate_limits, WindowUse(day, read_limit=read, overall_limit=overall), calls)


def upkeep_shares(
    connection: Connection, rate_limits: RateLimits, moment: datetime, athlete_ids: Collection[int]
) -> dict[int, int]:
    """Return what :func:`upkeep_share` returns for each of these athletes, by limits and live calls of their own."""
    day = window_at(load_clock(connection).now(moment), rate_limits.long_window_s)
    scopes = {athlete_id: rate_limits.scope_of(athlete_id) for athlete_id in athlete_ids}
    limits = newest_limits(connection, list(scopes.values()), day)
    calls = api_calls.live_calls_by_athlete(connection, athlete_ids, rate_limits.long_window_s, moment)
    found = {}
    for athlete_id, scope in scopes.items():
        read, overall = limits.get(scope, (None, None))
        found[athlete_id] = _share(
            rate_limits, WindowUse(day, read_limit=read, overall_limit=overall), calls[athlete_id]
        )
    return found


def _share(rate_limits: RateLimits, day: WindowUse, live_calls: api_calls.Days) -> int:
    """Upkeep's share of a day of which nothing is used yet."""
    reserved = rate_limits.reserve(day, busy_day_profile(live_calls)).at(1.0)
    return math.floor(rate_limits.upkeep_left(day, reserved))


def scope_status(connection: Connection, rate_limits: RateLimits, scope: str, moment: datetime) -> list[WindowStatus]:
    """Return the current windows of one scope, the short one first, at ``moment`` (database's clock)."""
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
        # A block may outlast the window in whose row it is stored.
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
