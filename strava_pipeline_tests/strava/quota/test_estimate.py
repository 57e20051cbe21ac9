"""When a backfill may be done: by the windows to come, and by its own pace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.strava.quota.estimate import Allowance, estimated_end

NOON = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
QUARTER, DAY = 900, 86_400


def end(requests: int, short_left: int = 100, long_left: int = 1000, pace: float = 0.5) -> datetime:
    return estimated_end(NOON, requests, Allowance(short_left, 100, QUARTER), Allowance(long_left, 1000, DAY), pace)


def test_nothing_to_do_is_done_now() -> None:
    assert end(0) == NOON


def test_what_fits_into_the_window_takes_as_long_as_the_pace_says() -> None:
    assert end(40) == NOON + timedelta(seconds=20)


def test_what_does_not_fit_waits_for_the_next_quarter_hour() -> None:
    assert end(101) == datetime(2026, 3, 1, 12, 15, 0, 500_000, tzinfo=UTC)
    assert end(1, short_left=0) == datetime(2026, 3, 1, 12, 15, 0, 500_000, tzinfo=UTC)


def test_beyond_the_day_the_next_day_is_needed() -> None:
    assert end(1001).date() == datetime(2026, 3, 2, tzinfo=UTC).date()
    assert end(1, long_left=0) == datetime(2026, 3, 2, 0, 0, 0, 500_000, tzinfo=UTC)


def test_a_slow_pace_counts_more_than_the_windows() -> None:
    assert end(100, pace=60) == NOON + timedelta(minutes=100)


def test_ten_thousand_activities_take_nineteen_days() -> None:
    assert timedelta(days=18) < end(20_000) - NOON < timedelta(days=20)


@given(st.integers(0, 3000), st.integers(0, 100), st.integers(0, 1000), st.floats(0, 30))
def test_more_requests_never_end_earlier(requests: int, short: int, long: int, pace: float) -> None:
    assert NOON <= end(requests, short, long, pace) <= end(requests + 1, short, long, pace)
