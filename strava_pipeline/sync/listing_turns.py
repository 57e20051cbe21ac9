"""Reads a long listing in several turns, each of which goes on behind the pages that the last one has read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from strava_pipeline.months import Span
from strava_pipeline.sync.context import SyncContext
from strava_pipeline.sync.listing_buffer import WholeListing, read_listing
from strava_pipeline.warehouse.upkeep.kept_pages import KeptPages

JsonObject = dict[str, Any]


class TurnOver(Exception):
    """The time for reading a listing is up before its end."""


def read_whole_in_turns(sync: SyncContext, span: Span, go_on: Callable[[], bool]) -> WholeListing:
    """Read Strava's listing of a span to its end, from behind the pages that an earlier turn has read.

    Raises ``TurnOver`` when ``go_on`` says no after a further page was read. What ends the reading, or the process,
    loses no page.
    """
    kept, has_read = KeptPages.of(sync.engine, span), False

    def page(before_s: int, ask: Callable[[], list[JsonObject]]) -> list[JsonObject]:
        nonlocal has_read
        known = kept.read(before_s)
        if known is not None:
            return known
        if has_read and not go_on():
            raise TurnOver
        answer, has_read = ask(), True
        kept.keep(before_s, answer)
        return answer

    return read_listing(
        span, kept.asked_at, kept.grant, sync.client.list_activities(span.athlete_id, span.start, span.end, page)
    )
