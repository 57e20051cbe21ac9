"""The live path: brings one activity up to date under a claim, and marks the claim's events done with the last write.

An event is only a hint, unless it is signed and says all there is to know: the activity is fetched, and a deletion is
confirmed at Strava. One answer settles all events that arrived before the request. What an error means for the events
is decided in :mod:`.failed_claims`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection

from strava_pipeline.errors import NotFound, RejectedRequest, RetriableStravaError, StravaPipelineError
from strava_pipeline.strava.mapping.activity import detail_rows
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.streams import Streams
from strava_pipeline.sync.context import SyncContext, request_time
from strava_pipeline.warehouse.activities import activity_store, announced_changes, quarantine, stream_store
from strava_pipeline.warehouse.activities.activity_store import Payload
from strava_pipeline.warehouse.activities.summary_changes import Listed, fitting_digest
from strava_pipeline.warehouse.activities.tombstones import add_tombstones, has_tombstone, lock_activities
from strava_pipeline.warehouse.archives.merging import delete_for_good
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.inbox.claims import Claim, check_fence, mark_done
from strava_pipeline.warehouse.inbox.events import LISTED_DIGEST
from strava_pipeline.warehouse.mail.mail_queue import enqueue_ride_mail
from strava_pipeline.warehouse.states import EventSource, ImportStep, WaitingFor


class NotThereYet(StravaPipelineError):
    """Strava does not have the activity, or its streams, yet: ``waiting_for`` says which."""

    def __init__(self, message: str, *, waiting_for: WaitingFor) -> None:
        super().__init__(message)
        self.waiting_for = waiting_for


@dataclass(frozen=True)
class SyncResult:
    """What was ``done`` for a claim, and the ``start`` (UTC) of its activity; ``None`` if none is or was stored."""

    start: datetime | None
    done: str


def sync_activity(sync: SyncContext, claim: Claim) -> SyncResult:
    """Fetch, store and analyse a claimed activity, or delete it if it is gone; what is not kept is left out.

    Raises ``NotThereYet``, ``FencedOut`` if a newer claim has the activity, or an error below ``StravaError``.
    """
    if ImportStep.SUMMARY not in sync.kept.steps:
        return _delete_or_leave_out(sync, claim)
    result = _apply_signed_updates(sync, claim)
    if result is not None:
        return result
    asked_at = request_time(sync)
    try:
        start = _update_detail(sync, claim, asked_at)
    except NotFound as error:
        return _handle_not_found(sync, claim, asked_at, error)
    _update_rest(sync, claim)
    return SyncResult(start, "stored")


def _delete_or_leave_out(sync: SyncContext, claim: Claim) -> SyncResult:
    """Mark the events done where no activities are kept; one that is stored from before is deleted if it is gone."""
    asked_at = request_time(sync)
    with sync.engine.connect() as connection:
        is_stored = activity_store.activity_start(connection, claim.athlete_id, claim.activity_id) is not None
    if is_stored and "delete" in claim.aspect_types:
        try:
            sync.client.get_activity(claim.athlete_id, claim.activity_id)
        except NotFound as error:
            return _handle_not_found(sync, claim, asked_at, error)
    with sync.engine.begin() as connection:
        check_fence(connection, claim.fence)
        mark_done(connection, claim.fence)
    return SyncResult(None, "left out: no activities are kept")


def _apply_signed_updates(sync: SyncContext, claim: Claim) -> SyncResult | None:
    """Write what signed updates say, if that is all there is to know; ``None`` if Strava has to be asked."""
    changes = announced_changes.signed_changes(claim)
    if changes is None:
        return None
    with sync.engine.begin() as connection:
        check_fence(connection, claim.fence)
        lock_activities(connection, claim.athlete_id)
        start = announced_changes.apply_changes(connection, claim, changes)
        if start is None:
            return None
        mark_done(connection, claim.fence)
    return SyncResult(start, "updated from the event")


def _update_detail(sync: SyncContext, claim: Claim, asked_at: datetime) -> datetime:
    """Fetch and store the detail, unless an earlier try has; returns when the activity starts (UTC)."""
    with sync.engine.connect() as connection:
        start = activity_store.start_if_current(connection, claim.athlete_id, claim.activity_id, claim.received_at)
    if start is not None:
        return start
    body = sync.client.get_activity(claim.athlete_id, claim.activity_id)
    _check_owner(claim, body)
    rows = sync.kept.of_detail(detail_rows(claim.athlete_id, body))
    with sync.engine.begin() as connection:
        check_fence(connection, claim.fence)
        fits = fitting_digest(connection, body, _listed(claim))
        payload = Payload(claim.activity_id, claim.athlete_id, body, fits)
        if not activity_store.store_detail(connection, rows, payload, asked_at):
            # The newer change may be a summary or a deletion: neither brings this event's detail.
            raise RetriableStravaError(f"activity {claim.activity_id} was changed while it was fetched")
        quarantine.release_from_quarantine(connection, ImportStep.DETAIL, [claim.activity_id])
    found: datetime = rows.activity["start_date"]
    return found


def _listed(claim: Claim) -> Listed | None:
    """The activity in the newest listing that found a difference, if one called for the claim."""
    found = [
        event for event in claim.events if LISTED_DIGEST in event.updates and event.source is EventSource.RECONCILE
    ]
    newest = max(found, key=attrgetter("event_time"), default=None)
    return None if newest is None else Listed(newest.updates[LISTED_DIGEST], newest.event_time)


def _check_owner(claim: Claim, body: dict[str, Any]) -> None:
    """Refuse an activity of another athlete: an event may name one who sees the activity but does not own it."""
    athlete = body.get("athlete")
    owner = athlete.get("id") if isinstance(athlete, dict) else None
    if owner is not None and owner != claim.athlete_id:
        raise RejectedRequest(f"activity {claim.activity_id} is not athlete {claim.athlete_id}'s: nothing was stored")


def _update_rest(sync: SyncContext, claim: Claim) -> None:
    """Fetch missing streams; then store and analyse them and mark the events done, in one transaction."""
    with sync.engine.connect() as connection:
        recording, asked_at = activity_store.recording_version(connection, claim.activity_id), now(connection)
    streams = _missing_streams(sync, claim) if ImportStep.STREAMS in sync.kept.steps else None
    with sync.engine.begin() as connection:
        check_fence(connection, claim.fence)
        if recording != activity_store.recording_version(connection, claim.activity_id):
            raise RetriableStravaError(f"activity {claim.activity_id} was changed while its streams were fetched")
        if streams is not None:
            stream_store.store_streams(connection, streams, asked_at)
            quarantine.release_from_quarantine(connection, ImportStep.STREAMS, [claim.activity_id])
        if ImportStep.FIGURES in sync.kept.steps:
            _analyse(connection, claim.activity_id)
        enqueue_ride_mail(connection, claim.fence)
        mark_done(connection, claim.fence)


def _analyse(connection: Connection, activity_id: int) -> None:
    # Loads numerics, which takes time: a deletion or a signed update does without.
    from strava_pipeline.sync.activity_analysis import analyse_stored  # noqa: PLC0415  see above

    analyse_stored(connection, activity_id)


def _missing_streams(sync: SyncContext, claim: Claim) -> Streams | None:
    """Fetch an activity's streams; ``None`` if none are missing. ``NotThereYet`` if Strava may have them later."""
    with sync.engine.connect() as connection:
        samples = stream_store.streams_needed(connection, claim.activity_id)
    if not samples.missing:
        return None
    streams = map_streams(claim.athlete_id, claim.activity_id, {} if samples.by_hand else _fetch_streams(sync, claim))
    if samples.may_come and not streams.point_count:
        message = f"streams of activity {claim.activity_id} of athlete {claim.athlete_id}: Strava has none yet"
        raise NotThereYet(message, waiting_for=WaitingFor.STREAMS)
    return streams


def _fetch_streams(sync: SyncContext, claim: Claim) -> Any:
    try:
        return sync.client.get_streams(claim.athlete_id, claim.activity_id)
    except NotFound as error:
        raise NotThereYet(str(error), waiting_for=WaitingFor.STREAMS) from error


def _handle_not_found(sync: SyncContext, claim: Claim, asked_at: datetime, error: NotFound) -> SyncResult:
    """Settle Strava's 404 as a deletion; ``NotThereYet`` if the activity has yet to appear."""
    with sync.engine.begin() as connection:
        check_fence(connection, claim.fence)
        lock_activities(connection, claim.athlete_id)
        if "delete" in claim.aspect_types:
            start = _delete(connection, claim, asked_at)
        elif has_tombstone(connection, claim.athlete_id, claim.activity_id, claim.event_time):
            start = None
        else:
            raise NotThereYet(str(error), waiting_for=WaitingFor.ACTIVITY) from error
        mark_done(connection, claim.fence)
    return SyncResult(start, "deleted")


def _delete(connection: Connection, claim: Claim, asked_at: datetime) -> datetime | None:
    """Delete the athlete's stored activity and leave a tombstone; returns the start (UTC). Another athlete's stays."""
    start = activity_store.activity_start(connection, claim.athlete_id, claim.activity_id)
    if start is not None:
        delete_for_good(connection, claim.athlete_id, [claim.activity_id])
    if activity_store.owner_of(connection, claim.activity_id) is None:
        add_tombstones(connection, claim.athlete_id, [claim.activity_id], asked_at, "deleted at Strava")
    return start
