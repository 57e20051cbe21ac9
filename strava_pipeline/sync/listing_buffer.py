"""Buffers a whole listing of activities, and gives out its rows span by span.

A history of ten thousand activities is listed before its first month is written: an activity that moved to another
month must not be taken for a deleted one. Meanwhile the bodies are compressed, to a tenth of the memory.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.months import Span
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.mapping.activity import activity_id, as_json, digest, summary_row
from strava_pipeline.strava.mapping.fields import instant
from strava_pipeline.warehouse.activities.activity_store import Payload
from strava_pipeline.warehouse.revoked import Grant

log = get_logger(__name__)

JsonObject = dict[str, Any]
Mapped = tuple[JsonObject, Payload]


@dataclass(frozen=True)
class WholeListing:
    """Strava's listing of an athlete's ``span``, read to its end; ``asked_at``: when Strava was asked first (UTC).

    ``grant``: what the athlete allowed then, ``None`` if they never connected. ``ids``: all listed activities;
    ``unplaced``: by id, why an activity has no readable start.
    """

    span: Span
    asked_at: datetime
    grant: Grant | None
    ids: set[int] = field(default_factory=set)
    unplaced: dict[int, str] = field(default_factory=dict)
    _packed: dict[int, tuple[datetime, bytes]] = field(default_factory=dict)

    def add(self, body: JsonObject) -> None:
        """Add a listed activity; ``RejectedRequest`` for a body without a usable id."""
        number = activity_id(body)
        self.ids.add(number)
        try:
            start = instant(body.get("start_date"))
        except (TypeError, ValueError, OverflowError):
            self.unplaced[number] = _reason_unplaced(self.span.athlete_id, body)
            return
        self._packed[number] = start, zlib.compress(as_json(body).encode(), 1)

    @property
    def first_start(self) -> datetime | None:
        """When the earliest activity with a readable start began (UTC)."""
        return min((start for start, _ in self._packed.values()), default=None)

    def within(self, start: datetime, end: datetime) -> tuple[dict[int, Mapped], dict[int, str]]:
        """Rows and payloads, by id, of activities that start in ``[start, end)``; and, by id, why others do not map."""
        rows: dict[int, Mapped] = {}
        odd: dict[int, str] = {}
        for number, (moment, packed) in self._packed.items():
            if start <= moment < end:
                body = json.loads(zlib.decompress(packed))
                try:
                    rows[number] = summary_row(self.span.athlete_id, body), _payload(self.span.athlete_id, body)
                except RejectedRequest as error:
                    log.warning("put aside: %s", error)
                    odd[number] = str(error)
        return rows, odd


def read_listing(span: Span, asked_at: datetime, grant: Grant | None, bodies: Iterable[JsonObject]) -> WholeListing:
    """Read a listing to its end; ``RejectedRequest`` for a body without a usable id."""
    listing = WholeListing(span, asked_at, grant)
    for body in bodies:
        listing.add(body)
    return listing


def _payload(athlete_id: int, body: JsonObject) -> Payload:
    return Payload(activity_id(body), athlete_id, body, digest(body))


def _reason_unplaced(athlete_id: int, body: JsonObject) -> str:
    try:
        summary_row(athlete_id, body)
    except RejectedRequest as error:
        log.warning("put aside: %s", error)
        return str(error)
    return f"activity {activity_id(body)}: its start cannot be read"
