"""Finds changes that no webhook announced: compares a listing of the last days with the tables.

Differences become events. They enter the same inbox as deliveries, so that each takes effect once, in order, and with
the same retries. As with deliveries an event is a hint: the activity is fetched, and a deletion is confirmed, before
anything changes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from strava_pipeline.months import Span
from strava_pipeline.strava.mapping.activity import activity_id, digest
from strava_pipeline.sync.context import SyncContext
from strava_pipeline.warehouse.activities.summary_changes import stored_versions
from strava_pipeline.warehouse.activities.tombstones import gone_since
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.deletion_guard import shows_less
from strava_pipeline.warehouse.inbox.events import LISTED_DIGEST, NewEvent, add_events, newest_done
from strava_pipeline.warehouse.states import EventSource

LOOK_BACK = timedelta(days=7)
# A ride uploaded in Auckland this minute may start ahead of our clock.
LOOK_AHEAD = timedelta(days=1)


@dataclass(frozen=True)
class Difference:
    """An activity that is missing here, out of date here, or gone at Strava.

    ``listed``: its digest in the listing, unless it is gone. ``stored`` tells what the tables have: a digest, and when
    Strava was asked (UTC); for an activity that is missing, when it was last found to be gone. ``worked_off``: for an
    activity that is missing, the number of its newest event that took effect.
    """

    aspect_type: str
    activity_id: int
    listed: str | None
    stored: tuple[str | None, datetime | None]
    worked_off: int | None = None


def compare_recent(sync: SyncContext, athlete_id: int, subscription_id: int) -> Counter[str]:
    """List an athlete's last days and put the differences into the inbox; returns how many new events, by aspect.

    A difference that stays is one event, however often it is found. One that is found again after the tables changed is
    another event: an activity that is hidden, shown and hidden again is deleted twice. So is one that was stored and is
    missing: it was erased, or too old to be kept.
    """
    with sync.engine.connect() as connection:
        asked_at = now(connection)
    start = asked_at - LOOK_BACK
    if sync.keep_from is not None:
        start = max(start, sync.keep_from)
    span = Span(athlete_id, start, asked_at + LOOK_AHEAD)
    listed = {activity_id(body): digest(body) for body in sync.client.list_activities(athlete_id, span.start, span.end)}
    added: Counter[str] = Counter()
    with sync.engine.begin() as connection:
        # An activity that the athlete shows no more is not gone.
        hidden = {"delete"} if shows_less(connection, athlete_id) else set()
        for difference in find_differences(connection, span, listed, asked_at):
            if difference.aspect_type in hidden:
                continue
            event = _event(difference, athlete_id, subscription_id, asked_at)
            added[difference.aspect_type] += add_events(connection, [event])
    return +added


def find_differences(
    connection: Connection, span: Span, listed: Mapping[int, str], asked_at: datetime
) -> list[Difference]:
    """Compare a listing of a span (digests by id), asked for at ``asked_at`` (UTC), with the tables."""
    # Read first: what an event stores meanwhile is not missing.
    worked_off = newest_done(connection, span.athlete_id, listed)
    versions = stored_versions(connection, span, listed)
    missing = set(listed) - {version.activity_id for version in versions}
    gone_at = gone_since(connection, missing)
    found = [
        Difference("create", new, listed[new], (None, gone_at.get(new)), worked_off.get(new))
        for new in listed
        if new in missing
    ]
    for version in versions:
        stored = version.digest, version.fetched_at
        mark = listed.get(version.activity_id)
        if version.fetched_at > asked_at and not version.is_ahead:
            continue  # stored after the listing was asked for
        if mark is None:
            found.append(Difference("delete", version.activity_id, mark, stored))
        elif mark != version.digest:
            found.append(Difference("update", version.activity_id, mark, stored))
    return found


def _event(difference: Difference, athlete_id: int, subscription_id: int, asked_at: datetime) -> NewEvent:
    stored_digest, moment = difference.stored
    marks = (
        EventSource.RECONCILE.value,
        athlete_id,
        difference.activity_id,
        difference.aspect_type,
        difference.listed,
        stored_digest,
        None if moment is None else moment.astimezone(UTC).isoformat(),
        *([] if difference.worked_off is None else [difference.worked_off]),
    )
    return NewEvent(
        event_key=hashlib.sha256(repr(marks).encode()).hexdigest(),
        subscription_id=subscription_id,
        object_type="activity",
        object_id=difference.activity_id,
        aspect_type=difference.aspect_type,
        owner_id=athlete_id,
        event_time=asked_at,
        updates={} if difference.listed is None else {LISTED_DIGEST: difference.listed},
        signed=False,
        source=EventSource.RECONCILE,
    )
