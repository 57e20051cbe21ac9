"""How many calls of a window each lane may use: limits, calls so far, the reserve for live calls, upkeep's share.

The reserve is what live calls may still need in a window. It shrinks towards the window's end, so that a backfill can
use even the last call, and nothing is left unused. The day's reserve follows the times of day at which live calls come:
people ride after work, so at six in the evening half of a day's calls may still be due. Room for a burst is added, as
long as enough short windows are left to use it up.

Upkeep is the lane ``reconcile``. It may use a share of what live calls and their reserve leave in a window, and no
more. Backfills leave it what it has not used of its share; that shrinks towards the window's end as well.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from strava_pipeline.settings import UPKEEP_SHARE, QuotaScope, Settings
from strava_pipeline.strava.quota.windows import APP, Lane, Window

# A short window's reserve at its start, as a share of the limit.
SHORT_SHARE = 0.3
# The day's reserve is so many times the live calls still to come on a busy day; a busy day is this quantile of days.
ABOVE_BUSY = 1.3
BUSY = 0.9
# The day's reserve before there is a day to learn from: this many calls, but at most this share of the limit.
FIRST_RESERVE = 300
FIRST_SHARE = 0.3
# A burst is the calls of one short window, but at most this share of the day's limit.
BURST_SHARE = 0.1
# Added to the moment at which a window ends or the reserve has shrunk enough: at that very moment it is too early.
_TICK = timedelta(milliseconds=1)

# Live calls still to come, at evenly spaced times of a day from its start to its end.
BusyDay = Sequence[float]


@dataclass(frozen=True)
class WindowUse:
    """One window: our calls (``booked``), calls of others (``_foreign``), Strava's limits, a block (Strava's clock).

    ``booked_live`` and ``booked_reconcile``: our calls of these lanes, which ``booked`` counts, too. ``newest_until``:
    until when backfills leave their room to a new athlete's newest month (Strava's clock).
    """

    window: Window
    booked: int = 0
    read_limit: int | None = None
    read_foreign: int = 0
    overall_limit: int | None = None
    overall_foreign: int = 0
    blocked_until: datetime | None = None
    booked_live: int = 0
    booked_reconcile: int = 0
    newest_until: datetime | None = None

    def share_left(self, now: datetime) -> float:
        """Return the share of the window that is still to come, 0 to 1."""
        return min(1.0, max(0.0, (self.window.ends_at - now).total_seconds() / self.window.length_s))


@dataclass(frozen=True)
class Reserve:
    """The reserve at each time of a window: the live calls expected from then on, plus a ``burst``.

    ``expected``: falling numbers of calls, at evenly spaced times from the window's start to its end; linear between
    these. ``usable``: the largest possible reserve at the window's start; it falls linearly to 0 at the end.
    """

    expected: Sequence[float]
    burst: float = 0.0
    usable: float = math.inf

    def at(self, share_left: float) -> float:
        """Return the calls kept when this share of the window is still to come."""
        parts = len(self.expected) - 1
        place = (1 - share_left) * parts
        before = min(int(place), parts - 1)
        here, there = self.expected[before], self.expected[before + 1]
        wanted = here + (there - here) * (place - before) + self.burst
        return min(wanted, self.usable * share_left) if share_left else 0.0


@dataclass(frozen=True)
class RateLimits:
    """The configured limits, and whether they are the app's or each athlete's (``scope``).

    ``capped``: the operator set this limit, so a higher one of Strava's is not used. ``upkeep_share``: upkeep's share
    of what live calls and their reserve leave, above 0, at most 0.5.
    """

    short: int
    long: int
    short_window_s: int
    long_window_s: int
    short_capped: bool = False
    long_capped: bool = False
    scope: QuotaScope = QuotaScope.APP
    upkeep_share: float = UPKEEP_SHARE

    @classmethod
    def from_settings(cls, settings: Settings) -> RateLimits:
        given = settings.model_fields_set
        return cls(
            short=settings.quota_short_limit,
            long=settings.quota_long_limit,
            short_window_s=settings.quota_short_window_seconds,
            long_window_s=settings.quota_long_window_seconds,
            short_capped="quota_short_limit" in given,
            long_capped="quota_long_limit" in given,
            scope=settings.quota_scope,
            upkeep_share=settings.upkeep_share,
        )

    @property
    def lengths(self) -> tuple[int, int]:
        """Lengths of the short and the long window, s."""
        return self.short_window_s, self.long_window_s

    def scope_of(self, athlete_id: int | None) -> str:
        """Return the name under which a call's windows are kept: ``app``, or ``athlete:<id>``."""
        per_athlete = self.scope is QuotaScope.ATHLETE and athlete_id is not None
        return f"athlete:{athlete_id}" if per_athlete else APP

    def limit(self, use: WindowUse) -> int:
        """Return how many reads a window takes: Strava's limit, or the configured one if it is lower or alone known."""
        long = use.window.length_s == self.long_window_s
        assumed, capped = (self.long, self.long_capped) if long else (self.short, self.short_capped)
        if use.read_limit is None:
            return assumed
        return min(use.read_limit, assumed) if capped else use.read_limit

    def room(self, use: WindowUse) -> int:
        """Return how many more calls fit into a window by both limits, of reads and of all calls."""
        free = self.limit(use) - use.read_foreign - use.booked
        if use.overall_limit is None:
            return free
        return min(free, use.overall_limit - use.overall_foreign - use.booked)

    def reserve(self, use: WindowUse, busy_day: BusyDay | None) -> Reserve:
        """Return the reserve for live calls in a window; ``busy_day``: see :func:`busy_day_profile`."""
        limit = self.limit(use)
        if use.window.length_s == self.short_window_s:
            return Reserve((SHORT_SHARE * limit, 0.0))
        burst = min(self.short, BURST_SHARE * limit)
        usual = (min(FIRST_RESERVE, FIRST_SHARE * limit), 0.0) if busy_day is None else busy_day
        above = 1.0 if busy_day is None else ABOVE_BUSY
        return Reserve(
            expected=tuple(min(limit - burst, above * calls) for calls in usual),
            burst=burst,
            usable=(1 - SHORT_SHARE) * self.short * self.long_window_s / self.short_window_s,
        )

    def upkeep_left(self, use: WindowUse, reserved: float) -> float:
        """Return how many more calls upkeep's share of a window allows while ``reserved`` calls are kept for live."""
        left_by_live = self.room(use) + use.booked - use.booked_live - reserved
        return max(0.0, self.upkeep_share * max(0.0, left_by_live) - use.booked_reconcile)

    def calls_left(self, lane: Lane, use: WindowUse, busy_day: BusyDay | None, now: datetime) -> int:
        """Return how many calls of this lane a window still takes now."""
        if use.blocked_until is not None and use.blocked_until > now:
            return 0
        return max(0, math.ceil(self.free(lane, use, self.reserve(use, busy_day), use.share_left(now))))

    def free(self, lane: Lane, use: WindowUse, reserve: Reserve, share_left: float) -> float:
        """Return how many calls of this lane a window without a block takes, when this share of it is still to come.

        While nothing is booked, the figure never falls towards the window's end.
        """
        room = self.room(use)
        if lane is Lane.LIVE:
            return room
        reserved = reserve.at(share_left)
        upkeep_left = self.upkeep_left(use, reserved)
        if lane is Lane.RECONCILE:
            return min(room - reserved, upkeep_left)
        return room - reserved - share_left * upkeep_left


def busy_day_profile(days: Sequence[Sequence[int]]) -> BusyDay | None:
    """Return the 90th percentile of the live calls still to come on a day, at evenly spaced times of the day.

    ``days``: live calls in each part of a day, a row for each day, also for days without calls. ``None`` without a row.
    """
    if not days:
        return None
    still_to_come = [[*reversed([*accumulate(reversed(day), initial=0)])] for day in days]
    return tuple(_percentile(calls) for calls in zip(*still_to_come, strict=True))


def _percentile(figures: Sequence[int]) -> float:
    ordered = sorted(figures)
    place = BUSY * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    return below + (above - below) * (place - math.floor(place))


@dataclass(frozen=True)
class Refusal:
    """No call may be sent before ``until`` (Strava's clock); ``why``: the reason, in words for a person."""

    until: datetime
    why: str


def refusal(
    uses: Iterable[WindowUse],
    rate_limits: RateLimits,
    lane: Lane,
    busy_day: BusyDay | None,
    now: datetime,
    margin: timedelta,
    *,
    goes_first: bool = False,
) -> Refusal | None:
    """Return why a call of this lane may not be booked in all these windows now, or ``None`` if it may.

    Of several reasons, the one that lasts longest. Times are by Strava's clock. ``goes_first``: the call is for a new
    athlete's newest month, so that other backfills leave it their room.
    """
    uses = list(uses)
    found = [] if lane is not Lane.BACKFILL or goes_first else _announced(uses, now)
    found += [
        _shortage(use, rate_limits, lane, busy_day, now, margin)
        for use in uses
        if rate_limits.calls_left(lane, use, busy_day, now) < 1
    ]
    return max(found, key=lambda lack: lack.until, default=None)


def _announced(uses: Iterable[WindowUse], now: datetime) -> list[Refusal]:
    why = "a new athlete's newest month goes first"
    return [Refusal(use.newest_until, why) for use in uses if use.newest_until is not None and use.newest_until > now]


def _shortage(
    use: WindowUse, rate_limits: RateLimits, lane: Lane, busy_day: BusyDay | None, now: datetime, margin: timedelta
) -> Refusal:
    window, room = use.window, rate_limits.room(use)
    if use.blocked_until is not None and use.blocked_until > now:
        return Refusal(use.blocked_until, f"{window.name} is blocked by a 429")
    if room < 1:
        begun = window.starts_at <= now
        return Refusal((window.ends_at if begun else window.starts_at) + margin + _TICK, f"{window.name} is used up")
    reserve = rate_limits.reserve(use, busy_day)
    length = timedelta(seconds=window.length_s)

    def is_open(passed: int) -> bool:
        return rate_limits.free(lane, use, reserve, 1 - passed * _TICK / length) > 0

    opens = bisect_left(range(length // _TICK + 1), True, key=is_open)
    if lane is Lane.RECONCILE and not rate_limits.upkeep_left(use, reserve.at(use.share_left(now))):
        why = f"upkeep has used its share of {window.name}"
    else:
        why = f"{window.name} has {room} left, kept for more urgent calls"
    if opens * _TICK > length:
        return Refusal(window.ends_at + margin + _TICK, why)
    return Refusal(window.starts_at + (opens + 1) * _TICK, why)
