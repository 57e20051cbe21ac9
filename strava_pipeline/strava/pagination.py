"""Reads a listing of activities that may change while it is read.

Page numbers count from the newest entry. After a deletion, the first entry of the next page moves to the page that was
read already, and would be missed. So pages are read by time instead: each begins with the second in which the last
entry of the page before starts, since other entries may share that second. Entries that come twice are recognized by
their id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import Any

from strava_pipeline.errors import RetriableStravaError

JsonObject = dict[str, Any]
# Reads one page of the entries with after < start < before (epoch s), newest first; pages are numbered from 1.
ReadPage = Callable[[int, int, int], list[JsonObject]]
# Returns the page of entries with start < before (epoch s), by asking for it if it is not known.
Pages = Callable[[int, Callable[[], list[JsonObject]]], list[JsonObject]]

PAGE_SIZE = 200
DAY_S = 86_400
# One crowded day is read this often at most, until two readings in a row agree.
READINGS = 10
# The end of a local start whose time of day the athlete hides; Strava may sort by the true start, later that day.
HIDDEN_START = "T00:00:01Z"


def ask(_before: int, read: Callable[[], list[JsonObject]]) -> list[JsonObject]:
    """Ask for every page: none is known."""
    return read()


def read_all(page: ReadPage, after: int, before: int, pages: Pages = ask) -> Iterator[JsonObject]:
    """Yield every entry with ``after < start < before`` (epoch s), newest first, each once.

    ``pages`` may know pages that were read before. A crowded day is read anew in any case.

    Entries that exist during the whole reading are never missed. Reads one page for each 199 entries;
    ``RetriableStravaError`` if the listing cannot be read to its end.
    """
    seen: set[Any] = set()
    end = before
    while end > after + 1:
        entries = pages(end, partial(page, after, end, 1))
        full = len(entries) >= PAGE_SIZE
        following = _end_of_following(entries) if full else after
        if following >= end:
            # A whole page starts at one moment, so time leads no further: this day is read by page numbers.
            following = max(after, end - 1 - DAY_S) + 1
            entries = _read_unchanged(page, following - 1, end)
        for entry in entries:
            if entry.get("id") not in seen:
                seen.add(entry.get("id"))
                yield entry
        end = following


def _end_of_following(entries: Sequence[JsonObject]) -> int:
    """The ``before`` of the next page: one second after the latest possible start of the last entry with a start."""
    latest = (_latest_start(entry) for entry in reversed(entries))
    start = next((moment for moment in latest if moment is not None), None)
    if start is None:
        raise RetriableStravaError("list of activities: no entry of a page tells when it starts", status=HTTPStatus.OK)
    return start + 1


def _latest_start(entry: JsonObject) -> int | None:
    """The latest possible start of an activity, epoch s; ``None`` if the entry has no readable start."""
    try:
        shown = int(datetime.fromisoformat(entry["start_date"]).astimezone(UTC).timestamp())
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    hidden = str(entry.get("start_date_local", "")).endswith(HIDDEN_START)
    return shown + DAY_S if hidden else shown


def _read_unchanged(page: ReadPage, after: int, before: int) -> list[JsonObject]:
    """All entries of a span, by page numbers, read until two readings in a row are equal."""
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
