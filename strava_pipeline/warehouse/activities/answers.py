"""Strava's stored answers about activities, and the rows that they tell together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.strava.mapping.activity import COUNTERS, DetailRows, detail_rows, summary_row
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.states import PayloadKind

Row = dict[str, Any]
# Strava's ``resource_state`` of a summary.
SUMMARIZED = 2


@dataclass(frozen=True)
class Answers:
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


def load_answers(
    connection: Connection, activity_ids: Collection[int], *, lock: bool = False
) -> tuple[dict[int, Answers], dict[int, str]]:
    """Return the stored answers by activity; and, by activity, why others do not map. ``lock``: until the end."""
    stored = (
        select(payloads)
        .where(any_of(payloads.c.activity_id, activity_ids))
        .order_by(payloads.c.fetched_at, payloads.c.kind)
    )
    if lock:
        stored = stored.with_for_update()
    return _map_all(connection.execute(stored).mappings().all())


def _map_all(stored: Sequence[Any]) -> tuple[dict[int, Answers], dict[int, str]]:
    """Map payloads (oldest first) to answers by activity; and, by activity, why others do not map."""
    by_activity: dict[int, dict[str, Any]] = {}
    for payload in stored:
        by_activity.setdefault(payload["activity_id"], {})[payload["kind"]] = payload
    found: dict[int, Answers] = {}
    odd: dict[int, str] = {}
    for activity_id, payload_by_kind in by_activity.items():
        try:
            found[activity_id] = _answers(payload_by_kind)
        except RejectedRequest as error:
            odd[activity_id] = str(error)
    return found, odd


def _answers(payload_by_kind: Mapping[str, Any]) -> Answers:
    summary, detail = payload_by_kind.get(PayloadKind.SUMMARY), payload_by_kind.get(PayloadKind.DETAIL)
    return Answers(
        summary=None if summary is None else summary_row(summary["athlete_id"], summary["body"]),
        detail=None if detail is None else (detail_rows(detail["athlete_id"], detail["body"]), detail["fetched_at"]),
        newest=list(payload_by_kind)[-1],
        same_digest=summary is not None and detail is not None and summary["digest"] == detail["digest"],
        fetched_at=max(payload["fetched_at"] for payload in payload_by_kind.values()),
    )
