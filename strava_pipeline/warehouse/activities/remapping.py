"""Rebuilds the tables of activities from the stored raw answers, without a request.

Needed when the mapping changes: a column is new, or a field was read wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, exists, or_, select, update

from strava_pipeline.errors import NeedsReauthorization, RejectedRequest
from strava_pipeline.strava.mapping.activity import COUNTERS, DetailRows, detail_rows, summary_row
from strava_pipeline.warehouse.activities.activity_store import SUMMARIZED, store_parts
from strava_pipeline.warehouse.activities.changed_months import mark_changed
from strava_pipeline.warehouse.activities.lake_months import mark_outdated, months_of_samples
from strava_pipeline.warehouse.bulk import store_changed
from strava_pipeline.warehouse.engine import retry_transaction
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.schema.columns import any_of, database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import GrantState, PayloadKind

BATCH = 200
Row = dict[str, Any]


@dataclass(frozen=True)
class Remapped:
    """One batch: the id of its last activity, how many were rebuilt, and, by id, why others do not map."""

    last_id: int
    rebuilt: int
    odd: dict[int, str]


@dataclass(frozen=True)
class _Answers:
    """The stored answers about one activity, mapped."""

    summary: Row | None
    detail: tuple[DetailRows, datetime] | None
    newest: str
    same_digest: bool
    fetched_at: datetime

    def row(self) -> Row:
        """The row of ``activities``: the later answer's columns on top of the earlier one's.

        While both have one digest the detail knows better (of some rides the length), except for the counters.
        """
        if self.detail is None:
            return (self.summary or {}) | {"resource_state": SUMMARIZED}
        detail = self.detail[0].activity
        if self.summary is None or self.newest == PayloadKind.DETAIL:
            return (self.summary or {}) | detail
        if self.same_digest:
            return detail | {name: self.summary[name] for name in COUNTERS}
        return detail | self.summary


def remap(
    engine: Engine,
    *,
    before: datetime,
    athlete_id: int | None = None,
    batch: int = BATCH,
    kept: Kept = EVERYTHING,
) -> Iterator[Remapped]:
    """Rebuild every activity that was not re-mapped since ``before`` (UTC), each batch committed before the next.

    Called again with one ``before``, it goes on where it was interrupted. Rows that would not change are not written.
    An activity that does not map keeps its rows. Athletes who have disconnected are left out, and so is what is not
    ``kept``.
    """
    after, again = 0, False
    while True:
        work = partial(_remap_batch, before=before, athlete_id=athlete_id, after=after, size=batch, kept=kept)
        try:
            done = retry_transaction(engine, work)
        except NeedsReauthorization:
            if again:
                raise
            again = True
            continue  # the next choice leaves out who has disconnected meanwhile
        again = False
        if done is None:
            return
        yield done
        after = done.last_id


def _remap_batch(
    connection: Connection, *, before: datetime, athlete_id: int | None, after: int, size: int, kept: Kept
) -> Remapped | None:
    ids = _next_ids(connection, before, athlete_id, after, size)
    if not ids:
        return None
    # Locked first: nobody stores or deletes these activities from here on, so the payloads read next are the newest.
    a = activities.c
    locked = select(a.id, a.fetched_at, a.start_date).where(any_of(a.id, ids))
    known = {row.id: row for row in connection.execute(locked.order_by(a.id).with_for_update())}
    stored = (
        select(payloads).where(any_of(payloads.c.activity_id, ids)).order_by(payloads.c.fetched_at).with_for_update()
    )
    found, odd = _map(connection.execute(stored).mappings().all())
    rows = {activity_id: answers.row() for activity_id, answers in found.items()}
    moved = [each for each in rows if each in known and rows[each]["start_date"] != known[each].start_date]
    mark_changed(connection, found)  # the months of before
    in_lake = months_of_samples(connection, moved)
    detailed = {activity_id: answers for activity_id, answers in found.items() if answers.detail is not None}
    for activity_ids in (detailed.keys(), found.keys() - detailed.keys()):
        # Two lots, since all rows of one call have the same columns.
        stamped = [rows[each] | {"fetched_at": known.get(each, found[each]).fetched_at} for each in activity_ids]
        store_changed(connection, activities, stamped)
    for activity_id, answers in detailed.items():
        if answers.detail is not None:
            rows_of_detail, asked_at = answers.detail
            store_parts(connection, activity_id, kept.of_detail(rows_of_detail), asked_at)
    mark_changed(connection, found)
    mark_outdated(connection, in_lake | months_of_samples(connection, moved))
    connection.execute(update(payloads).where(any_of(payloads.c.activity_id, found)).values(mapped_at=database_time()))
    return Remapped(ids[-1], len(found), odd)


def _next_ids(connection: Connection, before: datetime, athlete_id: int | None, after: int, size: int) -> list[int]:
    is_old = or_(payloads.c.mapped_at.is_(None), payloads.c.mapped_at < before)
    gone = exists().where(users.c.athlete_id == payloads.c.athlete_id, users.c.state == GrantState.REVOKED)
    query = (
        select(payloads.c.activity_id)
        .where(payloads.c.activity_id > after, is_old, ~gone)
        .distinct()
        .order_by(payloads.c.activity_id)
        .limit(size)
    )
    if athlete_id is not None:
        query = query.where(payloads.c.athlete_id == athlete_id)
    return list(connection.execute(query).scalars())


def _map(stored: Sequence[Any]) -> tuple[dict[int, _Answers], dict[int, str]]:
    """Map payloads (oldest first) to answers by activity; and, by activity, why others do not map."""
    by_activity: dict[int, dict[str, Any]] = {}
    for payload in stored:
        by_activity.setdefault(payload["activity_id"], {})[payload["kind"]] = payload
    found: dict[int, _Answers] = {}
    odd: dict[int, str] = {}
    for activity_id, payload_by_kind in by_activity.items():
        try:
            found[activity_id] = _mapped(payload_by_kind)
        except RejectedRequest as error:
            odd[activity_id] = str(error)
    return found, odd


def _mapped(payload_by_kind: Mapping[str, Any]) -> _Answers:
    summary, detail = payload_by_kind.get(PayloadKind.SUMMARY), payload_by_kind.get(PayloadKind.DETAIL)
    return _Answers(
        summary=None if summary is None else summary_row(summary["athlete_id"], summary["body"]),
        detail=None if detail is None else (detail_rows(detail["athlete_id"], detail["body"]), detail["fetched_at"]),
        newest=list(payload_by_kind)[-1],
        same_digest=summary is not None and detail is not None and summary["digest"] == detail["digest"],
        fetched_at=max(payload["fetched_at"] for payload in payload_by_kind.values()),
    )
