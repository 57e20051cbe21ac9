"""Stores the known offset of Strava's clock: one row for all processes."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.warehouse.quota.app_status import load_status
from strava_pipeline.warehouse.schema.quota_tables import app_status

_COLUMNS = (app_status.c.clock_offset_s, app_status.c.clock_error_s, app_status.c.clock_learned_at)


def load_clock(connection: Connection) -> StravaClock:
    """Load the stored :class:`StravaClock`; unknown if none was stored yet."""
    return load_status(connection).clock


def store_clock(connection: Connection, clock: StravaClock) -> None:
    """Store a :class:`StravaClock`. The caller holds the ledger's lock."""
    values = dict(
        zip((column.name for column in _COLUMNS), (clock.offset_s, clock.error_s, clock.checked_at), strict=True)
    )
    connection.execute(
        insert_or_update(app_status)
        .values(id=1, **values)
        .on_conflict_do_update(index_elements=[app_status.c.id], set_=values)
    )
