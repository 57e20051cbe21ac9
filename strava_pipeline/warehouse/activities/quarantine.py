"""Quarantine: activities that could not be stored, with reason and time, until they are stored or gone."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.months import Span
from strava_pipeline.printable import printable
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.states import ImportStep


def add_to_quarantine(connection: Connection, span: Span, step: ImportStep, reasons: Mapping[int, str]) -> None:
    """Put activities of a span that could not be stored into quarantine, each with its reason."""
    if not reasons:
        return
    refuse_rows_of_revoked(connection, [span.athlete_id])
    moment = now(connection)
    values = [
        {
            "activity_id": activity_id,
            "step": step,
            "athlete_id": span.athlete_id,
            "reason": printable(reason),
            "span_start": span.start,
            "span_end": span.end,
            "since": moment,
            "tried_at": moment,
        }
        for activity_id, reason in sorted(reasons.items())
    ]
    adding = insert(put_aside)
    changes = {name: adding.excluded[name] for name in ("reason", "span_start", "span_end", "tried_at")}
    connection.execute(adding.on_conflict_do_update(index_elements=["activity_id", "step"], set_=changes), values)


def release_from_quarantine(connection: Connection, step: ImportStep, activity_ids: Collection[int]) -> None:
    """Release activities whose step was stored, or that are gone."""
    if activity_ids:
        connection.execute(
            delete(put_aside).where(put_aside.c.step == step, any_of(put_aside.c.activity_id, activity_ids))
        )


def release_unlisted(connection: Connection, span: Span, listed: Collection[int]) -> None:
    """Release summaries, quarantined within a span, that are no longer among those ``listed`` in the whole span."""
    connection.execute(
        delete(put_aside).where(
            put_aside.c.step == ImportStep.SUMMARY,
            put_aside.c.athlete_id == span.athlete_id,
            put_aside.c.span_start >= span.start,
            put_aside.c.span_end <= span.end,
            put_aside.c.activity_id.not_in(listed),
        )
    )


def count_quarantined(connection: Connection) -> dict[int, int]:
    """The number of quarantined activities by athlete; athletes without any are left out."""
    query = select(put_aside.c.athlete_id, func.count(put_aside.c.activity_id.distinct())).group_by(
        put_aside.c.athlete_id
    )
    return {row[0]: row[1] for row in connection.execute(query)}
