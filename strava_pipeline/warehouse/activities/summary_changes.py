"""Finds the listed summaries that changed: the others are not written again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, and_, case, func, or_, select

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.months import Span
from strava_pipeline.strava.mapping.activity import summary_row
from strava_pipeline.warehouse.activities.activity_store import Payload, Row, in_span
from strava_pipeline.warehouse.engine import plan_for_now
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.ops_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import PayloadKind

# Fields that athletes edit, alike in summary and detail. An edit undone before the next listing is in no summary.
EDITABLE_FIELDS = ("name", "sport_type", "start_date", "elapsed_time", "gear_id", "trainer", "commute", "private")


def changed_summaries(
    connection: Connection, listed: Mapping[int, tuple[Row, Payload]]
) -> dict[int, tuple[Row, Payload]]:
    """The listed activities (row and payload by id) whose summary differs from the stored one.

    Strava's detail knows some fields better than its summary (some rides have 0 m there). While the stored detail has
    the listed digest, a field that did not change in the summary keeps the detail's value.
    """
    plan_for_now(connection)
    summary, detail = payloads.alias("summary"), payloads.alias("detail")
    known = connection.execute(
        select(summary.c.body, detail.c.digest, activities)
        .join(summary, and_(summary.c.activity_id == activities.c.id, summary.c.kind == PayloadKind.SUMMARY))
        .outerjoin(detail, and_(detail.c.activity_id == activities.c.id, detail.c.kind == PayloadKind.DETAIL))
        .where(any_of(activities.c.id, listed))
    )
    found = dict(listed)
    for stored in known.mappings():
        row, payload = listed[stored["id"]]
        current = stored["digest"] in {None, payload.digest}
        if current and stored["body"] == payload.body:
            del found[payload.activity_id]
        elif stored["digest"] == payload.digest:
            found[payload.activity_id] = _merged(row, stored["body"], stored), payload
    return found


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A stored activity: when Strava was asked for it (UTC), and the digest to compare with a listing."""

    activity_id: int
    fetched_at: datetime
    digest: str | None


def stored_versions(connection: Connection, span: Span, listed: Collection[int]) -> list[StoredVersion]:
    """The stored versions of a span's activities, and of the ``listed`` ids wherever they start."""
    summary, detail = payloads.alias("summary"), payloads.alias("detail")
    # An edit that a webhook announced is in the detail alone; once it is undone, the listing equals the stored summary.
    known = case(
        (detail.c.fetched_at >= summary.c.fetched_at, detail.c.digest),
        else_=func.coalesce(summary.c.digest, detail.c.digest),
    )
    query = (
        select(activities.c.id, activities.c.fetched_at, known)
        .outerjoin(summary, and_(summary.c.activity_id == activities.c.id, summary.c.kind == PayloadKind.SUMMARY))
        .outerjoin(detail, and_(detail.c.activity_id == activities.c.id, detail.c.kind == PayloadKind.DETAIL))
        .where(or_(in_span(span), any_of(activities.c.id, listed)))
    )
    return [StoredVersion(*row) for row in connection.execute(query)]


def edited_since_listed(connection: Connection, body: Row) -> bool:
    """Whether a detail (``body``) differs from the stored summary in a field that athletes edit.

    Only fields that Strava gives alike in both are compared: a length, for one, may differ without an edit. So the
    detail of a length that was corrected, and set back before the next listing, stays until the activity changes again.
    """
    query = select(payloads.c.body).where(payloads.c.activity_id == body["id"], payloads.c.kind == PayloadKind.SUMMARY)
    listed = connection.execute(query).scalar()
    return listed is not None and any(listed.get(name) != body.get(name) for name in EDITABLE_FIELDS)


def _merged(row: Row, old_body: Row, stored: RowMapping) -> Row:
    """A summary's row, with the stored values of fields that did not change since the last summary."""
    try:
        before = summary_row(row["athlete_id"], old_body)
    except RejectedRequest:
        return row
    return {name: stored[name] if before.get(name) == value else value for name, value in row.items()}
