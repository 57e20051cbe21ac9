"""Arithmetic of Strava's rate windows; pure, the ledger that stores them is in the warehouse.

Windows are fixed: they begin at multiples of their length since the epoch (a quarter hour, a UTC day), by
Strava's clock. A call counts when it arrives there, which is some time between its reservation and its answer.
Source: https://developers.strava.com/docs/rate-limits/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from strava_pipeline.strava.quota.clock import SLACK, StravaClock

# More than nine digits are no count.
_PAIR = re.compile(r"\s*([0-9]{1,9})\s*,\s*([0-9]{1,9})\s*")
# The scope of limits that the whole app shares; an athlete's own is ``athlete:<id>``.
APP = "app"
UNNAMED_BLOCK = timedelta(seconds=60)
# ``Date`` has whole seconds.
_DATE = timedelta(seconds=1)


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

    @property
    def name(self) -> str:
        """For a person."""
        return {900: "the quarter hour", 86_400: "the day"}.get(self.length_s, f"the window of {self.length_s} s")


def window_at(moment: datetime, length_s: int) -> Window:
    """The window of this length that holds ``moment``."""
    start = int(moment.timestamp()) // length_s * length_s
    return Window(length_s, datetime.fromtimestamp(start, UTC))


def windows_touched(earliest: datetime, latest: datetime, length_s: int) -> tuple[Window, ...]:
    """Every window in which a call counted between ``earliest`` and ``latest`` may count."""
    windows = [window_at(earliest, length_s)]
    while windows[-1].ends_at <= latest:
        windows.append(Window(length_s, windows[-1].ends_at))
    return tuple(windows)


def windows_to_book(clock: StravaClock, moment: datetime, longest: timedelta, length_s: int) -> tuple[Window, ...]:
    """Every window in which a call that is sent now, and takes at most ``longest``, may count."""
    now, margin = clock.now(moment), clock.margin(moment)
    return windows_touched(now - margin, now + longest + margin, length_s)


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
    """Room for one call: the row in the ledger, when it was booked (database's clock), and in which windows.

    ``scope``: whose limits. ``is_probe``: it tries whether a switched-off app is on again.
    """

    call_id: int
    reserved_at: datetime
    windows: tuple[Window, ...]
    is_probe: bool = False
    scope: str = APP


@dataclass(frozen=True)
class CallOutcome:
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
        self,
        lane: Lane,
        endpoint: str,
        athlete_id: int | None,
        *,
        longest: timedelta,
        max_wait: timedelta,
        before_waiting: Callable[[], object] = lambda: None,
    ) -> Reservation:
        """Wait for room and book it; ``longest``: how long a call may take.

        Where there is no room yet, ``before_waiting`` is called first: what it raises ends the matter.
        ``QuotaExhausted`` when that is beyond ``max_wait``, ``AppInactive`` while the app is switched off.
        """

    def release(self, reservation: Reservation) -> None:
        """Give back room for a call that was never sent."""

    def settle(self, reservation: Reservation, outcome: CallOutcome) -> None:
        """Record what became of a call, and what Strava said about the limits."""


@dataclass(frozen=True)
class Count:
    """In which windows of one length an answered call may have been counted.

    ``kept``: booked, and it may count there. ``freed``: booked, but it did not count there. ``added``: not
    booked, but it may count there. ``told``: the one window that the answer's headers speak of, if that is certain.
    """

    kept: tuple[Window, ...]
    freed: tuple[Window, ...] = ()
    added: tuple[Window, ...] = ()
    told: Window | None = None

    def narrowed(self, usage: int | None, most: Mapping[Window, int]) -> Count:
        """The same after a look at the answer's usage: a window that cannot have ``most`` that many calls is out.

        That settles calls in the last seconds before an edge, too many to stay booked on both sides. ``most`` is
        what we booked and what others are known to have used, so it holds as long as nobody else uses the app.
        """
        if len(self.kept) == 1 or usage is None:
            return self
        kept = tuple(window for window in self.kept if usage <= most[window])
        if not kept:
            return self
        return replace(self, kept=kept, freed=self.freed + tuple(window for window in self.kept if window not in kept))


def windows_counted(
    reservation: Reservation, length_s: int, received: datetime, told: datetime | None, clock: StravaClock
) -> Count:
    """Where a call counted whose answer was in at ``received`` (database's clock) with the ``Date`` ``told``.

    Within the booked windows the first needs no lower bound and the last no upper one. A call in doubt
    keeps every window it is booked in: that wastes room, the opposite would overrun.
    """
    booked = tuple(window for window in reservation.windows if window.length_s == length_s)
    if clock.is_in_doubt:
        may = windows_touched(told - SLACK, told + _DATE + SLACK, length_s) if told else ()
        return Count(booked, added=tuple(window for window in may if window not in booked))
    margin = clock.margin(received)
    earliest, latest = clock.now(reservation.reserved_at) - margin, clock.now(received) + margin
    if told is not None:
        latest = max(earliest, min(latest, told + _DATE + SLACK))
    may = windows_touched(earliest, latest, length_s)
    kept = tuple(window for window in booked if window in may)
    late = tuple(window for window in may if window not in booked and (not kept or window > booked[-1]))
    return Count(
        kept or booked,
        freed=tuple(window for window in booked if kept and window not in kept),
        added=late if told is not None else (),
        told=may[0] if len(may) == 1 else None,
    )


def window_to_block(
    outcome: CallOutcome, now: datetime, short: Window, long: Window, margin: timedelta
) -> tuple[Window, datetime]:
    """Which window a 429 blocks, and until when (Strava's clock): ``Retry-After``, its end if named, else 60 s."""
    window = long if outcome.rates.day_is_used_up else short
    if outcome.retry_after is not None:
        return window, now + outcome.retry_after
    if outcome.rates.day_is_used_up or outcome.names_a_window:
        return window, window.ends_at + margin
    return window, now + UNNAMED_BLOCK
