"""Months of UTC: their spelling, the next and the one before, and spans of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.months import Span, add_months, enclosing_span, month_span, months_between, parse_month
from strava_pipeline.names import athlete_of_key, month_key, partition_key

DAYS = st.dates(date(1990, 1, 1), date(2090, 1, 1))


@given(DAYS, st.integers(-200, 200))
def test_months_added_are_months_taken_back(day: date, count: int) -> None:
    later = add_months(day, count)
    assert later.day == 1
    assert add_months(later, -count) == day.replace(day=1)
    assert (later.year - day.year) * 12 + later.month - day.month == count


@given(DAYS, st.integers(0, 60))
def test_months_between_are_each_first_day_once(first: date, count: int) -> None:
    months = list(months_between(first, add_months(first, count)))
    assert len(months) == len(set(months)) == count + 1
    assert months == sorted(months)


def test_no_month_lies_between_a_later_and_an_earlier_one() -> None:
    assert list(months_between(date(2024, 5, 1), date(2024, 4, 30))) == []


@given(DAYS)
def test_a_month_is_read_as_it_is_spelled(day: date) -> None:
    month = parse_month(f"{day:%Y-%m}")
    assert month == datetime(day.year, day.month, 1, tzinfo=UTC)
    assert month_span(7, month).months == f"{day:%Y-%m}"


@pytest.mark.parametrize(
    "text", ["", "2024", "2024-1", "2024-13", "2024-00", "24-01", "2024-01-01", "2024/01", "0000-01"]
)
def test_any_other_spelling_is_no_month(text: str) -> None:
    with pytest.raises(ValueError, match="is not a month"):
        parse_month(text)


def test_a_span_of_several_months_tells_the_first_and_the_last() -> None:
    spans = [month_span(7, datetime(2024, month, 1, tzinfo=UTC)) for month in (12, 1, 5)]
    assert enclosing_span(spans) == Span(7, datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    assert enclosing_span(spans).months == "2024-01 to 2024-12"
    assert Span(7, spans[0].start, spans[0].start + timedelta(hours=1)).months == "2024-12"


@given(st.integers(1, 2**63 - 1), DAYS)
def test_a_partition_key_tells_athlete_and_month(athlete_id: int, day: date) -> None:
    key = partition_key(athlete_id, day)
    assert athlete_of_key(key) == athlete_of_key(str(athlete_id)) == str(athlete_id)
    assert key == f"{athlete_id}|{month_key(day)}"
