"""Which reason a run is said to wait for, and which waits its log tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from strava_pipeline.defs.assets.recent_waits import RecentWaits, WaitLog
from strava_pipeline.strava.monitor import Wait


def a_wait(pause_s: float, why: str = "the day is used up") -> Wait:
    return Wait(why, datetime.now(UTC) + timedelta(seconds=pause_s), pause_s)


def test_the_reason_stays_between_requests_that_come_one_by_one() -> None:
    recent, moment = RecentWaits(), 1000.0
    for _ in range(6):
        wait = a_wait(8.0)
        assert recent.reason(wait, moment) == wait
        moment += 9.0
    assert recent.reason(None, moment) == Wait("the day is used up", None)


def test_the_reason_goes_once_work_takes_the_time() -> None:
    recent = RecentWaits()
    recent.reason(a_wait(300.0), 1000.0)
    assert recent.reason(None, 1310.0) == Wait("the day is used up", None)
    assert recent.reason(None, 1320.0) is None


def test_a_run_that_mostly_works_waits_for_nothing_between_its_waits() -> None:
    recent, moment = RecentWaits(), 1000.0
    for _ in range(20):
        recent.reason(a_wait(1.0), moment)
        moment += 5.0
        assert recent.reason(None, moment) is None


def test_a_pause_counts_only_as_far_as_it_has_passed() -> None:
    recent = RecentWaits()
    recent.reason(a_wait(20.0), 1000.0)
    assert recent.reason(None, 1002.0) is None


def test_the_log_tells_a_long_wait_once_and_again_after_ten_minutes() -> None:
    log = WaitLog()
    wait = Wait("the day is used up", datetime(2999, 1, 1, tzinfo=UTC), 20.0)
    told = "waiting until 2999-01-01 00:00:00 UTC: the day is used up"
    assert [log.line(wait, moment) for moment in (0.0, 20.0, 580.0, 600.0)] == [told, None, None, told]


def test_the_log_tells_another_reason_at_once_and_one_without_a_known_end() -> None:
    log = WaitLog()
    assert log.line(a_wait(100.0), 0.0) is not None
    assert log.line(Wait("another run is at it", None, 5.0), 5.0) == "waiting: another run is at it"


def test_the_log_is_silent_about_short_waits() -> None:
    log = WaitLog()
    assert [log.line(a_wait(12.0), 20.0 * number) for number in range(50)] == [None] * 50
