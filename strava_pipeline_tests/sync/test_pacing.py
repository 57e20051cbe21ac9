from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.sync.pacing import SLICE_SECONDS, Pace


@dataclass
class Clock:
    """Time that passes only when somebody sleeps or works."""

    now: float = 1_000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pace(clock: Clock, size: int, interval_s: float) -> Pace:
    return Pace(size, interval_s, sleep=clock.sleep, clock=clock)


def work(pace: Pace, clock: Clock, activities: int, seconds_each: float) -> list[float]:
    """When each activity was begun."""
    begun = []
    for _ in range(activities):
        pace.wait()
        begun.append(clock.now)
        clock.now += seconds_each
    return begun


def test_the_first_batch_starts_at_once(clock: Clock) -> None:
    assert work(pace(clock, 75, 150), clock, 75, 0.5)[0] == 1_000
    assert clock.slept == []


def test_the_next_batch_starts_an_interval_after_the_first_one_did(clock: Clock) -> None:
    begun = work(pace(clock, 75, 150), clock, 226, 0.5)
    assert [begun[0], begun[75], begun[150], begun[225]] == [1_000, 1_150, 1_300, 1_450]
    assert sum(clock.slept) == (150 - 37.5) * 3
    assert max(clock.slept) <= SLICE_SECONDS


def test_a_pause_ends_when_nothing_is_wanted_any_more(clock: Clock) -> None:
    steady = pace(clock, 1, 150)
    steady.wait()

    def is_still_wanted() -> None:
        if clock.now > 1_030:
            raise LookupError

    with pytest.raises(LookupError):
        steady.wait(is_still_wanted)
    assert 1_030 < clock.now <= 1_030 + SLICE_SECONDS


def test_a_batch_that_took_long_is_followed_at_once(clock: Clock) -> None:
    begun = work(pace(clock, 50, 150), clock, 151, 9)
    assert clock.slept == []
    assert begun[150] == 1_000 + 150 * 9


def test_time_lost_in_one_batch_is_not_caught_up_in_the_next(clock: Clock) -> None:
    steady = pace(clock, 2, 100)
    work(steady, clock, 2, 200)
    begun = work(steady, clock, 3, 1)
    assert begun == [1_400, 1_401, 1_500]


def test_without_an_interval_there_is_no_pause(clock: Clock) -> None:
    work(pace(clock, 50, 0), clock, 500, 0)
    assert clock.slept == []


@given(st.integers(1, 20), st.floats(0, 300), st.lists(st.floats(0, 60), max_size=80))
def test_no_interval_ever_holds_more_than_a_batch(size: int, interval_s: float, durations: list[float]) -> None:
    clock = Clock()
    steady = pace(clock, size, interval_s)
    begun = [moment for seconds in durations for moment in work(steady, clock, 1, seconds)]
    firsts = begun[::size]
    assert all(later - earlier >= interval_s - 1e-6 for earlier, later in pairwise(firsts))
    assert all(0 < rest <= SLICE_SECONDS for rest in clock.slept)
