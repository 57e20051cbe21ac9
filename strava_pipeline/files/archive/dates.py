"""Reads the dates of activities.csv: CLDR's medium date and time in the language of the athlete's account, in UTC.

The rule, which needs no language: four digits are the year; a word names the month, or else numbers stand as
year-month-day when the year comes first and as day-month-year otherwise. Patterns: https://cldr.unicode.org/.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from strava_pipeline.files.archive.day_halves import hour_of_day
from strava_pipeline.files.archive.month_words import MONTH_OF, words

_LONGEST: Final = 100
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d.*", re.ASCII)
# Colons first: where a time has some, dots belong to the date. Canadian French and East Asia write words instead.
_TIMES: Final = tuple(
    re.compile(rf"(?<!\d)(\d{{1,2}}){hours}(\d{{1,2}}){minutes}(\d{{1,2}})(?!\d)")
    for hours, minutes in ((":", ":"), (r"\.", r"\."), (r"\s*[hH時时시點点]\s*", r"\s*(?:min|分|분)\s*"))
)
_NUMBER: Final = re.compile(r"\d+")
_YEAR_DIGITS: Final = 4
_NUMBERS_WITH_WORD: Final = 2
_NUMBERS: Final = 3
# Years of the Thai calendar are 543 ahead.
_BUDDHIST_FROM: Final = 2400
_BUDDHIST: Final = 543


@lru_cache(maxsize=1024)
def parse_date(text: str) -> datetime | None:
    """Return a date of activities.csv in UTC; ``None`` if it has no day, no time to the second, or names two months.

    A date without seconds was written by a spreadsheet, in an order that nobody knows, unless its year comes first.
    """
    plain = _plain(text[:_LONGEST])
    if _ISO.fullmatch(plain):
        return _iso(plain)
    time = next((found for pattern in _TIMES if (found := pattern.search(plain))), None)
    if time is None:
        return None
    before, after = plain[: time.start()], plain[time.end() :]
    day = _day(f"{before} {after}")
    hour = hour_of_day(int(time[1]), before, after)
    if day is None or hour is None:
        return None
    try:
        return datetime(*day, hour, int(time[2]), int(time[3]), tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _plain(text: str) -> str:
    """Text with ordinary blanks and digits, without marks of direction."""
    found = []
    for char in unicodedata.normalize("NFKC", text):
        if char.isdecimal():
            found.append(str(unicodedata.decimal(char)))
        elif char.isspace():
            found.append(" ")
        elif unicodedata.category(char) != "Cf":
            found.append(char)
    return "".join(found).strip()


def _iso(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text.removesuffix("UTC").rstrip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _day(text: str) -> tuple[int, int, int] | None:
    """Year, month and day."""
    numbers = _NUMBER.findall(text)
    months = {month for word in words(text) if (month := MONTH_OF.get(word))}
    if len(months) > 1 or len(numbers) != (_NUMBERS_WITH_WORD if months else _NUMBERS):
        return None
    year_first = len(numbers[0]) == _YEAR_DIGITS
    if not year_first:
        numbers.reverse()
    if len(numbers[0]) != _YEAR_DIGITS:
        return None
    year, *rest = map(int, numbers)
    month, day = (months.pop(), *rest) if months else rest
    return year - _BUDDHIST if year >= _BUDDHIST_FROM else year, month, day
