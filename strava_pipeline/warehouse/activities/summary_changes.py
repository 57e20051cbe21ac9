"""Compares what Strava lists with what is stored: which summaries changed, and which listing a detail fits.

List and detail of an activity may differ for good: in its length, its distance, the number of its photos, or a flag
that is null in one and false in the other. Such a difference is no edit, and calls for no new detail.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, and_, case, func, or_, select

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.months import Span
from strava_pipeline.strava.mapping.activity import digest, summary_row
from strava_pipeline.warehouse.activities.activity_store import Payload, Row, in_span
from strava_pipeline.warehouse.engine import plan_for_now
from strava_pipeline.warehouse.schema.columns import any_of, database_time
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import PayloadKind

# Fields that athletes edit, alike in summary and detail but for rare activities. An edit undone before the next listing
# is in no summary. Not the length: a crop cannot be undone, so the next listing tells it.
EDITABLE_FIELDS = ("name", "sport_type", "start_date", "gear_id", "trainer", "commute", "private")
# These follow from fields that athletes edit.
_FOLLOWING = ("type", "start_date_local", "timezone", "utc_offset", "visibility")


def changed_summaries(
    connection: Connection, listed: Mapping[int, tuple[Row, Payload]]
) -> dict[int, tuple[Row, Payload]]:
    """The listed activities (row and payload by id) whose summary differs from the stored one.

    Strava's detail knows some fields better than its summary (some rides have 0 m there). So a field that did not
    change in the summary keeps the detail's value; one that athletes edit, only while the detail has the listed digest.
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
        elif stored["digest"] is not None:
            told_by_listing = () if current else (*EDITABLE_FIELDS, *_FOLLOWING)
            found[payload.activity_id] = _merged(row, stored["body"], stored, told_by_listing), payload
    return found


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A stored activity: when Strava was asked for it (UTC), and the digest to compare with a listing.

    ``is_ahead``: that lies ahead, since the database's clock was set back meanwhile.
    """

    activity_id: int
    fetched_at: datetime
    digest: str | None
    is_ahead: bool


def stored_versions(connection: Connection, span: Span, listed: Collection[int]) -> list[StoredVersion]:
    """The stored versions of a span's activities, and of the ``listed`` ids wherever they start.

    Of activities that only an archive or a file tells those are left out that are not listed: they need not be.
    """
    summary, detail = payloads.alias("summary"), payloads.alias("detail")
    # An edit that a webhook announced is in the detail alone; once it is undone, the listing equals the stored summary.
    known = case(
        (detail.c.fetched_at >= summary.c.fetched_at, detail.c.digest),
        else_=func.coalesce(summary.c.digest, detail.c.digest),
    )
    query = (
        select(activities.c.id, activities.c.fetched_at, known, activities.c.fetched_at > database_time())
        .outerjoin(summary, and_(summary.c.activity_id == activities.c.id, summary.c.kind == PayloadKind.SUMMARY))
        .outerjoin(detail, and_(detail.c.activity_id == activities.c.id, detail.c.kind == PayloadKind.DETAIL))
        .where(or_(and_(in_span(span), activities.c.told_by_api), any_of(activities.c.id, listed)))
    )
    return [StoredVersion(*row) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True)
class Listed:
    """The digest of an activity in the listing that called for its detail.

    ``at``: when the listing was asked for (UTC); ``None`` if it is the stored one.
    """

    digest: str
    at: datetime | None = None


def fitting_digest(connection: Connection, body: Row, listed: Listed | None = None) -> str:
    """Return the digest of the listing that a detail (``body``) fits, to be stored with it.

    A detail fits the listing that called for it

    - if it is like the stored detail, which was asked for before that listing: two details around a listing that are
      alike tell no edit, so what differs always does;
    - or if that listing is stored, and no field differs that athletes edit. Other fields, such as a length, may differ
      without an edit; so the detail of a length that was corrected, and set back before the next listing, stays until
      the activity changes again.

    After an edit, a detail fits the next listing, if the edit stays. An edit that is made and undone twice around one
    listing is taken for what always differs; the next change of the activity, or the next detail, shows it.
    Without ``listed`` an event called for the detail: if nothing changed, it fits the listing of the stored detail.
    """
    rows = connection.execute(
        select(payloads.c.kind, payloads.c.body, payloads.c.digest, payloads.c.fetched_at).where(
            payloads.c.activity_id == body["id"]
        )
    )
    stored = {row.kind: row for row in rows}
    summary, detail = stored.get(PayloadKind.SUMMARY), stored.get(PayloadKind.DETAIL)
    alike = detail if detail is not None and digest(detail.body) == digest(body) else None
    if listed is None:
        return digest(body) if alike is None else str(alike.digest)
    listed_at = listed.at or (summary and summary.fetched_at)
    if alike is not None and listed_at is not None and alike.fetched_at < listed_at:
        return listed.digest
    if listed.at is None and not (summary and _is_edited(summary.body, body)):
        return listed.digest
    return digest(body)


def _is_edited(listed: Row, body: Row) -> bool:
    """Whether a detail differs from a summary in a field that athletes edit; null, false and no text are alike."""
    before, after = (_edited_fields(told) for told in (listed, body))
    return any((before.get(name) or None) != (after.get(name) or None) for name in EDITABLE_FIELDS)


def _edited_fields(body: Row) -> Row:
    try:
        return summary_row(body["id"], body)
    except RejectedRequest:
        return body


def _merged(row: Row, old_body: Row, stored: RowMapping, told_by_listing: Collection[str]) -> Row:
    """A summary's row, with the stored values of fields that did not change since the last summary.

    Fields ``told_by_listing`` have the summary's values in any case.
    """
    try:
        before = summary_row(row["athlete_id"], old_body)
    except RejectedRequest:
        return row
    return {
        name: stored[name] if name not in told_by_listing and before.get(name) == value else value
        for name, value in row.items()
    }
