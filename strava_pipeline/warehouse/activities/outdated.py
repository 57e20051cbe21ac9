"""Finds activities that lack their detail or their samples, or whose detail is out of date or old."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, or_, select
from sqlalchemy.sql.selectable import NamedFromClause

from strava_pipeline.months import Span
from strava_pipeline.warehouse.activities.activity_store import in_span
from strava_pipeline.warehouse.activities.quarantine import is_for_later
from strava_pipeline.warehouse.activities.stream_store import lacks_samples
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import ImportStep, PayloadKind
from strava_pipeline.warehouse.tokens.grants import shows_activities


@dataclass(frozen=True)
class OldDetail:
    """A stored detail: whose, of which activity, when that started, and when Strava was asked for it (UTC)."""

    athlete_id: int
    activity_id: int
    start_date: datetime
    fetched_at: datetime


def lacks_detail(
    summary: NamedFromClause[Any], detail: NamedFromClause[Any], *, archive_details: bool = False
) -> ColumnElement[bool]:
    """The condition that a listed activity has no detail, or one that its listing shows to be out of date.

    One of which an archive tells needs no detail, unless ``archive_details``.
    ``summary`` and ``detail``: aliases of ``payloads``, the latter by outer join. A detail that was asked for after the
    listing, and differs from it, knows better; the next listing tells. One that lies ahead was asked for before the
    database's clock was set back, and knows nothing better.
    """
    differs = detail.c.digest.is_distinct_from(summary.c.digest)
    is_ahead = detail.c.fetched_at > database_time()
    is_outdated = and_(differs, or_(detail.c.fetched_at < summary.c.fetched_at, is_ahead))
    is_missing = detail.c.activity_id.is_(None)
    if not archive_details:
        is_missing = and_(is_missing, activities.c.archive_taken_at.is_(None))
    return and_(summary.c.activity_id.is_not(None), or_(is_missing, is_outdated))


def without_current_detail(
    connection: Connection, span: Span, *, only: int | None = None, due: bool = False, archive_details: bool = False
) -> list[tuple[int, str]]:
    """Ids of a span's activities whose detail is missing or out of date, newest first, with the summary's digest.

    ``only``: consider this activity alone; ``due``: leave out those in quarantine that are not to be tried again yet;
    ``archive_details``: those of which an archive tells need a detail, too.
    """
    summary, detail = payloads.alias("summary"), payloads.alias("detail")
    query = (
        select(activities.c.id, summary.c.digest)
        .join(summary, and_(summary.c.activity_id == activities.c.id, summary.c.kind == PayloadKind.SUMMARY))
        .outerjoin(detail, and_(detail.c.activity_id == activities.c.id, detail.c.kind == PayloadKind.DETAIL))
        .where(in_span(span), lacks_detail(summary, detail, archive_details=archive_details))
        .where(*_only(only), *_due(ImportStep.DETAIL, due=due))
        .order_by(activities.c.start_date.desc())
    )
    return [(row.id, row.digest) for row in connection.execute(query)]


def any_outdated_detail(connection: Connection, span: Span) -> bool:
    """Whether a stored detail of a span is out of date."""
    summary, detail = payloads.alias("summary"), payloads.alias("detail")
    query = (
        select(activities.c.id)
        .join(summary, and_(summary.c.activity_id == activities.c.id, summary.c.kind == PayloadKind.SUMMARY))
        .join(detail, and_(detail.c.activity_id == activities.c.id, detail.c.kind == PayloadKind.DETAIL))
        .where(in_span(span), lacks_detail(summary, detail))
    )
    return connection.execute(query.limit(1)).first() is not None


def oldest_detail(connection: Connection, age: timedelta, without: Collection[int] = ()) -> OldDetail | None:
    """The detail that was asked for longest ago, of all athletes who show activities; ``None`` if none is that old.

    Activities that are put aside for later are left out, and so are all of the athletes in ``without``.
    """
    theirs = and_(users.c.athlete_id == payloads.c.athlete_id, shows_activities())
    query = (
        select(payloads.c.athlete_id, payloads.c.activity_id, activities.c.start_date, payloads.c.fetched_at)
        .join(activities, activities.c.id == payloads.c.activity_id)
        .join(users, theirs)
        .where(
            payloads.c.kind == PayloadKind.DETAIL,
            payloads.c.fetched_at < database_time() - age,
            payloads.c.athlete_id.not_in(list(without)),
            ~is_for_later(ImportStep.DETAIL),
        )
        .order_by(payloads.c.fetched_at)
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else OldDetail(*row)


def is_still(connection: Connection, old: OldDetail) -> bool:
    """Whether a detail is stored, and has not been fetched anew."""
    query = select(payloads.c.fetched_at).where(
        payloads.c.activity_id == old.activity_id, payloads.c.kind == PayloadKind.DETAIL
    )
    return connection.execute(query).scalar() == old.fetched_at


def without_streams(
    connection: Connection, span: Span, *, only: int | None = None, due: bool = False
) -> list[tuple[int, bool]]:
    """Ids of a span's activities that lack their samples, newest first, with whether they were entered by hand.

    ``only`` and ``due`` as in :func:`without_current_detail`.
    """
    query = (
        select(activities.c.id, case((activities.c.manual, True), else_=False))
        .outerjoin(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .where(in_span(span), lacks_samples())
        .where(*_only(only), *_due(ImportStep.STREAMS, due=due))
        .order_by(activities.c.start_date.desc())
    )
    return [(row[0], row[1]) for row in connection.execute(query)]


def _only(activity_id: int | None) -> list[ColumnElement[bool]]:
    return [] if activity_id is None else [activities.c.id == activity_id]


def _due(step: ImportStep, *, due: bool) -> list[ColumnElement[bool]]:
    return [~is_for_later(step)] if due else []
