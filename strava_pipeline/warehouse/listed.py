"""Which listed summaries say anything new: the others are not written again."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, RowMapping, and_, select

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.strava.payload import summary_row
from strava_pipeline.warehouse.activities import DETAIL, SUMMARY, Payload, Row
from strava_pipeline.warehouse.columns import among
from strava_pipeline.warehouse.ops_tables import payloads
from strava_pipeline.warehouse.tables import activities


def news(connection: Connection, listed: Mapping[int, tuple[Row, Payload]]) -> dict[int, tuple[Row, Payload]]:
    """Of listed activities (row and payload by id) those whose summary differs from the stored one.

    Strava's detail knows some fields better than its summary (of some rides the latter tells 0 m). While the detail
    is the one of this summary, a field that the summary tells as before keeps what the detail said.
    """
    summary, detail = payloads.alias("summary"), payloads.alias("detail")
    known = connection.execute(
        select(summary.c.body, detail.c.digest, activities)
        .join(summary, and_(summary.c.activity_id == activities.c.id, summary.c.kind == SUMMARY))
        .outerjoin(detail, and_(detail.c.activity_id == activities.c.id, detail.c.kind == DETAIL))
        .where(among(activities.c.id, listed))
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


def _merged(row: Row, old_body: Row, stored: RowMapping) -> Row:
    """A summary's row, with what is stored in the fields that did not change since the last one."""
    try:
        before = summary_row(row["athlete_id"], old_body)
    except RejectedRequest:
        return row
    return {name: stored[name] if before.get(name) == value else value for name, value in row.items()}
