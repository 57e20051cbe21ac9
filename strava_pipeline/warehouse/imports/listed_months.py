"""Notes which months of an athlete an import has reached; a month without activities leaves no other trace."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.months import Span, month_span
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.import_tables import import_months


def note_listed(connection: Connection, span: Span, asked_at: datetime) -> None:
    """Note that a listing, asked for at ``asked_at`` (UTC), replaced a month; a span that is no month is not noted."""
    refuse_rows_of_revoked(connection, [span.athlete_id])
    _note(connection, span, "listed_at", asked_at)


def listed_months(connection: Connection, athlete_id: int) -> list[date]:
    """The months (first days, UTC) of an athlete that an import has reached, oldest first."""
    theirs = (import_months.c.athlete_id == athlete_id, import_months.c.listed_at.is_not(None))
    return list(
        connection.execute(select(import_months.c.month).where(*theirs).order_by(import_months.c.month)).scalars()
    )


def note_in_lake(connection: Connection, span: Span, written_at: datetime) -> None:
    """Note that the lake's file of a month equals the tables as of ``written_at`` (UTC).

    Nothing is noted of an athlete who has disconnected, whose data may have been kept.
    """
    with suppress(NeedsReauthorization):
        refuse_rows_of_revoked(connection, [span.athlete_id])
        _note(connection, span, "lake_at", written_at)


def _note(connection: Connection, span: Span, column: str, moment: datetime) -> None:
    if span != month_span(span.athlete_id, span.start):
        return
    noting = insert(import_months).values(athlete_id=span.athlete_id, month=span.start.date(), **{column: moment})
    # An older answer that comes late changes nothing.
    latest = func.greatest(import_months.c[column], noting.excluded[column])
    connection.execute(noting.on_conflict_do_update(index_elements=["athlete_id", "month"], set_={column: latest}))
