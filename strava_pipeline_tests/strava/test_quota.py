from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from strava_pipeline.strava.quota import (
    MARGIN,
    UNNAMED_BLOCK,
    Outcome,
    Pair,
    RateHeaders,
    Window,
    blocked_until,
    counted_window,
    window_at,
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
BEFORE, AFTER = window_at(EDGE - MARGIN, QUARTER), window_at(EDGE, QUARTER)


@pytest.mark.parametrize(
    ("offset_s", "counted"),
    [(-30, BEFORE), (-3, BEFORE), (-2, None), (-1, None), (0, None), (1, None), (2, AFTER), (3, AFTER), (30, AFTER)],
)
def test_the_answers_date_settles_a_straddle_unless_it_is_too_close(offset_s: int, counted: Window | None) -> None:
    assert counted_window((BEFORE, AFTER), QUARTER, EDGE + timedelta(seconds=offset_s)) == counted


def test_a_straddle_without_a_date_or_with_one_from_elsewhere_stays_open() -> None:
    assert counted_window((BEFORE, AFTER), QUARTER, None) is None
    assert counted_window((BEFORE, AFTER), QUARTER, EDGE + timedelta(hours=5)) is None


def test_a_call_in_one_window_needs_no_date() -> None:
    day = window_at(EDGE, DAY)
    assert counted_window((BEFORE, AFTER, day), DAY, None) == day
    assert counted_window((BEFORE,), QUARTER, EDGE + timedelta(hours=5)) == BEFORE
    assert counted_window((), QUARTER, EDGE) is None


@given(moments, st.timedeltas(timedelta(0), timedelta(seconds=34)), st.floats(0, 1), st.floats(-1.5, 1.5), lengths)
def test_the_window_a_call_is_settled_in_is_the_one_it_counts_in(
    earliest: datetime, span: timedelta, share: float, skew_s: float, length: int
) -> None:
    truly = earliest + share * span
    # The two clocks differ, and Date has lost its fraction.
    told = (truly + timedelta(seconds=skew_s / 3)).replace(microsecond=0)
    booked = tuple(windows_touched(earliest - MARGIN, earliest + span + MARGIN, length))
    settled = counted_window(booked, length, told)
    assert settled is None or settled == window_at(truly, length)


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
DAY_USED_UP = RateHeaders(read_limit=Pair(100, 1000), read_usage=Pair(50, 1000))


@pytest.mark.parametrize(
    ("outcome", "until"),
    [
        (Outcome(429, 1.0), NOW + UNNAMED_BLOCK),
        (Outcome(429, 1.0, names_a_window=True), SHORT.ends_at + MARGIN),
        (Outcome(429, 1.0, names_a_window=True, rates=DAY_USED_UP), LONG.ends_at + MARGIN),
        (Outcome(429, 1.0, rates=DAY_USED_UP), LONG.ends_at + MARGIN),
        (
            Outcome(429, 1.0, names_a_window=True, rates=DAY_USED_UP, retry_after=timedelta(seconds=5)),
            NOW + timedelta(seconds=5),
        ),
    ],
)
def test_a_429_blocks_as_long_as_the_answer_says(outcome: Outcome, until: datetime) -> None:
    assert blocked_until(outcome, NOW, SHORT, LONG) == until


@given(st.integers(1, 2_000), st.integers(0, 3_000))
def test_the_day_is_used_up_when_its_count_reaches_its_limit(limit: int, used: int) -> None:
    overall = RateHeaders(overall_limit=Pair(1, limit), overall_usage=Pair(0, used))
    read = RateHeaders(read_limit=Pair(1, limit), read_usage=Pair(0, used))
    assert overall.day_is_used_up == read.day_is_used_up == (used >= limit)


def test_a_count_without_its_limit_uses_up_nothing() -> None:
    assert not RateHeaders(read_usage=Pair(9, 9_999), overall_limit=Pair(1, 1)).day_is_used_up
