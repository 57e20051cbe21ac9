"""Notes which months of an athlete have samples that the lake's files lack, and which months have a file.

Whoever changes stored samples marks their months in the same transaction. Whoever writes a month's file reads the mark
before the samples, and takes away that mark alone: a change that comes meanwhile has set another one. Months are marked
whether there is a lake or not, so that it becomes whole once it is asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, date, datetime

from sqlalchemy import ColumnElement, Connection, Date, case, cast, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.months import Span, month_span, month_start
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.columns import any_of, database_time, has_come
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.import_tables import LONGEST_MONTH_PAUSE, failed_months, import_months
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import GrantState, ImportStep

_c = import_months.c
_KEY = ("athlete_id", "month")
# As of when a file equals the tables that was begun, and not finished so far: older than any samples.
BEGUN = datetime(1970, 1, 1, tzinfo=UTC)
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
    """Mark these athletes' months: their files lack something. Call it after the samples were changed."""
    if not months:
        return
    # Sorted, so that transactions that mark the same months do not deadlock.
    rows = [{"athlete_id": athlete_id, "month": month} for athlete_id, month in sorted(months)]
    marking = insert(import_months).values([row | {"lake_outdated_at": database_time()} for row in rows])
    changes = {"lake_outdated_at": marking.excluded.lake_outdated_at}
    connection.execute(marking.on_conflict_do_update(index_elements=_KEY, set_=changes))


def mark_month_of(connection: Connection, activity_id: int) -> None:
    """Mark the month in which an activity with samples starts, as :func:`mark_outdated` does."""
    mark_outdated(connection, months_of_samples(connection, [activity_id]))


def mark_all_outdated(connection: Connection) -> int:
    """Mark every month that may have a file, since the files are of another time than the tables; return how many."""
    marking = update(import_months).where(_c.lake_at.is_not(None)).values(lake_outdated_at=database_time())
    return connection.execute(marking).rowcount


def note_writing(connection: Connection, span: Span) -> None:
    """Note, before a month is written for the first time, that it may have a file: a writer may die any time.

    Nothing is noted of an athlete who has disconnected, whose data may have been kept, or of a span that is no month.
    """
    if span != month_span(span.athlete_id, span.start):
        return
    begun = select(_c.month).where(*_is_month(span), _c.lake_at.is_not(None))
    if connection.execute(begun).first() is not None:
        return
    with suppress(NeedsReauthorization):
        refuse_rows_of_revoked(connection, [span.athlete_id])
        noting = insert(import_months).values(athlete_id=span.athlete_id, month=span.start.date(), lake_at=BEGUN)
        first = {"lake_at": func.coalesce(_c.lake_at, noting.excluded.lake_at)}
        connection.execute(noting.on_conflict_do_update(index_elements=_KEY, set_=first))


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
        connection.execute(noting.on_conflict_do_update(index_elements=_KEY, set_=changes))


def outdated_months(connection: Connection, *, is_set: bool, limit: int | None = None) -> list[Span]:
    """The months whose files are to be written or removed, the last mark first, at most ``limit``.

    None unless the lake was asked for: its address ``is_set``, or one of its months was written. Months that failed and
    are not due again are left out, and so are athletes who have disconnected.
    """
    if not (is_set or connection.execute(select(exists().where(_c.lake_at.is_not(None)))).scalar_one()):
        return []
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


def _is_month(span: Span) -> tuple[ColumnElement[bool], ...]:
    return (_c.athlete_id == span.athlete_id, _c.month == span.start.date())
