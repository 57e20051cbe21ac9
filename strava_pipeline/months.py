"""Months and spans of time, in UTC: an athlete's history is counted and imported by months."""

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
    """Activities of one athlete that start in ``[start, end)`` (UTC)."""

    athlete_id: int
    start: datetime
    end: datetime

    @property
    def months(self) -> str:
        """First and last month as people read them: ``2024-01``, or ``2024-01 to 2024-12``."""
        first, last = f"{self.start:%Y-%m}", f"{self.end - timedelta(microseconds=1):%Y-%m}"
        return first if first == last else f"{first} to {last}"


def covering(spans: Iterable[Span]) -> Span:
    """Return the shortest span that holds all the given ones, which are of one athlete."""
    found = list(spans)
    return Span(found[0].athlete_id, min(span.start for span in found), max(span.end for span in found))


def month_span(athlete_id: int, month: datetime) -> Span:
    """Return the span of the month that starts at ``month``."""
    return Span(athlete_id, month, add_months(month, 1))


def parse_month(text: str) -> datetime:
    """Return the start of a month given as ``YYYY-MM``; ``ValueError`` for any other spelling."""
    if not _SPELLING.fullmatch(text):
        raise ValueError(f"{text!r} is no month in the form YYYY-MM")
    return datetime(int(text[:4]), int(text[5:]), 1, tzinfo=UTC)


def add_months(month: Day, count: int) -> Day:
    """Return the first day of the month ``count`` months after (before, if negative) the one of ``month``."""
    number = month.year * MONTHS_PER_YEAR + month.month - 1 + count
    return month.replace(year=number // MONTHS_PER_YEAR, month=number % MONTHS_PER_YEAR + 1, day=1)


def months_between(first: Day, last: Day) -> Iterator[Day]:
    """Yield the first day of each month from that of ``first`` to that of ``last``, both included."""
    month = add_months(first, 0)
    while month <= last:
        yield month
        month = add_months(month, 1)
