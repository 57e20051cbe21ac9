"""Arithmetic of Strava's rate windows; pure, the ledger that stores them is in the warehouse.

Windows are fixed: they begin at multiples of their length since the epoch (a quarter hour, a UTC day).
Source: https://developers.strava.com/docs/rate-limits/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

# Our clock and Strava's may differ by this much; no call is booked closer to a window's edge than that.
MARGIN = timedelta(seconds=2)
# More than nine digits are no count.
_PAIR = re.compile(r"\s*([0-9]{1,9})\s*,\s*([0-9]{1,9})\s*")
UNNAMED_BLOCK = timedelta(seconds=60)


class Lane(StrEnum):
    """Who a request is for; live goes before reconcile, reconcile before backfill."""

    LIVE = "live"
    RECONCILE = "reconcile"
    BACKFILL = "backfill"


@dataclass(frozen=True, order=True)
class Window:
    """One rate window: its length in seconds and its start (UTC)."""

    length_s: int
    starts_at: datetime

    @property
    def ends_at(self) -> datetime:
        return self.starts_at + timedelta(seconds=self.length_s)


def window_at(moment: datetime, length_s: int) -> Window:
    """The window of this length that holds ``moment``."""
    start = int(moment.timestamp()) // length_s * length_s
    return Window(length_s, datetime.fromtimestamp(start, UTC))


def windows_touched(earliest: datetime, latest: datetime, length_s: int) -> list[Window]:
    """Every window in which a call counted between ``earliest`` and ``latest`` may count."""
    windows = [window_at(earliest, length_s)]
    while windows[-1].ends_at <= latest:
        windows.append(Window(length_s, windows[-1].ends_at))
    return windows


@dataclass(frozen=True)
class Pair:
    """Two figures of one header: for the short window and for the day."""

    short: int
    long: int


@dataclass(frozen=True)
class RateHeaders:
    """What an answer says about the limits; ``None`` where a header is missing or garbled."""

    read_limit: Pair | None = None
    read_usage: Pair | None = None
    overall_limit: Pair | None = None
    overall_usage: Pair | None = None

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> RateHeaders:
        """From an answer's headers, in any letter case."""
        lowered = {name.lower(): value for name, value in headers.items()}
        return cls(
            read_limit=_limit(lowered.get("x-readratelimit-limit")),
            read_usage=_pair(lowered.get("x-readratelimit-usage")),
            overall_limit=_limit(lowered.get("x-ratelimit-limit")),
            overall_usage=_pair(lowered.get("x-ratelimit-usage")),
        )

    @property
    def day_is_used_up(self) -> bool:
        """Strava's count says that the day's limit is reached, of reads or of all calls."""
        pairs = ((self.read_limit, self.read_usage), (self.overall_limit, self.overall_usage))
        return any(limit and usage and usage.long >= limit.long for limit, usage in pairs)


def _pair(text: str | None) -> Pair | None:
    match = _PAIR.fullmatch(text or "")
    return Pair(int(match[1]), int(match[2])) if match else None


def _limit(text: str | None) -> Pair | None:
    """A limit of nothing would be kept for good: no call could ever be made to learn a better one."""
    pair = _pair(text)
    return pair if pair and pair.short and pair.long else None


@dataclass(frozen=True)
class Reservation:
    """Room for one call: the row in the ledger and the windows it is booked in.

    ``is_probe``: it tries whether a switched-off app is on again.
    """

    call_id: int
    reserved_at: datetime
    windows: tuple[Window, ...]
    is_probe: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a call ended, as the ledger needs it; ``server_time`` is the answer's ``Date`` (UTC).

    ``app_inactive``: Strava's words, where it says that the whole app is switched off.
    """

    status: int | None
    duration_ms: float
    server_time: datetime | None = None
    rates: RateHeaders = RateHeaders()
    retry_after: timedelta | None = None
    names_a_window: bool = False
    app_inactive: str | None = None


class QuotaLedger(Protocol):
    """Where room for calls is reserved, for all processes together."""

    def reserve(
        self, lane: Lane, endpoint: str, athlete_id: int | None, *, longest: timedelta, max_wait: timedelta
    ) -> Reservation:
        """Wait for room and book it; ``longest``: how long a call may take.

        ``QuotaExhausted`` when that is beyond ``max_wait``, ``AppInactive`` while the app is switched off.
        """

    def release(self, reservation: Reservation) -> None:
        """Give back room for a call that was never sent."""

    def settle(self, reservation: Reservation, outcome: Outcome) -> None:
        """Record what became of a call, and what Strava said about the limits."""


def counted_window(windows: tuple[Window, ...], length_s: int, server_time: datetime | None) -> Window | None:
    """Which of the booked windows of one length a call counts in, or ``None`` while that is uncertain.

    ``Date`` has whole seconds and is written when the answer is, so a time within two seconds of an edge
    does not settle it, nor does a missing one.
    """
    booked = [window for window in windows if window.length_s == length_s]
    if len(booked) == 1:
        return booked[0]
    if server_time is None:
        return None
    early, late = server_time - MARGIN, server_time + MARGIN
    return next((w for w in booked if w.starts_at <= early and late < w.ends_at), None)


def blocked_until(outcome: Outcome, now: datetime, short: Window, long: Window) -> datetime:
    """Until when a 429 stops everyone: ``Retry-After``, else the end of the window it names, else 60 s."""
    if outcome.retry_after is not None:
        return now + outcome.retry_after
    if outcome.rates.day_is_used_up:
        return long.ends_at + MARGIN
    if outcome.names_a_window:
        return short.ends_at + MARGIN
    return now + UNNAMED_BLOCK
