"""What a signed event says of an activity, where it says all of it: a new title, or that it is now private.

Everything else that an event can announce leaves something open, and Strava is asked: a new type changes efforts and
calories as well, and an activity that is no longer private may be visible to everyone or to followers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from strava_pipeline.strava.mapping.activity import digest
from strava_pipeline.warehouse.inbox.claims import ClaimedEvent
from strava_pipeline.warehouse.schema.ops_tables import payloads, users
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import PayloadKind

DETAILED = 3
# By how much Strava's clock, to the second, and the database's may differ.
CLOCKS_DIFFER = timedelta(seconds=60)
ONLY_ME = {"private": True, "visibility": "only_me"}


@dataclass(frozen=True)
class SignedChanges:
    """Fields of an activity with their new values, and between which times (UTC) they changed and were told."""

    fields: Mapping[str, Any]
    oldest_event_time: datetime
    newest_received_at: datetime


def signed_changes(events: Sequence[ClaimedEvent]) -> SignedChanges | None:
    """What the events say together; ``None`` if that is not all, not signed, or not in a certain order."""
    fields: dict[str, Any] = {}
    told_at: dict[str, datetime] = {}
    for event in sorted(events, key=lambda found: found.event_time):
        told = _fields_of(event)
        if told is None:
            return None
        for name, value in told.items():
            if told_at.get(name) == event.event_time and fields[name] != value:
                return None
            fields[name], told_at[name] = value, event.event_time
    oldest = min(event.event_time for event in events)
    return SignedChanges(fields, oldest, max(event.received_at for event in events))


def apply_changes(connection: Connection, athlete_id: int, activity_id: int, news: SignedChanges) -> datetime | None:
    """Write the new values; returns when the activity starts (UTC), or ``None`` if Strava has to be asked.

    That is so when the detail is not stored, when the stored answer may be newer than the oldest of the events, and
    for privacy when the athlete did not grant a look at private activities.
    """
    stored = connection.execute(
        select(activities.c.start_date, activities.c.fetched_at)
        .where(
            activities.c.id == activity_id,
            activities.c.athlete_id == athlete_id,
            activities.c.resource_state == DETAILED,
        )
        .with_for_update()
    ).first()
    if stored is None or news.oldest_event_time <= stored.fetched_at + CLOCKS_DIFFER:
        return None
    if "private" in news.fields and not _sees_private(connection, athlete_id):
        return None
    connection.execute(
        update(activities)
        .where(activities.c.id == activity_id)
        .values(fetched_at=news.newest_received_at, **news.fields)
    )
    _change_payloads(connection, activity_id, news.fields)
    start: datetime = stored.start_date
    return start


def _fields_of(event: ClaimedEvent) -> dict[str, Any] | None:
    if not event.signed or event.aspect_type != "update" or not event.updates:
        return None
    fields: dict[str, Any] = {}
    for name, value in event.updates.items():
        if name == "title":
            fields["name"] = value
        elif name == "private" and value == "true":
            fields |= ONLY_ME
        else:
            return None
    return fields


def _sees_private(connection: Connection, athlete_id: int) -> bool:
    scopes = connection.execute(select(users.c.scopes).where(users.c.athlete_id == athlete_id)).scalar_one_or_none()
    return "activity:read_all" in (scopes or [])


def _change_payloads(connection: Connection, activity_id: int, fields: Mapping[str, Any]) -> None:
    """In the raw answers as well: tables rebuilt from them, and the next listing, then say the same."""
    rows = connection.execute(
        select(payloads.c.kind, payloads.c.body, payloads.c.digest).where(payloads.c.activity_id == activity_id)
    )
    stored = {row.kind: row for row in rows}
    bodies = {kind: row.body | dict(fields) for kind, row in stored.items()}
    digests = {kind: digest(body) for kind, body in bodies.items()}
    if len(stored) == len(PayloadKind):
        # A detail is current while its digest is the listed one; one that was not stays out of date.
        was_current = stored[PayloadKind.DETAIL].digest == stored[PayloadKind.SUMMARY].digest
        digests[PayloadKind.DETAIL] = digests[PayloadKind.SUMMARY] if was_current else stored[PayloadKind.DETAIL].digest
    for kind, body in bodies.items():
        connection.execute(
            update(payloads)
            .where(payloads.c.activity_id == activity_id, payloads.c.kind == kind)
            .values(body=body, digest=digests[kind])
        )
