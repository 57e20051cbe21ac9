from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.strava.quota.clock import CONFIRMED_EVERY, SLACK, TRUSTED_FOR, UNKNOWN_MARGIN, StravaClock

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
offsets = st.floats(-1.5, 1.5) | st.sampled_from([-5.0, 5.0, -3600.0, 3600.0])
# How long a call takes until its Date is written, and from then on until it is settled, s.
legs = st.tuples(st.floats(0.0, 15.0), st.floats(0.0, 15.0))


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def heard(
    clock: StravaClock,
    sent: datetime,
    offset_s: float,
    to: float = 0.2,
    back: float = 0.2,
    *,
    refused: bool = False,
) -> StravaClock:
    """What the clock is after an answer of a Strava whose clock is off by ``offset_s``."""
    told = (sent + seconds(to + offset_s)).replace(microsecond=0)
    return clock.heard(sent, sent + seconds(to + back), told, refused=refused)


@given(offsets, st.lists(legs, min_size=1, max_size=20), st.timedeltas(timedelta(0), timedelta(minutes=30)))
def test_the_true_offset_is_always_within_what_is_known(
    offset_s: float, calls: list[tuple[float, float]], apart: timedelta
) -> None:
    clock, sent = StravaClock(), NOON
    for to, back in calls:
        clock = heard(clock, sent, offset_s, to, back)
        received = sent + seconds(to + back)
        assert not clock.is_in_doubt
        assert abs(clock.now(received) - (received + seconds(offset_s))) <= clock.margin(received) - SLACK
        sent += apart


@given(st.floats(-1.5, 1.5), st.lists(st.floats(0.0, 0.999), min_size=40, max_size=40))
def test_many_answers_narrow_it_far_below_the_second_that_a_date_has(offset_s: float, phases: list[float]) -> None:
    clock = StravaClock()
    for number, phase in enumerate([*phases, 0.0, 0.25, 0.5, 0.75]):
        clock = heard(clock, NOON + seconds(number + phase), offset_s, 0.05, 0.05)
    assert clock.error_s <= 0.5


def test_while_nothing_is_known_two_seconds_either_way_are_allowed_for() -> None:
    assert StravaClock().now(NOON) == NOON
    assert StravaClock().margin(NOON) == UNKNOWN_MARGIN
    assert not StravaClock().is_trusted(NOON)


def test_trust_ends_after_a_while_and_the_margin_grows_with_age() -> None:
    clock = heard(StravaClock(), NOON, 0.0)
    assert clock.checked_at is not None
    assert clock.is_trusted(clock.checked_at + TRUSTED_FOR)
    assert not clock.is_trusted(clock.checked_at + TRUSTED_FOR + seconds(1))
    assert clock.margin(NOON + timedelta(hours=1)) > clock.margin(NOON + timedelta(minutes=1))


@pytest.mark.parametrize("odd_s", [-3600.0, 3600.0, 30.0, -86_400.0])
def test_one_odd_answer_raises_doubt_and_changes_no_offset(odd_s: float) -> None:
    clock = heard(StravaClock(), NOON, 0.3)
    doubted = heard(clock, NOON + seconds(1), odd_s)
    assert doubted.is_in_doubt
    assert doubted.offset_s == clock.offset_s
    assert not doubted.is_trusted(NOON + seconds(2))
    again = heard(doubted, NOON + seconds(2), 0.3)
    assert again.is_trusted(NOON + seconds(3))
    assert again.offset_s == pytest.approx(0.3, abs=1.0)


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0, 30.0])
def test_a_second_answer_of_the_new_time_is_believed(step_s: float) -> None:
    clock = heard(StravaClock(), NOON, 0.0)
    clock = heard(clock, NOON + seconds(1), step_s)
    clock = heard(clock, NOON + seconds(2), step_s)
    assert clock.is_trusted(NOON + seconds(3))
    assert clock.offset_s == pytest.approx(step_s, abs=1.0)


def test_a_429_is_believed_at_once() -> None:
    clock = heard(heard(StravaClock(), NOON, 0.0), NOON + seconds(1), 3600.0, refused=True)
    assert clock.offset_s == pytest.approx(3600.0, abs=1.0)


def test_our_clock_going_back_during_a_call_raises_doubt() -> None:
    clock = heard(StravaClock(), NOON, 0.0)
    assert clock.heard(NOON, NOON - timedelta(hours=1), NOON, refused=False).is_in_doubt


@given(offsets, st.floats(1.0, 86_400.0), st.floats(0.0, 60.0))
def test_a_clock_that_was_set_back_does_not_take_strava_back(offset_s: float, back_s: float, later_s: float) -> None:
    clock = heard(StravaClock(), NOON, offset_s)
    last_known = clock.now(NOON)
    moment = NOON - seconds(back_s)
    assert clock.since_set_back(moment).now(moment) >= last_known
    # Within what passed between two confirmations, it is still right, and one answer makes it precise.
    true_offset_s = offset_s + back_s + later_s
    moment = NOON + seconds(later_s) - seconds(true_offset_s - offset_s)
    again = heard(clock.since_set_back(moment), moment, true_offset_s)
    assert again.is_trusted(moment)
    assert again.offset_s == pytest.approx(true_offset_s, abs=1.5)


def test_small_corrections_backwards_change_nothing() -> None:
    clock = heard(StravaClock(), NOON, 0.0)
    assert clock.since_set_back(NOON + seconds(0.2)) == clock
    assert StravaClock().since_set_back(NOON) == StravaClock()
    assert StravaClock(checked_at=NOON).since_set_back(NOON - timedelta(hours=1)) == StravaClock()


def test_answers_without_a_date_end_the_asking() -> None:
    silent = StravaClock().heard(NOON, NOON + seconds(1), None, refused=False)
    assert silent.is_trusted(NOON + seconds(2))
    assert silent.margin(NOON) == UNKNOWN_MARGIN
    known = heard(StravaClock(), NOON, 1.0)
    assert known.heard(NOON + seconds(1), NOON + seconds(2), None, refused=False) == known


def test_most_answers_are_no_news() -> None:
    stored = StravaClock()
    written = 0
    for number in range(600):
        sent = NOON + seconds(number * 0.73)
        clock = heard(stored, sent, 0.4)
        if clock.is_news_to(stored, sent + seconds(0.4)):
            stored, written = clock, written + 1
    assert 600 * 0.73 // CONFIRMED_EVERY.total_seconds() <= written <= 15


def test_doubt_and_its_end_are_news() -> None:
    clock = heard(StravaClock(), NOON, 0.0)
    doubted = heard(clock, NOON + seconds(1), 3600.0)
    assert doubted.is_news_to(clock, NOON + seconds(1))
    assert heard(doubted, NOON + seconds(2), 0.0).is_news_to(doubted, NOON + seconds(2))
