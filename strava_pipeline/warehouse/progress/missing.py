"""What a span of an athlete's history lacks after a backfill, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Row, and_, or_, select

from strava_pipeline.months import Span
from strava_pipeline.warehouse.activities.activity_store import in_span
from strava_pipeline.warehouse.activities.outdated import without_current_detail, without_streams
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import OPEN_STATES, ImportStep, PutAside

# So many reasons of a kind are named.
NAMED = 3


class Lack(StrEnum):
    """Why an activity is not complete, in words."""

    UNUSABLE = "put aside"
    UNANSWERED = "not answered"
    HIDDEN = "hidden"
    NOT_FETCHED = "not fetched"


_LACK_OF = {
    PutAside.UNUSABLE: Lack.UNUSABLE,
    PutAside.UNANSWERED: Lack.UNANSWERED,
    PutAside.HIDDEN: Lack.HIDDEN,
}


@dataclass(frozen=True)
class Missing:
    """The activities of a span that are not complete.

    ``activities``: how many the span has. ``lacks``: for each kind, the ids with their reasons; without a reason if the
    activity was not tried.
    """

    span: Span
    activities: int
    lacks: Mapping[Lack, Mapping[int, str]]

    @property
    def count(self) -> int:
        """The number of activities that are not complete."""
        return sum(map(len, self.lacks.values()))

    def __str__(self) -> str:
        told = ", ".join(_told(lack, self.lacks[lack]) for lack in Lack if self.lacks.get(lack))
        whose = f"activities of athlete {self.span.athlete_id} {'is' if self.count == 1 else 'are'}"
        return f"{self.count} of {self.activities} {whose} not complete: {told}"


def missing(connection: Connection, span: Span, steps: Collection[ImportStep]) -> Missing:
    """Find the activities of a span that lack one of these steps: summary, detail or streams.

    What an event in the inbox is about to bring does not count: it may have come while a backfill was at work.
    """
    lacking: dict[ImportStep, set[int]] = {}
    if ImportStep.DETAIL in steps:
        lacking[ImportStep.DETAIL] = {activity_id for activity_id, _ in without_current_detail(connection, span)}
    if ImportStep.STREAMS in steps:
        lacking[ImportStep.STREAMS] = {activity_id for activity_id, _ in without_streams(connection, span)}
    lacks: dict[Lack, dict[int, str]] = {lack: {} for lack in Lack}
    found: set[int] = set()
    for row in _put_aside(connection, span, set().union(*lacking.values())):
        is_lacking = row.activity_id in lacking.get(ImportStep(row.step), set())
        if row.activity_id not in found and (is_lacking or row.step == ImportStep.SUMMARY in steps):
            lacks[_LACK_OF[PutAside(row.kind)]][row.activity_id] = row.reason
            found.add(row.activity_id)
    not_tried = set().union(*lacking.values()) - found
    lacks[Lack.NOT_FETCHED] = dict.fromkeys(not_tried - _with_open_events(connection, span, not_tried), "")
    stored = set(connection.execute(select(activities.c.id).where(in_span(span))).scalars())
    return Missing(span, len(stored | found), lacks)


def _put_aside(connection: Connection, span: Span, lacking: Collection[int]) -> list[Row[tuple[int, str, str, str]]]:
    """The activities that are put aside: those ``lacking`` something, and those whose listed body is not usable."""
    listed = and_(
        put_aside.c.step == ImportStep.SUMMARY, put_aside.c.span_start < span.end, put_aside.c.span_end > span.start
    )
    query = (
        select(put_aside.c.activity_id, put_aside.c.step, put_aside.c.kind, put_aside.c.reason)
        .where(put_aside.c.athlete_id == span.athlete_id, or_(any_of(put_aside.c.activity_id, lacking), listed))
        .order_by(put_aside.c.activity_id, put_aside.c.step)
    )
    return list(connection.execute(query))


def _with_open_events(connection: Connection, span: Span, activity_ids: Collection[int]) -> set[int]:
    """Those of the activities that have an event for which they will be fetched."""
    query = select(webhook_events.c.object_id).where(
        webhook_events.c.object_type == "activity",
        webhook_events.c.owner_id == span.athlete_id,
        webhook_events.c.state.in_(OPEN_STATES),
        # A signed update is written as it is.
        or_(
            webhook_events.c.aspect_type == "create",
            (webhook_events.c.aspect_type == "update") & ~webhook_events.c.signed,
        ),
        any_of(webhook_events.c.object_id, activity_ids),
    )
    return set(connection.execute(query).scalars())


def _told(lack: Lack, reasons: Mapping[int, str]) -> str:
    named = [reason for _, reason in sorted(reasons.items()) if reason][:NAMED]
    if not named:
        return f"{len(reasons)} {lack}"
    more = [f"and {len(reasons) - len(named)} more"] if len(reasons) > len(named) else []
    return f"{len(reasons)} {lack} ({'; '.join(named + more)})"
