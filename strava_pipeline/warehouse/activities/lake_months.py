"""Notes which months of an athlete have a file in the lake, and which of these files differ from the tables.

Whoever changes stored samples marks their months in the same transaction. Whoever writes a month's file reads the mark
before the samples, and takes away that mark alone: a change that comes meanwhile has set another one.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import date, datetime

from sqlalchemy import ColumnElement, Connection, Date, case, cast, exists, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.months import Span, month_span, month_start
from strava_pipeline.warehouse.activities.tombstones import lock_activities
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.columns import any_of, database_time, has_come
from strava_pipeline.warehouse.schema.import_tables import LONGEST_MONTH_PAUSE, failed_months, import_months
from strava_pipeline.warehouse.schema.ops_tables import users
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import GrantState, ImportStep

_c = import_months.c
# First day of the month (UTC) in which an activity starts.
_month = cast(func.date_trunc("month", func.timezone("UTC", activities.c.start_date)), Date)


def months_of_samples(connection: Connection, activity_ids: Collection[int]) -> set[tuple[int, date]]:
    """Athlete and month (first day, UTC) of those of the activities that have samples."""
    query = (
        select(activities.c.athlete_id, _month)
        .join(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .where(any_of(activities.c.id, activity_ids))
    )
    return {(athlete_id, month) for athlete_id, month in connection.execute(query)}


def mark_outdated(connection: Connection, months: Collection[tuple[int, date]]) -> None:
    """Mark the files of these athletes' months, where there may be any. Call it after the samples were changed."""
    if months:
        marking = update(import_months).where(tuple_(_c.athlete_id, _c.month).in_(sorted(months)), _may_have_file())
        connection.execute(marking.values(lake_outdated_at=database_time()))


def mark_month_of(connection: Connection, athlete_id: int, activity_id: int) -> None:
    """Mark the file of the month in which an activity of the athlete starts, as :func:`mark_outdated` does."""
    month = select(_month).where(activities.c.id == activity_id).scalar_subquery()
    marking = update(import_months).where(_c.athlete_id == athlete_id, _c.month == month, _may_have_file())
    connection.execute(marking.values(lake_outdated_at=database_time()))


def note_writing(connection: Connection, span: Span) -> None:
    """Note, before a month is written for the first time, that it may have a file: a writer may die any time.

    Whoever changes samples at this moment has seen no file to mark, so their transactions are waited for. Nothing is
    noted of an athlete who has disconnected, whose data may have been kept, or of a span that is no month.
    """
    if span != month_span(span.athlete_id, span.start):
        return
    if connection.execute(select(_c.month).where(*_is_month(span), _may_have_file())).first() is not None:
        return
    with suppress(NeedsReauthorization):
        # First, so that an erasure under way is waited for with no lock in hand.
        refuse_rows_of_revoked(connection, [span.athlete_id])
        lock_activities(connection, span.athlete_id)
        of_month = (activities.c.start_date >= span.start, activities.c.start_date < span.end)
        theirs = select(activities.c.id).where(activities.c.athlete_id == span.athlete_id, *of_month)
        # Whoever stores or deletes samples locks their activity until the end of the transaction.
        connection.execute(theirs.order_by(activities.c.id).with_for_update())
        noting = insert(import_months).values(
            athlete_id=span.athlete_id, month=span.start.date(), lake_outdated_at=database_time()
        )
        first = {"lake_outdated_at": noting.excluded.lake_outdated_at}
        connection.execute(
            noting.on_conflict_do_update(index_elements=["athlete_id", "month"], set_=first, where=~_may_have_file())
        )


def outdated_since(connection: Connection, span: Span) -> datetime | None:
    """The mark of a month's file (UTC); ``None``: it has none."""
    return connection.execute(select(_c.lake_outdated_at).where(*_is_month(span))).scalar()


def note_in_lake(connection: Connection, span: Span, written_at: datetime, mark: datetime | None = None) -> None:
    """Note that a month's file equals the tables as of ``written_at`` (UTC), and take its mark of then away.

    ``mark``: what :func:`outdated_since` gave before the samples were read. Nothing is noted of an athlete who has
    disconnected, or of a span that is no month.
    """
    if span != month_span(span.athlete_id, span.start):
        return
    with suppress(NeedsReauthorization):
        refuse_rows_of_revoked(connection, [span.athlete_id])
        noting = insert(import_months).values(athlete_id=span.athlete_id, month=span.start.date(), lake_at=written_at)
        changes = {
            # A writer that is late changes nothing.
            "lake_at": func.greatest(_c.lake_at, noting.excluded.lake_at),
            "lake_outdated_at": case((_c.lake_outdated_at == mark, None), else_=_c.lake_outdated_at),
        }
        connection.execute(noting.on_conflict_do_update(index_elements=["athlete_id", "month"], set_=changes))


def outdated_months(connection: Connection, *, limit: int | None = None) -> list[Span]:
    """The months whose files are to be written anew, the last mark first, at most ``limit``.

    Months that failed and are not due again are left out, and so are athletes who have disconnected.
    """
    later = exists().where(
        failed_months.c.athlete_id == _c.athlete_id,
        failed_months.c.month == _c.month,
        failed_months.c.step == ImportStep.LAKE,
        ~has_come(failed_months.c.retry_at, database_time(), LONGEST_MONTH_PAUSE),
    )
    gone = exists().where(users.c.athlete_id == _c.athlete_id, users.c.state == GrantState.REVOKED)
    query = (
        select(_c.athlete_id, _c.month)
        .where(_c.lake_outdated_at.is_not(None), ~later, ~gone)
        .order_by(_c.lake_outdated_at.desc(), _c.athlete_id, _c.month)
        .limit(limit)
    )
    return [month_span(athlete_id, month_start(month)) for athlete_id, month in connection.execute(query)]


def _may_have_file() -> ColumnElement[bool]:
    return or_(_c.lake_at.is_not(None), _c.lake_outdated_at.is_not(None))


def _is_month(span: Span) -> tuple[ColumnElement[bool], ...]:
    return (_c.athlete_id == span.athlete_id, _c.month == span.start.date())
