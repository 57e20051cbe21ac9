"""Applies signed events that say all there is to know: a new title, or that the activity is now private.

Every other announcement leaves something open, and Strava is asked: a new type changes efforts and calories as well,
and an activity that is no longer private may be visible to everyone or to followers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, select, update

from strava_pipeline.strava.mapping.activity import digest
from strava_pipeline.warehouse.activities.changed_months import mark_changed
from strava_pipeline.warehouse.inbox.claims import CLOCKS_DIFFER, Claim, ClaimedEvent
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import PayloadKind

DETAILED = 3
ONLY_ME = {"private": True, "visibility": "only_me"}


def signed_changes(claim: Claim) -> dict[str, Any] | None:
    """The columns of ``activities`` that a claim's events change, with their new values.

    ``None`` if the events do not say all, are not signed, or contradict each other within one second.
    """
    changes: dict[str, Any] = {}
    event_times: dict[str, datetime] = {}
    for event in sorted(claim.events, key=attrgetter("event_time")):
        changed = _changes_of(event)
        if changed is None:
            return None
        for column, value in changed.items():
            if event_times.get(column) == event.event_time and changes[column] != value:
                return None
            changes[column] = value
            event_times[column] = event.event_time
    return changes


def apply_changes(connection: Connection, claim: Claim, changes: Mapping[str, Any]) -> datetime | None:
    """Write the new values; returns when the activity starts (UTC), or ``None`` if Strava has to be asked.

    Strava has to be asked if the detail is not stored, if the stored answer may be newer than the oldest event, or if
    the activity became private and the athlete did not grant access to private activities.
    """
    stored = connection.execute(
        select(activities.c.start_date, activities.c.fetched_at)
        .where(
            activities.c.id == claim.activity_id,
            activities.c.athlete_id == claim.athlete_id,
            activities.c.resource_state == DETAILED,
        )
        .with_for_update()
    ).first()
    if stored is None or min(event.event_time for event in claim.events) <= stored.fetched_at + CLOCKS_DIFFER:
        return None
    if "private" in changes and not _sees_private(connection, claim.athlete_id):
        return None
    connection.execute(
        update(activities).where(activities.c.id == claim.activity_id).values(fetched_at=claim.received_at, **changes)
    )
    _change_payloads(connection, claim.activity_id, changes)
    mark_changed(connection, [claim.activity_id])
    start: datetime = stored.start_date
    return start


def _changes_of(event: ClaimedEvent) -> dict[str, Any] | None:
    if not event.signed or event.aspect_type != "update" or not event.updates:
        return None
    changes: dict[str, Any] = {}
    for name, value in event.updates.items():
        if name == "title":
            changes["name"] = value
        elif name == "private" and value == "true":
            changes |= ONLY_ME
        else:
            return None
    return changes


def _sees_private(connection: Connection, athlete_id: int) -> bool:
    scopes = connection.execute(select(users.c.scopes).where(users.c.athlete_id == athlete_id)).scalar_one_or_none()
    return "activity:read_all" in (scopes or [])


def _change_payloads(connection: Connection, activity_id: int, changes: Mapping[str, Any]) -> None:
    """Change the raw answers as well, so that rebuilt tables and the next listing agree with the new values."""
    rows = connection.execute(
        select(payloads.c.kind, payloads.c.body, payloads.c.digest).where(payloads.c.activity_id == activity_id)
    )
    stored = {row.kind: row for row in rows}
    bodies = {kind: row.body | dict(changes) for kind, row in stored.items()}
    digests = {kind: digest(body) for kind, body in bodies.items()}
    if len(stored) == len(PayloadKind):
        # A detail is current while it has the summary's digest; a detail that was out of date stays so.
        was_current = stored[PayloadKind.DETAIL].digest == stored[PayloadKind.SUMMARY].digest
        digests[PayloadKind.DETAIL] = digests[PayloadKind.SUMMARY] if was_current else stored[PayloadKind.DETAIL].digest
    for kind, body in bodies.items():
        connection.execute(
            update(payloads)
            .where(payloads.c.activity_id == activity_id, payloads.c.kind == kind)
            .values(body=body, digest=digests[kind])
        )
