"""Athletes and their gear."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from strava_pipeline.warehouse.bulk import upsert
from strava_pipeline.warehouse.tables import athletes, gear

Row = dict[str, Any]


def store_athlete(connection: Connection, row: Row, asked_at: datetime) -> None:
    """Store one athlete's profile."""
    upsert(connection, athletes, [row | {"fetched_at": asked_at}], newer_by="fetched_at")


def store_gear(connection: Connection, rows: Sequence[Row], asked_at: datetime) -> None:
    """Store bikes and shoes; a summary of one keeps what only its detail tells."""
    for row in rows:
        upsert(connection, gear, [row | {"fetched_at": asked_at}], newer_by="fetched_at")
