"""Counts by month what may be wrong with the activities, for the months that changed since they were last checked."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    Engine,
    FromClause,
    Select,
    Table,
    and_,
    any_,
    cast,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.selectable import NamedFromClause

from strava_pipeline.warehouse.activities.outdated import lacks_detail
from strava_pipeline.warehouse.activities.stream_store import lacks_samples
from strava_pipeline.warehouse.engine import now, plan_for_now
from strava_pipeline.warehouse.erasures import athletes_being_erased
from strava_pipeline.warehouse.locks import Lock, acquire
from strava_pipeline.warehouse.schema.check_tables import changed_months, month_checks
from strava_pipeline.warehouse.schema.columns import LOCAL_TIME, UTC_TIME, any_of
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import ImportStep, PayloadKind

# Marks of one batch, which is one transaction. A thousand months of ten activities take less than a second.
BATCH = 1000
# The columns in which the months' counts are stored, in the order of the query.
_COLUMNS = (
    "athlete_id", "month", "twice", "lacks_detail", "detail_aside", "lacks_samples", "samples_aside", "due_at",
)  # fmt: skip
_marks, _checks = changed_months.c, month_checks.c
Month = tuple[int, date]


def check_changed_months(engine: Engine, batch: int = BATCH) -> int:
    """Check the months that were marked before, and those whose counts change by themselves; return how many.

    A process that dies keeps its finished batches. Of two processes one waits for the other's batch; a month that
    changes while it is checked has a new mark, and is checked by whoever comes next.
    """
    with engine.connect() as connection:
        newest = connection.execute(select(func.max(_marks.id))).scalar() or 0
    last, checked = 0, 0
    while True:
        with engine.begin() as connection:
            acquire(connection, Lock.CHECKS)
            plan_for_now(connection)
            moment = now(connection)
            marks = _marked(connection, last, newest, batch)
            months = set(marks.values()) | _changed_by_time(connection, moment, batch)
            if not months:
                return checked
            kept = _keep_from_erasure(connection, months)
            connection.execute(delete(changed_months).where(any_of(_marks.id, marks)))
            _delete_counts(connection, months)
            _store(connection, kept, moment)
        last = max(marks, default=newest)
        checked += len(months)


def check_few_months(engine: Engine) -> bool:
    """Check the changed months as :func:`check_changed_months`, if one batch does; whether that is so.

    For those who have no time for more, such as a run of a webhook just after an upgrade.
    """
    with engine.connect() as connection:
        marked = select(_marks.id).limit(BATCH + 1).subquery()
        are_few = connection.execute(select(func.count()).select_from(marked)).scalar_one() <= BATCH
    if are_few:
        check_changed_months(engine)
    return are_few


def is_same_recording(earlier: NamedFromClause[Any], later: Table) -> ColumnElement[bool]:
    """The condition that one recording is stored twice: two devices, or a file uploaded again under another id."""
    return and_(
        earlier.c.athlete_id == later.c.athlete_id,
        earlier.c.start_date == later.c.start_date,
        earlier.c.elapsed_time == later.c.elapsed_time,
        earlier.c.sport_type == later.c.sport_type,
        earlier.c.id < later.c.id,
    )


def starts_in(athlete_id: ColumnElement[int], month: ColumnElement[date]) -> ColumnElement[bool]:
    """The condition that an activity is the athlete's, and starts in the month (first day, UTC).

    Each month's activities are looked for by themselves: Postgres cannot tell how few they are, and would read all
    activities for many months.
    """
    first, theirs = cast(month, LOCAL_TIME), activities.alias("theirs")
    ids = select(theirs.c.id).where(
        theirs.c.athlete_id == athlete_id,
        theirs.c.start_date >= func.timezone("UTC", first),
        theirs.c.start_date < func.timezone("UTC", first + func.make_interval(0, 1)),
    )
    return activities.c.id == any_(func.array(ids.correlate_except(theirs).scalar_subquery()))


def _marked(connection: Connection, last: int, newest: int, limit: int) -> dict[int, Month]:
    """The next months by the id of their mark."""
    query = select(_marks.id, _marks.athlete_id, _marks.month).where(_marks.id > last, _marks.id <= newest)
    return {row.id: (row.athlete_id, row.month) for row in connection.execute(query.order_by(_marks.id).limit(limit))}


def _changed_by_time(connection: Connection, moment: datetime, limit: int) -> set[Month]:
    """Months whose counts are others by now.

    A detail that lies ahead tells nothing; so the counts change once its time has come, and where they are from before
    the database's clock was set back.
    """
    due = or_(_checks.due_at <= moment, _checks.checked_at > moment)
    found = connection.execute(select(_checks.athlete_id, _checks.month).where(due).limit(limit))
    return {(row.athlete_id, row.month) for row in found}


def _keep_from_erasure(connection: Connection, months: Collection[Month]) -> set[Month]:
    """Let erasures wait that are decided from now on; return the months of athletes who are not being erased.

    What an erasure has yet to delete is not counted: it may have deleted the counts already.
    """
    athlete_ids = {athlete_id for athlete_id, _ in months}
    theirs = select(users.c.athlete_id).where(any_of(users.c.athlete_id, athlete_ids)).order_by(users.c.athlete_id)
    connection.execute(theirs.with_for_update(read=True, key_share=True)).all()
    going = set(athletes_being_erased(connection))
    return {month for month in months if month[0] not in going}


def _delete_counts(connection: Connection, months: Collection[Month]) -> None:
    given = _given(months)
    theirs = tuple_(_checks.athlete_id, _checks.month).in_(select(given.c.athlete_id, given.c.month))
    connection.execute(delete(month_checks).where(theirs))


def _store(connection: Connection, months: Collection[Month], moment: datetime) -> None:
    """Store the counts of these months; those without activities have none."""
    counting = _counting(_given(months), moment).add_columns(literal(moment, UTC_TIME))
    connection.execute(insert(month_checks).from_select([*_COLUMNS, "checked_at"], counting))


def _given(months: Collection[Month]) -> FromClause:
    """The months as a table."""
    ordered = sorted(months)
    athlete_ids = literal([athlete_id for athlete_id, _ in ordered], ARRAY(BigInteger))
    firsts = literal([month for _, month in ordered], ARRAY(Date))
    columns = (column("athlete_id", BigInteger), column("month", Date))
    return func.unnest(athlete_ids, firsts).table_valued(*columns, name="given").render_derived()


def _counting(given: FromClause, moment: datetime) -> Select[*tuple[Any, ...]]:
    """Count in the given months, from the activities; months without any are left out."""
    summary, detail = payloads.alias("summary"), payloads.alias("detail")
    no_detail, no_samples = put_aside.alias("no_detail"), put_aside.alias("no_samples")
    earlier = activities.alias("earlier")
    without_detail, without_samples = lacks_detail(summary, detail), lacks_samples()
    knows_better = and_(detail.c.digest != summary.c.digest, detail.c.fetched_at >= summary.c.fetched_at)
    return (
        select(
            given.c.athlete_id,
            given.c.month,
            func.count().filter(exists().where(is_same_recording(earlier, activities))),
            func.count().filter(without_detail),
            func.count().filter(without_detail, no_detail.c.activity_id.is_not(None)),
            func.count().filter(without_samples),
            func.count().filter(without_samples, no_samples.c.activity_id.is_not(None)),
            func.min(detail.c.fetched_at).filter(knows_better, detail.c.fetched_at > moment),
        )
        .select_from(given)
        .join(activities, starts_in(given.c.athlete_id, given.c.month))
        .outerjoin(summary, _is(summary, PayloadKind.SUMMARY))
        .outerjoin(detail, _is(detail, PayloadKind.DETAIL))
        .outerjoin(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .outerjoin(no_detail, _is_aside(no_detail, ImportStep.DETAIL))
        .outerjoin(no_samples, _is_aside(no_samples, ImportStep.STREAMS))
        .group_by(given.c.athlete_id, given.c.month)
    )


def _is(payload: NamedFromClause[Any], kind: PayloadKind) -> ColumnElement[bool]:
    return and_(payload.c.activity_id == activities.c.id, payload.c.kind == kind)


def _is_aside(aside: NamedFromClause[Any], step: ImportStep) -> ColumnElement[bool]:
    return and_(aside.c.activity_id == activities.c.id, aside.c.step == step)
