from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from strava_pipeline.strava.quota.clock import SLACK, UNKNOWN_MARGIN, StravaClock
from strava_pipeline.strava.quota.windows import (
    UNNAMED_BLOCK,
    CallOutcome,
    Count,
    Lane,
    Pair,
    RateHeaders,
    Reservation,
    Window,
    window_at,
    window_to_block,
    windows_counted,
    windows_to_book,
    windows_touched,
)

QUARTER, DAY = 900, 86_400
moments = st.datetimes(datetime(2001, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  hypothesis adds the zone
lengths = st.sampled_from([5, 60, QUARTER, DAY])


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "length", "start", "end"),
    [
        ("2026-11-03T10:20:30", QUARTER, "2026-11-03T10:15:00", "2026-11-03T10:30:00"),
        ("2026-11-03T10:15:00", QUARTER, "2026-11-03T10:15:00", "2026-11-03T10:30:00"),
        ("2026-11-03T10:29:59.999999", QUARTER, "2026-11-03T10:15:00", "2026-11-03T10:30:00"),
        ("2026-12-31T23:59:59", DAY, "2026-12-31T00:00:00", "2027-01-01T00:00:00"),
        ("2028-02-29T12:00:00", DAY, "2028-02-29T00:00:00", "2028-03-01T00:00:00"),
    ],
)
def test_windows_begin_at_quarter_hours_and_at_midnight_utc(moment: str, length: int, start: str, end: str) -> None:
    window = window_at(at(moment), length)
    assert (window.starts_at, window.ends_at) == (at(start), at(end))


@given(moments, lengths)
def test_a_window_holds_its_moment(moment: datetime, length: int) -> None:
    window = window_at(moment, length)
    assert window.starts_at <= moment < window.ends_at
    assert int(window.starts_at.timestamp()) % length == 0


@given(moments, st.integers(-12 * 4, 12 * 4), lengths)
def test_the_time_zone_of_a_moment_does_not_matter(moment: datetime, quarters: int, length: int) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(minutes=15 * quarters)))
    assert window_at(elsewhere, length) == window_at(moment, length)


@given(moments, st.timedeltas(timedelta(0), timedelta(minutes=10)), lengths)
def test_a_call_is_booked_in_every_window_it_may_count_in(earliest: datetime, span: timedelta, length: int) -> None:
    windows = windows_touched(earliest, earliest + span, length)
    assert windows[0] == window_at(earliest, length)
    assert windows[-1] == window_at(earliest + span, length)
    assert all(left.ends_at == right.starts_at for left, right in pairwise(windows))


def test_a_call_that_may_end_at_the_very_edge_counts_on_both_sides() -> None:
    edge = at("2026-11-03T10:30:00")
    assert len(windows_touched(edge - timedelta(seconds=30), edge, QUARTER)) == 2
    assert len(windows_touched(edge - timedelta(seconds=30), edge - timedelta(microseconds=1), QUARTER)) == 1


EDGE = at("2026-11-03T10:30:00")
BEFORE, AFTER = window_at(EDGE - timedelta(seconds=1), QUARTER), window_at(EDGE, QUARTER)
# Known to a quarter of a second: the margin is 0.75 s.
CLOCK = StravaClock(0.0, 0.25, EDGE)


def settled(sent_s: float, received_s: float, date_s: float | None, clock: StravaClock = CLOCK) -> Count:
    """Where a call around the edge counted; all times in seconds from the edge."""
    reservation = Reservation(1, Lane.BACKFILL, EDGE + timedelta(seconds=sent_s), (BEFORE, AFTER))
    told = None if date_s is None else EDGE + timedelta(seconds=date_s)
    return windows_counted(reservation, QUARTER, EDGE + timedelta(seconds=received_s), told, clock)


@pytest.mark.parametrize(
    ("sent_s", "received_s", "date_s", "kept"),
    [
        (-20, -10, -11, (BEFORE,)),
        (-20, 10, -3, (BEFORE,)),
        (-20, 10, -2, (BEFORE,)),
        (-20, 10, -1, (BEFORE, AFTER)),
        (-20, 10, 0, (BEFORE, AFTER)),
        # Our own clock knows better than a Date of whole seconds.
        (-2, -0.8, -1, (BEFORE,)),
        (-2, -0.7, -1, (BEFORE, AFTER)),
        (-0.7, 0.3, 0, (BEFORE, AFTER)),
        # The first window needs no lower bound, the last one no upper one.
        (0.8, 1.5, 1, (AFTER,)),
        (20, 899.9, 899, (AFTER,)),
        (-20, 10, None, (BEFORE, AFTER)),
        (-20, -10, None, (BEFORE,)),
        (3, 4, None, (AFTER,)),
    ],
)
def test_an_answer_settles_where_its_call_counted(
    sent_s: float, received_s: float, date_s: float | None, kept: tuple[Window, ...]
) -> None:
    counted = settled(sent_s, received_s, date_s)
    assert counted.kept == kept
    assert set(counted.freed) == {BEFORE, AFTER} - set(kept)


def test_headers_are_taken_for_a_window_only_where_both_bounds_name_it() -> None:
    assert settled(-20, -10, -11).told == BEFORE
    assert settled(0.8, 1.5, 1).told == AFTER
    assert settled(-20, 10, 0).told is None


def test_a_call_that_took_too_long_is_booked_where_it_may_have_counted_late() -> None:
    reservation = Reservation(1, Lane.BACKFILL, EDGE - timedelta(seconds=60), (BEFORE,))
    received = EDGE + timedelta(seconds=100)
    counted = windows_counted(reservation, QUARTER, received, EDGE + timedelta(seconds=99), CLOCK)
    assert counted == Count((BEFORE,), added=(AFTER,))


def test_an_answer_that_contradicts_the_clock_frees_nothing_and_is_booked_where_it_points() -> None:
    doubt = StravaClock(0.0, 0.25, None)
    counted = settled(-20, -10, 3600, doubt)
    assert (counted.kept, counted.freed, counted.told) == ((BEFORE, AFTER), (), None)
    assert counted.added == windows_touched(
        EDGE + timedelta(seconds=3600) - SLACK, EDGE + timedelta(seconds=3601) + SLACK, QUARTER
    )


def test_a_clock_learned_from_the_very_answer_books_it_in_the_right_window() -> None:
    reservation = Reservation(1, Lane.BACKFILL, EDGE - timedelta(seconds=100), (BEFORE,))
    learned = StravaClock(3600.0, 0.5, EDGE)
    told = EDGE + timedelta(seconds=3600 - 99)
    counted = windows_counted(reservation, QUARTER, EDGE - timedelta(seconds=98), told, learned)
    right = window_at(told, QUARTER)
    assert (counted.freed, counted.added, counted.told) == ((), (right,), right)


def test_usage_that_a_window_cannot_have_settles_a_call_at_the_very_edge() -> None:
    unsure = Count((BEFORE, AFTER))
    assert unsure.narrowed(93, {BEFORE: 97, AFTER: 12}) == Count((BEFORE,), freed=(AFTER,))
    assert unsure.narrowed(12, {BEFORE: 97, AFTER: 12}) == unsure
    assert unsure.narrowed(None, {BEFORE: 97, AFTER: 12}) == unsure
    # Others are at work: nothing is certain.
    assert unsure.narrowed(150, {BEFORE: 97, AFTER: 12}) == unsure


@given(
    moments,
    st.floats(-1.5, 1.5),
    st.floats(0.25, 2.0),
    st.timedeltas(timedelta(0), timedelta(seconds=30)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    lengths,
    st.booleans(),
)
def test_the_window_a_call_counts_in_is_booked_and_never_freed(
    sent: datetime,
    offset_s: float,
    error_s: float,
    took: timedelta,
    legs: tuple[float, float],
    length: int,
    dated: bool,
) -> None:
    counted_after, written_after = sorted(legs)
    # What is known of the offset is wrong by as much as it may be.
    clock = StravaClock(offset_s - error_s, error_s, sent)
    strava = sent + timedelta(seconds=offset_s)
    counted_in = window_at(strava + counted_after * took, length)
    booked = windows_to_book(clock, sent, timedelta(seconds=30), length)
    assert counted_in in booked
    told = (strava + written_after * took).replace(microsecond=0) if dated else None
    counted = windows_counted(Reservation(1, Lane.BACKFILL, sent, booked), length, sent + took, told, clock)
    assert counted_in in counted.kept
    assert set(counted.kept) | set(counted.freed) == set(booked)
    assert counted.told in (None, counted_in)


@given(st.sampled_from(["X-RateLimit-Limit", "x-ratelimit-limit", "X-RATELIMIT-LIMIT"]), st.booleans())
def test_headers_count_in_any_letter_case(name: str, plain: bool) -> None:
    headers = {name: "200,2000"} if plain else CaseInsensitiveDict({name: "200,2000"})
    assert RateHeaders.parse(headers) == RateHeaders(overall_limit=Pair(200, 2000))


def test_each_header_has_its_own_place() -> None:
    headers = {
        "X-RateLimit-Limit": "200, 2000",
        "X-RateLimit-Usage": " 1 ,10",
        "X-ReadRateLimit-Limit": "100,1000",
        "X-ReadRateLimit-Usage": "0,0",
    }
    assert RateHeaders.parse(headers) == RateHeaders(
        read_limit=Pair(100, 1000),
        read_usage=Pair(0, 0),
        overall_limit=Pair(200, 2000),
        overall_usage=Pair(1, 10),
    )
    assert RateHeaders.parse({}) == RateHeaders()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "200",
        "200,",
        ",2000",
        "200,2000,3",
        "-1,2000",
        "+1,2",
        "1.5,2",
        "1e3,2",
        "a,b",
        "1_0,2",
        "\u0661,\u0662",
        "9" * 10 + ",1",
        "1;2",
    ],
)
def test_garbled_headers_say_nothing(text: str) -> None:
    assert RateHeaders.parse({"X-ReadRateLimit-Limit": text, "X-ReadRateLimit-Usage": text}) == RateHeaders()


@pytest.mark.parametrize("text", ["0,0", "0,1000", "100,0"])
def test_a_limit_of_nothing_is_garbled(text: str) -> None:
    rates = RateHeaders.parse({"X-ReadRateLimit-Limit": text, "X-RateLimit-Limit": text})
    assert rates == RateHeaders()


@given(st.dictionaries(st.sampled_from(["X-RateLimit-Limit", "x-readratelimit-usage", "Other"]), st.text()))
def test_no_header_is_an_error(headers: dict[str, str]) -> None:
    assert isinstance(RateHeaders.parse(headers), RateHeaders)


NOW = at("2026-11-03T10:20:30")
SHORT, LONG = window_at(NOW, QUARTER), window_at(NOW, DAY)
ALL_USED_UP = RateHeaders(overall_limit=Pair(200, 2000), overall_usage=Pair(50, 2001))
DAY_USED_UP = RateHeaders(read_limit=Pair(100, 1000), read_usage=Pair(50, 1000))


@pytest.mark.parametrize(
    ("outcome", "window", "until"),
    [
        (CallOutcome(429, 1.0), SHORT, NOW + UNNAMED_BLOCK),
        (CallOutcome(429, 1.0, names_a_window=True), SHORT, SHORT.ends_at + UNKNOWN_MARGIN),
        (CallOutcome(429, 1.0, names_a_window=True, rates=DAY_USED_UP), LONG, LONG.ends_at + UNKNOWN_MARGIN),
        (CallOutcome(429, 1.0, names_a_window=True, rates=ALL_USED_UP), LONG, LONG.ends_at + UNKNOWN_MARGIN),
        (CallOutcome(429, 1.0, rates=DAY_USED_UP), LONG, LONG.ends_at + UNKNOWN_MARGIN),
        (
            CallOutcome(429, 1.0, names_a_window=True, rates=DAY_USED_UP, retry_after=timedelta(seconds=5)),
            LONG,
            NOW + timedelta(seconds=5),
        ),
    ],
)
def test_a_429_blocks_as_long_as_the_answer_says(outcome: CallOutcome, window: Window, until: datetime) -> None:
    assert window_to_block(outcome, NOW, SHORT, LONG, UNKNOWN_MARGIN) == (window, until)


@given(st.integers(1, 2_000), st.integers(0, 3_000))
def test_the_day_is_used_up_when_its_count_reaches_its_limit(limit: int, used: int) -> None:
    overall = RateHeaders(overall_limit=Pair(1, limit), overall_usage=Pair(0, used))
    read = RateHeaders(read_limit=Pair(1, limit), read_usage=Pair(0, used))
    assert overall.day_is_used_up == read.day_is_used_up == (used >= limit)


def test_a_count_without_its_limit_uses_up_nothing() -> None:
    assert not RateHeaders(read_usage=Pair(9, 9_999), overall_limit=Pair(1, 1)).day_is_used_up
