from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from strava_pipeline.settings import QuotaScope
from strava_pipeline.strava.quota.lanes import BusyDay, RateLimits, Reserve, WindowUse, busy_day_profile, refusal
from strava_pipeline.strava.quota.windows import Lane, Window, window_at

QUARTER, DAY = 900, 86_400
NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
SHORT, LONG = window_at(NOON, QUARTER), window_at(NOON, DAY)
CEILINGS = RateLimits(100, 1000, QUARTER, DAY)
MARGIN, TICK = timedelta(seconds=2), timedelta(milliseconds=1)

shares = st.floats(0.0, 0.9999)
limits = st.integers(1, 2_000)
falling = st.lists(st.floats(0.0, 1_000.0), min_size=1, max_size=6).map(
    lambda found: [*sorted(found, reverse=True), 0.0]
)
busy_days = st.none() | falling
lengths = st.sampled_from([QUARTER, DAY])


def at(window: Window, passed: float) -> datetime:
    return window.starts_at + timedelta(seconds=passed * window.length_s)


def rate_limits(limit: int) -> RateLimits:
    return RateLimits(limit, limit, QUARTER, DAY)


@pytest.mark.parametrize(
    ("passed", "backfill", "upkeep", "live"), [(0.0, 53, 18, 100), (0.5, 75, 22, 100), (0.99, 100, 25, 100)]
)
def test_the_short_reserve_is_thirty_percent_upkeeps_share_a_quarter_of_the_rest_and_both_shrink_to_nothing(
    passed: float, backfill: int, upkeep: int, live: int
) -> None:
    now = at(SHORT, passed)
    assert [CEILINGS.calls_left(lane, WindowUse(SHORT), None, now) for lane in Lane] == [live, upkeep, backfill]


@pytest.mark.parametrize(
    ("busy_day", "limit", "usual", "burst"),
    [
        (None, 1000, 300, 100),
        (None, 10_000, 300, 1000),
        (None, 100, 30, 10),
        (None, 1, 0.3, 0.1),
        ((180.0, 0.0), 1000, 234, 100),
        ((900.0, 0.0), 1000, 900, 100),
    ],
)
def test_the_days_reserve_follows_a_busy_days_live_calls_and_has_room_for_a_burst(
    busy_day: BusyDay | None, limit: int, usual: float, burst: float
) -> None:
    held = RateLimits(1000, limit, QUARTER, DAY)
    reserve = held.reserve(WindowUse(LONG), busy_day)
    assert reserve.at(1.0) == pytest.approx(usual + burst)
    assert reserve.at(0.25) == pytest.approx(usual / 4 + burst)


def test_calls_that_come_in_the_evening_are_kept_until_then() -> None:
    busy_day = (180.0, 180.0, 180.0, 90.0, 0.0)
    reserve = CEILINGS.reserve(WindowUse(LONG), busy_day)
    assert [reserve.at(share) for share in (1.0, 0.5, 0.375, 0.25)] == pytest.approx([334, 334, 275.5, 217])


def test_a_burst_has_its_room_until_the_windows_left_can_only_just_use_it() -> None:
    reserve = CEILINGS.reserve(WindowUse(LONG), (0.0, 0.0))
    quarter = 1 / 96
    assert [reserve.at(share) for share in (1.0, 0.5, 2 * quarter)] == [100, 100, 100]
    assert [round(reserve.at(share)) for share in (quarter, quarter / 2, 0.0)] == [70, 35, 0]


@given(falling, st.floats(0, 500), st.floats(1, 10_000), shares, shares)
def test_a_reserve_never_grows_and_ends_at_nothing(
    expected: list[float], burst: float, usable: float, early: float, late: float
) -> None:
    reserve = Reserve(expected, burst, usable)
    assert reserve.at(max(early, late)) >= reserve.at(min(early, late)) - 1e-9
    assert reserve.at(0.0) == 0


@pytest.mark.parametrize(
    ("days", "figure"),
    [
        ([], None),
        ([[180]], (180, 0)),
        ([[0], [0]], (0, 0)),
        ([[20, 30], [0, 50], [50, 0]], (50, 46, 0)),
        ([[calls] for calls in range(11)], (9, 0)),
        ([[300], *[[180]] * 4, [300], *[[180]] * 4], (300, 0)),
    ],
)
def test_a_busy_day_is_the_ninetieth_percentile_of_what_still_came(
    days: list[list[int]], figure: tuple[float, ...] | None
) -> None:
    assert busy_day_profile(days) == figure


@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=14))
def test_a_busy_day_falls_and_lies_among_the_days(days: list[list[int]]) -> None:
    figure = busy_day_profile(days)
    assert figure is not None
    assert list(figure) == sorted(figure, reverse=True)
    assert min(map(sum, days)) <= figure[0] <= max(map(sum, days))
    assert figure[-1] == 0


even_days = st.none() | st.floats(0.0, 3_000.0).map(lambda calls: (calls, 0.0))


@given(st.sampled_from(list(Lane)), lengths, limits, even_days, shares)
def test_no_limit_is_so_small_that_live_calls_spread_over_the_day_shut_out_the_others(
    lane: Lane, length: int, limit: int, busy_day: BusyDay | None, passed: float
) -> None:
    use = WindowUse(window_at(NOON, length))
    assert rate_limits(limit).calls_left(lane, use, busy_day, at(use.window, max(passed, 0.001))) >= 1


@given(lengths, limits, busy_days, shares, st.integers(0, 2_000))
def test_live_goes_before_the_other_lanes(
    length: int, limit: int, busy_day: BusyDay | None, passed: float, booked: int
) -> None:
    use = WindowUse(window_at(NOON, length), booked=booked)
    now = at(use.window, passed)
    live, upkeep, backfill = (rate_limits(limit).calls_left(lane, use, busy_day, now) for lane in Lane)
    assert live == max(0, limit - booked)
    assert live >= max(upkeep, backfill)
    assert min(upkeep, backfill) >= 0


@given(st.sampled_from([Lane.LIVE, Lane.BACKFILL]), lengths, limits, busy_days, st.integers(1, 2_000))
def test_what_is_left_is_open_to_live_calls_and_backfills_before_the_window_ends(
    lane: Lane, length: int, limit: int, busy_day: BusyDay | None, left: int
) -> None:
    assume(left <= limit)
    use = WindowUse(window_at(NOON, length), booked=limit - left)
    now = at(use.window, 1 - 1e-6)
    assert rate_limits(limit).calls_left(lane, use, busy_day, now) == left


upkeep_shares = st.floats(0.01, 0.5)


@given(upkeep_shares, lengths, limits, busy_days, shares, st.integers(0, 2_000), st.data())
def test_upkeep_uses_its_share_of_what_live_calls_and_their_reserve_leave(
    share: float, length: int, limit: int, busy_day: BusyDay | None, passed: float, live: int, data: st.DataObject
) -> None:
    held = replace(rate_limits(limit), upkeep_share=share)
    live = min(live, limit)
    use = WindowUse(window_at(NOON, length), booked=live, booked_live=live)
    now, done = at(use.window, passed), 0
    while held.calls_left(Lane.RECONCILE, use, busy_day, now):
        use, done = _booked(use, Lane.RECONCILE), done + 1
    reserved = held.reserve(use, busy_day).at(use.share_left(now))
    assert done == math.ceil(share * max(0.0, limit - live - reserved) - 1e-9)
    backfill = data.draw(st.integers(0, limit - use.booked))
    assert not held.calls_left(Lane.RECONCILE, replace(use, booked=use.booked + backfill), busy_day, now)


@given(lengths, limits, busy_days, st.lists(st.tuples(shares, st.sampled_from(list(Lane))), max_size=60))
def test_upkeep_never_takes_what_is_kept_for_live_calls(
    length: int, limit: int, busy_day: BusyDay | None, calls: list[tuple[float, Lane]]
) -> None:
    held, use = rate_limits(limit), WindowUse(window_at(NOON, length))
    for passed, lane in sorted(calls):
        now = at(use.window, passed)
        if lane is Lane.RECONCILE and held.calls_left(lane, use, busy_day, now):
            use = _booked(use, lane)
            assert held.room(use) > held.reserve(use, busy_day).at(use.share_left(now)) - 1
        elif held.calls_left(lane, use, busy_day, now):
            use = _booked(use, lane)


@given(lengths, limits, even_days, st.lists(shares, max_size=20), st.randoms(use_true_random=False))
def test_backfills_get_at_least_half_of_what_live_calls_leave(
    length: int, limit: int, busy_day: BusyDay | None, moments: list[float], chance: random.Random
) -> None:
    held = replace(rate_limits(limit), upkeep_share=0.5)
    use = WindowUse(window_at(NOON, length))
    for passed in (*sorted(moments), 1 - 1e-6):
        use = _all_take_what_they_may(held, use, busy_day, at(use.window, passed), chance)
    assert use.booked == limit
    assert use.booked - use.booked_reconcile >= limit // 2


@given(upkeep_shares, lengths, limits, busy_days, shares)
def test_backfills_leave_upkeep_its_share(
    share: float, length: int, limit: int, busy_day: BusyDay | None, passed: float
) -> None:
    held = replace(rate_limits(limit), upkeep_share=share)
    use = WindowUse(window_at(NOON, length))
    now = at(use.window, passed)
    own = held.calls_left(Lane.RECONCILE, use, busy_day, now)
    while held.calls_left(Lane.BACKFILL, use, busy_day, now):
        use = _booked(use, Lane.BACKFILL)
    left = held.calls_left(Lane.RECONCILE, use, busy_day, now)
    assert own >= left >= math.floor((own - 1) * (1 - passed) - 1e-6)


def _booked(use: WindowUse, lane: Lane) -> WindowUse:
    is_live, is_upkeep = lane is Lane.LIVE, lane is Lane.RECONCILE
    return replace(
        use,
        booked=use.booked + 1,
        booked_live=use.booked_live + is_live,
        booked_reconcile=use.booked_reconcile + is_upkeep,
    )


def _all_take_what_they_may(
    held: RateLimits, use: WindowUse, busy_day: BusyDay | None, now: datetime, chance: random.Random
) -> WindowUse:
    """Book calls of upkeep and of backfills, in an order by chance, until neither may send one more."""
    hungry = [Lane.RECONCILE, Lane.BACKFILL]
    while hungry:
        lane = chance.choice(hungry)
        if held.calls_left(lane, use, busy_day, now):
            use = _booked(use, lane)
        else:
            hungry.remove(lane)
    return use


@given(
    st.sampled_from(list(Lane)),
    lengths,
    limits,
    busy_days,
    shares,
    st.integers(0, 2_000),
    st.floats(0.0, 0.5),
)
def test_a_refusal_holds_until_the_time_it_names_and_no_longer(
    lane: Lane,
    length: int,
    limit: int,
    busy_day: BusyDay | None,
    passed: float,
    booked: int,
    by_upkeep: float,
) -> None:
    use = WindowUse(window_at(NOON, length), booked=booked, booked_reconcile=int(by_upkeep * booked))
    held, now = rate_limits(limit), at(use.window, passed)

    def refused(moment: datetime) -> bool:
        return refusal([use], held, lane, busy_day, moment, MARGIN) is not None

    found = refusal([use], held, lane, busy_day, now, MARGIN)
    if found is None:
        assert held.calls_left(lane, use, busy_day, now) >= 1
    elif booked >= limit or found.until > use.window.ends_at:
        assert found.until == use.window.ends_at + MARGIN + TICK
        assert refused(use.window.ends_at - TICK)
    else:
        assert now < found.until
        assert not refused(found.until)
        assert refused(found.until - timedelta(milliseconds=2))


def test_a_refusal_of_upkeep_says_that_its_share_is_used() -> None:
    use = WindowUse(SHORT, booked=20, booked_live=2, booked_reconcile=18)
    found = refusal([use], CEILINGS, Lane.RECONCILE, None, SHORT.starts_at, MARGIN)
    assert found is not None
    assert found.why == "upkeep has used its share of the quarter hour"
    assert found.until == SHORT.starts_at + timedelta(minutes=2) + 2 * TICK


def test_the_last_window_to_open_decides() -> None:
    short, long = WindowUse(SHORT, booked=100), WindowUse(LONG, booked=1000)
    for uses in ([short, long], [long, short]):
        found = refusal(uses, CEILINGS, Lane.LIVE, None, NOON, MARGIN)
        assert found is not None
        assert (found.until, found.why) == (LONG.ends_at + MARGIN + TICK, "the day is used up")


def test_a_window_to_come_that_is_full_is_asked_again_when_it_begins() -> None:
    coming = WindowUse(Window(QUARTER, SHORT.ends_at), booked=100)
    found = refusal([WindowUse(SHORT), coming], CEILINGS, Lane.LIVE, None, SHORT.ends_at - MARGIN, MARGIN)
    assert found is not None
    assert found.until == SHORT.ends_at + MARGIN + TICK


def test_a_block_stands_over_every_lane_and_ends() -> None:
    until = NOON + timedelta(minutes=3)
    use = WindowUse(SHORT, blocked_until=until)
    for lane in Lane:
        found = refusal([use], CEILINGS, lane, None, NOON, MARGIN)
        assert found is not None
        assert (found.until, found.why) == (until, "the quarter hour is blocked by a 429")
        assert refusal([use], CEILINGS, lane, None, until, MARGIN) is None


@given(
    st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.none() | limits, st.none() | limits, st.booleans()
)
def test_room_is_what_the_narrower_bucket_has(
    booked: int, read_foreign: int, overall_foreign: int, read: int | None, overall: int | None, capped: bool
) -> None:
    use = WindowUse(SHORT, booked, read, read_foreign, overall, overall_foreign)
    held = RateLimits(100, 1000, QUARTER, DAY, short_capped=capped)
    room = held.room(use)
    limit = 100 if read is None else min(100, read) if capped else read
    assert room + booked + read_foreign <= limit
    if overall is None:
        assert room + booked + read_foreign == limit
    else:
        assert room + booked + overall_foreign <= overall
        assert room in (limit - read_foreign - booked, overall - overall_foreign - booked)


@pytest.mark.parametrize(
    ("scope", "athlete_id", "name"),
    [
        (QuotaScope.APP, 7, "app"),
        (QuotaScope.APP, None, "app"),
        (QuotaScope.ATHLETE, 7, "athlete:7"),
        (QuotaScope.ATHLETE, None, "app"),
    ],
)
def test_windows_are_kept_for_the_app_or_for_each_athlete(scope: QuotaScope, athlete_id: int | None, name: str) -> None:
    assert RateLimits(100, 1000, QUARTER, DAY, scope=scope).scope_of(athlete_id) == name
