"""Months and spans of time in UTC. An athlete's history is imported month by month."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

MONTHS_PER_YEAR = 12
_SPELLING = re.compile("(?!0000)[0-9]{4}-(?:0[1-9]|1[0-2])")
Day = TypeVar("Day", date, datetime)


@dataclass(frozen=True)
class Span:
    """The time ``[start, end)`` (UTC) of one athlete: all activities that start in it."""

    athlete_id: int
    start: datetime
    end: datetime

    @property
    def months(self) -> str:
        """First and last month as text: ``2024-01``, or ``2024-01 to 2024-12``."""
        first, last = month_text(self.start), month_text(self.end - timedelta(microseconds=1))
        return first if first == last else f"{first} to {last}"


def enclosing_span(spans: Iterable[Span]) -> Span:
    """Return the shortest span that contains all ``spans``, which belong to one athlete; at least one is needed."""
    found = list(spans)
    return Span(found[0].athlete_id, min(span.start for span in found), max(span.end for span in found))


def month_span(athlete_id: int, month: datetime) -> Span:
    """Return the span of the month that starts at ``month``."""
    return Span(athlete_id, month, add_months(month, 1))


def month_start(day: date) -> datetime:
    """Return the start (UTC) of the month of a day."""
    return datetime(day.year, day.month, 1, tzinfo=UTC)


def months_of(span: Span) -> list[Span]:
    """Return the months in which a span lies at least in part, oldest first."""
    if span.start >= span.end:
        return []
    last = span.end - timedelta(microseconds=1)
    return [month_span(span.athlete_id, month) for month in months_between(month_start(span.start), last)]


def month_text(moment: date) -> str:
    """Return the month of a moment as ``YYYY-MM``."""
    return f"{moment:%Y-%m}"


def parse_month(text: str) -> datetime:
    """Return the start of a month given as ``YYYY-MM``; ``ValueError`` for any other spelling."""
    if not _SPELLING.fullmatch(text):
        raise ValueError(f"{text!r} is not a month: give it as YYYY-MM")
    return datetime(int(text[:4]), int(text[5:]), 1, tzinfo=UTC)


def add_months(month: Day, count: int) -> Day:
    """Return the first day of the month that is ``count`` months after ``month`` (before it, if negative)."""
    number = month.year * MONTHS_PER_YEAR + month.month - 1 + count
    return month.replace(year=number // MONTHS_PER_YEAR, month=number % MONTHS_PER_YEAR + 1, day=1)


def months_between(first: Day, last: Day) -> Iterator[Day]:
    """Yield the first day of each month from the month of ``first`` to the month of ``last``, both included."""
    month = add_months(first, 0)
    while month <= last:
        yield month
        month = add_months(month, 1)
