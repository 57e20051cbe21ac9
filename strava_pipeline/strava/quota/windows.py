"""Arithmetic of Strava's rate windows. Pure: the ledger that stores them is in the warehouse.

Windows are fixed: they begin at multiples of their length since the epoch (each quarter hour, each UTC day), by
Strava's clock. A call counts when it arrives at Strava, some time between its reservation and its answer.
Source: https://developers.strava.com/docs/rate-limits/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from strava_pipeline.strava.quota.clock import SLACK, StravaClock
from strava_pipeline.strava.quota.outage import Patience

# A number of more than nine digits cannot be a count.
_PAIR = re.compile(r"\s*([0-9]{1,9})\s*,\s*([0-9]{1,9})\s*")
# The scope of limits that the whole app shares; an athlete's own is ``athlete:<id>``.
APP = "app"
# How long a 429 blocks that names neither a window nor a time.
UNNAMED_BLOCK = timedelta(seconds=60)
# ``Date`` has whole seconds.
_DATE = timedelta(seconds=1)


class Lane(StrEnum):
    """Who a request is for: live goes first; reconcile is upkeep's, with a share of its own; backfill has the rest."""

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
        """The window's name in messages."""
        return {900: "the quarter hour", 86_400: "the day"}.get(self.length_s, f"the window of {self.length_s} s")


def window_at(moment: datetime, length_s: int) -> Window:
    """Return the window of this length that contains ``moment``."""
    start = int(moment.timestamp()) // length_s * length_s
    return Window(length_s, datetime.fromtimestamp(start, UTC))


def windows_touched(earliest: datetime, latest: datetime, length_s: int) -> tuple[Window, ...]:
    """Return every window that contains a moment from ``earliest`` to ``latest``."""
    windows = [window_at(earliest, length_s)]
    while windows[-1].ends_at <= latest:
        windows.append(Window(length_s, windows[-1].ends_at))
    return tuple(windows)


def windows_to_book(clock: StravaClock, moment: datetime, longest: timedelta, length_s: int) -> tuple[Window, ...]:
    """Return every window in which a call may count that is sent at ``moment`` and takes at most ``longest``."""
    now, margin = clock.now(moment), clock.margin(moment)
    return windows_touched(now - margin, now + longest + margin, length_s)


@dataclass(frozen=True)
class Pair:
    """The two figures of one header: for the short window, and for the day."""

    short: int
    long: int


@dataclass(frozen=True)
class RateHeaders:
    """The limits and the usage that an answer names; ``None`` for a header that is missing or garbled."""

    read_limit: Pair | None = None
    read_usage: Pair | None = None
    overall_limit: Pair | None = None
    overall_usage: Pair | None = None

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> RateHeaders:
        """Read an answer's headers, in any letter case."""
        lowered = {name.lower(): value for name, value in headers.items()}
        return cls(
            read_limit=_limit(lowered.get("x-readratelimit-limit")),
            read_usage=_pair(lowered.get("x-readratelimit-usage")),
            overall_limit=_limit(lowered.get("x-ratelimit-limit")),
            overall_usage=_pair(lowered.get("x-ratelimit-usage")),
        )

    @property
    def day_is_used_up(self) -> bool:
        """Whether, by Strava's count, the day's limit of reads or of all calls is reached."""
        pairs = ((self.read_limit, self.read_usage), (self.overall_limit, self.overall_usage))
        return any(limit and usage and usage.long >= limit.long for limit, usage in pairs)


def _pair(text: str | None) -> Pair | None:
    match = _PAIR.fullmatch(text or "")
    return Pair(int(match[1]), int(match[2])) if match else None


def _limit(text: str | None) -> Pair | None:
    """A pair of limits; ``None`` if one is 0: it would hold for ever, since no call could be made to learn another."""
    pair = _pair(text)
    return pair if pair and pair.short and pair.long else None


@dataclass(frozen=True)
class Reservation:
    """Room for one call: its row in the ledger, its lane, when it was booked (database's clock), and in which windows.

    ``scope``: whose limits it counts against. ``is_probe``: the call finds out whether a switched-off app is on again,
    or whether Strava answers again. ``activity_id``: the activity that it is about, if it is about one.
    """

    call_id: int
    lane: Lane
    reserved_at: datetime
    windows: tuple[Window, ...]
    is_probe: bool = False
    scope: str = APP
    activity_id: int | None = None


@dataclass(frozen=True)
class CallOutcome:
    """How a call ended, for the ledger; ``status`` is ``None`` without an answer, ``server_time`` its ``Date`` (UTC).

    ``answered``: whether Strava itself answered, ``None`` if that is not known; ``reason``: why not, in words.
    ``limit_reached``: the answer says that a limit is used up, ``names_a_window``: and which one, in Strava's words.
    ``app_inactive``: Strava's words, if it says that the whole app is switched off.
    """

    status: int | None
    duration_ms: float
    answered: bool | None = None
    reason: str = ""
    server_time: datetime | None = None
    rates: RateHeaders = RateHeaders()
    limit_reached: bool = False
    retry_after: timedelta | None = None
    names_a_window: bool = False
    app_inactive: str | None = None


class QuotaLedger(Protocol):
    """The place where all processes together reserve room for calls."""

    def reserve(
        self,
        lane: Lane,
        endpoint: str,
        athlete_id: int | None,
        *,
        longest: timedelta,
        max_wait: timedelta,
        activity_id: int | None = None,
        patience: Patience | None = None,
    ) -> Reservation:
        """Wait for room and book it; ``longest``: how long the call may take.

        ``QuotaExhausted`` if the wait would exceed ``max_wait``. While Strava is away, or the app is switched off, the
        call waits as long as ``patience`` lasts, or not at all without; then ``StravaAway`` or ``AppInactive``.
        """

    def pause(
        self, why: str, seconds: float, patience: Patience, *, athlete_id: int | None, until: datetime | None = None
    ) -> bool:
        """Wait as long as that, or until a later ``until`` (database's clock); ``False``, without a wait, if too long.

        ``why`` is told, in words.
        """

    def release(self, reservation: Reservation) -> None:
        """Give back room for a call that was never sent."""

    def settle(self, reservation: Reservation, outcome: CallOutcome) -> None:
        """Record how a call ended, and what Strava said about the limits."""


@dataclass(frozen=True)
class Count:
    """The windows of one length in which an answered call may count.

    ``kept``: booked, and the call may count there. ``freed``: booked, but the call does not count there. ``added``: not
    booked, but the call may count there. ``told``: the window that the answer's headers describe, if that is certain.
    """

    kept: tuple[Window, ...]
    freed: tuple[Window, ...] = ()
    added: tuple[Window, ...] = ()
    told: Window | None = None

    def narrowed(self, usage: int | None, most: Mapping[Window, int]) -> Count:
        """Return this count without windows that cannot have as many calls as the answer's ``usage`` says.

        ``most``: the calls that each window can have, which are ours and the known ones of others. That is right while
        nobody else uses the app. Calls in the last seconds before an edge would otherwise stay booked on both sides,
        and there are many of these.
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
    """Return where a call counts that was answered at ``received`` (database's clock) with the ``Date`` ``told``.

    With a clock in doubt, the call stays booked in all its windows: that wastes room, but freeing the wrong one would
    exceed a limit. Windows in which the call was not booked are added only with a ``told``; one before the booked ones,
    with a clock not in doubt, only if the call counts in none of the booked ones.
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
    """Return the window that an answer blocks which says that a limit is reached, and until when (Strava's clock).

    That is: as ``Retry-After`` says; else the window's end, if Strava names a limit or the day is used up; else 60 s.
    """
    window = long if outcome.rates.day_is_used_up else short
    if outcome.retry_after is not None:
        return window, now + outcome.retry_after
    if outcome.rates.day_is_used_up or outcome.names_a_window:
        return window, window.ends_at + margin
    return window, now + UNNAMED_BLOCK
