"""Reads a listing of activities that may change while it is read.

Page numbers count from the newest entry, so a deletion moves the entry behind a page's end into the page that
was read already, where nobody sees it. Here each page begins where the last one ended in time instead: with the
second of its last entry, again, since others may share that second. What comes twice is known by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import count
from typing import Any

from strava_pipeline.errors import RetriableStravaError

JsonObject = dict[str, Any]
# A page of the entries with after < start < before (epoch s), newest first, by its number from 1.
ReadPage = Callable[[int, int, int], list[JsonObject]]

PAGE_SIZE = 200
DAY_S = 86_400
# Readings of one crowded day until two agree.
READINGS = 10
# What Strava shows instead of a start that the athlete hides; it may sort by the true one, later that day.
HIDDEN_START = "T00:00:01Z"


def read_all(page: ReadPage, after: int, before: int) -> Iterator[JsonObject]:
    """Every entry with ``after < start < before`` (epoch s) that is there all the while, newest first, each once.

    One page for each 199 entries; ``RetriableStravaError`` for a listing that cannot be read to its end.
    """
    seen: set[Any] = set()
    end = before
    while end > after + 1:
        entries = page(after, end, 1)
        full = len(entries) >= PAGE_SIZE
        following = _end_of_following(entries) if full else after
        if following >= end:
            # So many at one moment that time leads no further: that day is read by page numbers.
            following = max(after, end - 1 - DAY_S) + 1
            entries = _read_unchanged(page, following - 1, end)
        for entry in entries:
            if entry.get("id") not in seen:
                seen.add(entry.get("id"))
                yield entry
        end = following


def _end_of_following(entries: Sequence[JsonObject]) -> int:
    """The ``before`` of the next page: behind the true start of the last entry whose start can be read."""
    latest = (_latest_start(entry) for entry in reversed(entries))
    start = next((moment for moment in latest if moment is not None), None)
    if start is None:
        raise RetriableStravaError("list of activities: no entry of a page tells when it starts", status=HTTPStatus.OK)
    return start + 1


def _latest_start(entry: JsonObject) -> int | None:
    """When an activity starts at the latest, epoch s."""
    try:
        shown = int(datetime.fromisoformat(entry["start_date"]).astimezone(UTC).timestamp())
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    hidden = str(entry.get("start_date_local", "")).endswith(HIDDEN_START)
    return shown + DAY_S if hidden else shown


def _read_unchanged(page: ReadPage, after: int, before: int) -> list[JsonObject]:
    """All of a span by page numbers, read until nothing has moved between two readings."""
    earlier: list[Any] | None = None
    for _ in range(READINGS):
        entries = list(_numbered(page, after, before))
        ids = [entry.get("id") for entry in entries]
        if ids == earlier and len(set(ids)) == len(ids):
            return entries
        earlier = ids
    raise RetriableStravaError("list of activities: it changes faster than it can be read", status=HTTPStatus.OK)


def _numbered(page: ReadPage, after: int, before: int) -> Iterator[JsonObject]:
    for number in count(1):
        entries = page(after, before, number)
        yield from entries
        if len(entries) < PAGE_SIZE:
            return
