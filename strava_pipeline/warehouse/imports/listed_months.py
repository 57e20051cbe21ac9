"""Notes which months of an athlete an import has reached; a month without activities leaves no other trace."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Connection, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.months import Span, month_span
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.columns import is_not_newer
from strava_pipeline.warehouse.schema.import_tables import import_months


def note_listed(connection: Connection, span: Span, asked_at: datetime) -> None:
    """Note that a listing, asked for at ``asked_at`` (UTC), replaced a month; a span that is no month is not noted."""
    refuse_rows_of_revoked(connection, [span.athlete_id])
    if span != month_span(span.athlete_id, span.start):
        return
    noting = insert(import_months).values(athlete_id=span.athlete_id, month=span.start.date(), listed_at=asked_at)
    # An older answer that comes late changes nothing.
    is_newer = or_(import_months.c.listed_at.is_(None), is_not_newer(import_months.c.listed_at, asked_at))
    changes = {"listed_at": noting.excluded.listed_at}
    connection.execute(
        noting.on_conflict_do_update(index_elements=["athlete_id", "month"], set_=changes, where=is_newer)
    )


def forget_before(connection: Connection, first_kept: date) -> None:
    """Forget that months before this one (its first day) were listed: what they had is not kept any more."""
    before = (import_months.c.month < first_kept, import_months.c.listed_at.is_not(None))
    connection.execute(update(import_months).where(*before).values(listed_at=None))


def listed_months(connection: Connection, athlete_id: int) -> list[date]:
    """The months (first days, UTC) of an athlete that an import has reached, oldest first."""
    theirs = (import_months.c.athlete_id == athlete_id, import_months.c.listed_at.is_not(None))
    return list(
        connection.execute(select(import_months.c.month).where(*theirs).order_by(import_months.c.month)).scalars()
    )
