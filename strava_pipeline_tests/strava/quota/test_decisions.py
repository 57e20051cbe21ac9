"""The decisions together, against a model of Strava's windows: never a 429 as the only consumer, and full use.

The books are a dictionary here; the same with Postgres under it: ``warehouse/quota/test_simulated.py``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count as numbers

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.strava.quota.lanes import RateLimits, WindowUse, refusal
from strava_pipeline.strava.quota.windows import (
    Lane,
    RateHeaders,
    Reservation,
    Window,
    window_at,
    windows_counted,
    windows_to_book,
)
from strava_pipeline_tests.strava_model import EPOCH_2026, StravaModel

LIMIT, DAY_LIMIT = 12, 400
QUARTER, DAY = 900, 86_400
CEILINGS = RateLimits(LIMIT, DAY_LIMIT, QUARTER, DAY)
LONGEST = timedelta(seconds=30)
LIMITS = {QUARTER: LIMIT, DAY: DAY_LIMIT}
# The widest margin, and a little: a call that keeps so far away from an edge leaves no doubt, s.
EDGE_S = 3.0
# Latest at this time before the end of a window nothing of its edges is felt any more, s.
CLEAR_S = 40.0
lanes = st.sampled_from(list(Lane))
waits = st.floats(0.0, 40.0) | st.floats(0.0, 2_000.0)


def as_time(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)


def told_usage(rates: RateHeaders, length: int) -> int | None:
    if rates.read_usage is None:
        return None
    return rates.read_usage.short if length == QUARTER else rates.read_usage.long


@dataclass
class Books:
    """What a ledger keeps, in memory."""

    uses: dict[Window, WindowUse] = field(default_factory=dict)
    clock: StravaClock = field(default_factory=StravaClock)
    unsettled: dict[int, datetime] = field(default_factory=dict)
    ids: numbers[int] = field(default_factory=lambda: numbers(1))

    def use(self, window: Window) -> WindowUse:
        return self.uses.setdefault(window, WindowUse(window))

    def change(self, window: Window, calls: int, lane: Lane) -> None:
        use = self.use(window)
        self.uses[window] = replace(
            use,
            booked=use.booked + calls,
            booked_live=use.booked_live + calls * (lane is Lane.LIVE),
            booked_reconcile=use.booked_reconcile + calls * (lane is Lane.RECONCILE),
        )

    def reserve(self, lane: Lane, moment: datetime) -> Reservation | datetime:
        """A reservation, or when to come back."""
        windows = tuple(w for s in CEILINGS.lengths for w in windows_to_book(self.clock, moment, LONGEST, s))
        now, margin = self.clock.now(moment), self.clock.margin(moment)
        refused = refusal(map(self.use, windows), CEILINGS, lane, None, now, margin)
        if refused is not None:
            return self.clock.in_our_time(refused.until)
        if not self.clock.is_trusted(moment) and any(moment - at <= LONGEST for at in self.unsettled.values()):
            return moment + timedelta(seconds=1)
        for window in windows:
            self.change(window, 1, lane)
        reservation = Reservation(next(self.ids), lane, moment, windows)
        self.unsettled[reservation.call_id] = moment
        return reservation

    def release(self, reservation: Reservation) -> None:
        del self.unsettled[reservation.call_id]
        for window in reservation.windows:
            self.change(window, -1, reservation.lane)

    def settle(self, reservation: Reservation, moment: datetime, told: datetime | None, rates: RateHeaders) -> None:
        del self.unsettled[reservation.call_id]
        self.clock = self.clock.heard(reservation.reserved_at, moment, told, refused=False)
        most = {window: use.booked + use.read_foreign for window, use in self.uses.items()}
        for length in CEILINGS.lengths:
            usage = told_usage(rates, length)
            counted = windows_counted(reservation, length, moment, told, self.clock).narrowed(usage, most)
            for window in counted.freed:
                self.change(window, -1, reservation.lane)
            for window in counted.added:
                self.change(window, 1, reservation.lane)
            if counted.told is not None and usage is not None:
                use = self.use(counted.told)
                self.uses[use.window] = replace(use, read_foreign=max(use.read_foreign, usage - use.booked))


@dataclass
class Call:
    """One call under way; times are the model's, in seconds of our clock."""

    reservation: Reservation
    arrives: float
    written: float
    received: float
    says_time: bool
    says_usage: bool
    dies: bool
    in_the_dark: bool
    headers: dict[str, str] = field(default_factory=dict)


class QuotaMachine(RuleBasedStateMachine):
    """Callers of all lanes, near and far from the edges of windows; some die, some answers lack their headers."""

    @initialize(
        offset_s=st.floats(-1.5, 1.5) | st.sampled_from([-5.0, 5.0, -3600.0, 3600.0]),
        seed=st.integers(0, 2**32),
        start=st.floats(0.0, 86_400.0),
    )
    def begin(self, offset_s: float, seed: int, start: float) -> None:
        self.chance = random.Random(seed)  # noqa: S311  it shall be repeatable
        self.strava = StravaModel(LIMIT, DAY_LIMIT)
        self.books = Books()
        self.offset_s = offset_s
        self.now = EPOCH_2026 + start
        self.under_way: list[Call] = []
        self.sent: list[Call] = []
        # A wrong guess of the first call's window is put right by its answer, so that one must have its headers.
        self.first = True

    @rule(lane=lanes, calls=st.integers(1, 8), slow=st.booleans())
    def send(self, lane: Lane, calls: int, slow: bool) -> None:
        for _ in range(calls):
            self.reserve_and_send(lane, 30.0 if slow else 2.0)

    @rule(lane=lanes)
    def reserve_and_give_back(self, lane: Lane) -> None:
        reservation = self.books.reserve(lane, as_time(self.now))
        if isinstance(reservation, Reservation):
            self.books.release(reservation)

    @rule(seconds=waits)
    def wait(self, seconds: float) -> None:
        self.advance(self.now + seconds)

    @rule(before=st.floats(-3.0, 35.0), length=st.sampled_from([QUARTER, DAY]))
    def wait_for_an_edge(self, before: float, length: int) -> None:
        strava = self.now + self.offset_s
        edge = (strava // length + 1) * length
        self.advance(max(self.now, edge - self.offset_s - before))

    @rule(lane=lanes, before=st.floats(1.0, 20.0), length=st.sampled_from([QUARTER, DAY]), latency=st.floats(0.1, 2.0))
    def rush_over_an_edge(self, lane: Lane, before: float, length: int, latency: float) -> None:
        """Send whatever may be sent, again as soon as that is said, until the next window has begun for good."""
        self.wait_for_an_edge(before, length)
        end = self.now + before + 10.0
        while self.now < end:
            sent = self.reserve_and_send(lane, latency)
            self.advance(self.now + 0.05 if sent else min(end, max(self.come_back_at, self.now + 0.01)))

    @precondition(lambda self: self.is_clear)
    @rule()
    def use_a_whole_window(self) -> None:
        """What cannot be used in the middle of a window is only what calls at its edges, or dead ones, hold."""
        while (call := self.reserve_and_send(Lane.LIVE, 0.5, reliable=True)) is not None:
            self.advance(call.received)
        strava = self.now + self.offset_s
        unused = {length: limit - self.strava.used[length, int(strava // length)] for length, limit in LIMITS.items()}
        assert any(unused[length] <= self.wasted(window_at(as_time(strava), length)) for length in LIMITS)

    @invariant()
    def nobody_else_is_suspected(self) -> None:
        """Whatever came in between, and whichever headers are missing: all that Strava counted was ours."""
        if hasattr(self, "books") and abs(self.offset_s) <= 1.5:
            assert all(use.read_foreign <= 0 for use in self.books.uses.values())

    @invariant()
    def strava_never_rejects(self) -> None:
        assert getattr(self, "strava", StravaModel()).rejected == 0

    @property
    def is_clear(self) -> bool:
        into = (self.now + self.offset_s) % QUARTER
        return CLEAR_S < into < QUARTER - 2 * CLEAR_S and not self.books.unsettled

    def wasted(self, window: Window) -> int:
        """How many calls may be booked in a window in which they did not count.

        They died, touched an edge, or were booked before Strava's time was known.
        """
        length = window.length_s

        def touches_an_edge(call: Call) -> bool:
            sent = call.reservation.reserved_at.timestamp() + self.offset_s
            return (sent - EDGE_S) // length != (call.received + self.offset_s + EDGE_S) // length

        return sum(
            window_at(as_time(call.arrives + self.offset_s), length) != window
            and (call.dies or call.in_the_dark or touches_an_edge(call))
            for call in self.sent
            if window in call.reservation.windows
        )

    def reserve_and_send(self, lane: Lane, longest_s: float, *, reliable: bool = False) -> Call | None:
        reservation = self.books.reserve(lane, as_time(self.now))
        if not isinstance(reservation, Reservation):
            self.come_back_at = reservation.timestamp()
            return None
        reliable, self.first = reliable or self.first, False
        latency = self.chance.uniform(0.05, longest_s)
        arrives, written = sorted(self.now + self.chance.uniform(0.0, latency) for _ in range(2))
        call = Call(
            reservation,
            arrives,
            written,
            self.now + latency,
            says_time=reliable or self.chance.random() < 0.9,
            says_usage=reliable or self.chance.random() < 0.7,
            dies=not reliable and self.chance.random() < 0.05,
            in_the_dark=self.books.clock.offset_s is None,
        )
        self.under_way.append(call)
        self.sent.append(call)
        return call

    def advance(self, until: float) -> None:
        """Let calls arrive and be answered in their order until then."""
        events = [(call.arrives, 0, call) for call in self.under_way if call.arrives > self.now or not call.headers]
        events += [(call.received, 1, call) for call in self.under_way]
        for at, is_answer, call in sorted(events, key=lambda event: event[:2]):
            if at > until:
                break
            self.now = at
            if not is_answer:
                _, call.headers = self.strava.arrive(at + self.offset_s)
                continue
            self.under_way.remove(call)
            if not call.dies:
                told = as_time(int(call.written + self.offset_s)) if call.says_time else None
                rates = RateHeaders.parse(call.headers) if call.says_usage else RateHeaders()
                self.books.settle(call.reservation, as_time(at), told, rates)
        self.now = until


QuotaMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestQuotaDecisions = QuotaMachine.TestCase
