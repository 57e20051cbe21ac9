"""Replaces stored summaries, month by month, by one listing of Strava's that was read to its end.

Whether a listing may delete what it lacks is decided by :mod:`strava_pipeline.warehouse.imports.deletion_guard`: here
a month is refused, in :mod:`strava_pipeline.sync.history` the deletion is held back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from strava_pipeline.months import Span, enclosing_span
from strava_pipeline.redaction import get_logger
from strava_pipeline.sync.context import SpanResult, SyncContext
from strava_pipeline.sync.handed_in_months import asks_strava, derive_months
from strava_pipeline.sync.listing_buffer import Mapped, WholeListing, read_listing
from strava_pipeline.sync.months_at_work import FailedMonth, each_month
from strava_pipeline.warehouse.activities import activity_store, outdated, quarantine
from strava_pipeline.warehouse.activities.activity_store import Unlisted
from strava_pipeline.warehouse.activities.summary_changes import changed_summaries
from strava_pipeline.warehouse.engine import autocommit, now, retry_transaction
from strava_pipeline.warehouse.imports.deletion_guard import accept_what_is_shown, note_listed_with, why_not_delete
from strava_pipeline.warehouse.imports.listed_months import note_listed
from strava_pipeline.warehouse.revoked import grant_of, refuse_answer_to_other_grant
from strava_pipeline.warehouse.states import ImportStep

log = get_logger(__name__)

# What is to be done where a span was written: connection, span, and steps of which something was dropped.
Written = Callable[[Connection, Span, Collection[ImportStep]], None]


def import_summaries(
    sync: SyncContext, spans: Sequence[Span], *, allow_mass_delete: bool = False
) -> Iterator[SpanResult | FailedMonth]:
    """Replace the activities of each span, all of one athlete, by those that Strava lists; one listing for all spans.

    A summary without changes is not written again. A span that cannot be replaced is yielded as failed, the next goes
    on. Unless ``allow_mass_delete``, a span fails that would lose many activities, and each that would lose any if the
    listing as a whole may delete nothing (:mod:`.deletion_guard`). With it, the athlete's permissions of now count from
    then on. Of an athlete who never connected nothing is asked: the months are derived from what was handed in.
    """
    if not asks_strava(sync.engine, spans[0].athlete_id):
        yield from derive_months(sync.engine, spans)
        return
    listing = read_whole(sync, enclosing_span(spans))
    if allow_mass_delete:
        unlisted = Unlisted.DELETE
    else:
        unlisted = Unlisted.REFUSE_MANY if why_held(sync, listing) is None else Unlisted.REFUSE
    yield from replace_months(sync, listing, spans, unlisted=unlisted)
    note = accept_what_is_shown if allow_mass_delete else note_listed_with
    retry_transaction(sync.engine, partial(note, athlete_id=listing.span.athlete_id))


def why_held(sync: SyncContext, listing: WholeListing) -> str | None:
    """Return why a listing may delete nothing, and log it; ``None`` if it may."""
    # The listing has cost requests: a short outage of the database must not lose it.
    look = partial(why_not_delete, span=listing.span, listed=listing.ids, asked_at=listing.asked_at)
    held = retry_transaction(sync.engine, look)
    if held is not None:
        log.warning("athlete %d, %s: %s", listing.span.athlete_id, listing.span.months, held)
    return held


def read_whole(sync: SyncContext, span: Span) -> WholeListing:
    """Read Strava's listing of a span to its end."""
    with autocommit(sync.engine) as connection:
        asked_at, grant = now(connection), grant_of(connection, span.athlete_id)
    return read_listing(span, asked_at, grant, sync.client.list_activities(span.athlete_id, span.start, span.end))


def replace_months(
    sync: SyncContext,
    listing: WholeListing,
    spans: Iterable[Span],
    *,
    unlisted: Unlisted,
    only_stored: bool = False,
    written: Written | None = None,
) -> Iterator[SpanResult | FailedMonth]:
    """Replace the activities of each span by those of a listing that covers them all.

    ``only_stored``: no activity is added, only those that are stored are replaced. ``written`` is called for a span in
    which something was written, in its transaction, with the steps of which edited activities lost what was stored.
    ``GrantChanged`` if the athlete has connected again since the listing was asked for.
    """
    asked_at, whole = listing.asked_at, listing.span
    unplaced = dict(listing.unplaced)

    def as_listed(connection: Connection, span: Span, rows: dict[int, Mapped], odd: dict[int, str]) -> SpanResult:
        refuse_answer_to_other_grant(connection, span.athlete_id, listing.grant)
        if only_stored:
            stored = activity_store.which_are_stored(connection, rows)
            rows = {activity_id: row for activity_id, row in rows.items() if activity_id in stored}
        kept = {
            activity_id: row
            for activity_id, row in rows.items()
            if sync.keep_from is None or _starts(row) >= sync.keep_from
        }
        changed = changed_summaries(connection, kept)
        replaced = activity_store.replace_span(
            connection,
            span,
            [row for row, _ in changed.values()],
            [payload for _, payload in changed.values()],
            listed=listing.ids,
            asked_at=asked_at,
            unlisted=unlisted,
        )
        activity_store.touch_unchanged(connection, kept.keys() - changed.keys(), asked_at)
        quarantine.release_from_quarantine(connection, ImportStep.SUMMARY, list(rows))
        if not only_stored:
            quarantine.add_to_quarantine(connection, whole, ImportStep.SUMMARY, odd)
            note_listed(connection, span, asked_at)
        absent, unchanged = activity_store.count_absent(connection, kept, asked_at), len(kept) - len(changed)
        if changed and written is not None:
            outdated_detail = {ImportStep.DETAIL} if outdated.any_outdated_detail(connection, span) else set()
            written(connection, span, replaced.dropped | outdated_detail)
        return SpanResult(
            span, len(changed), deleted=replaced.deleted, unchanged=unchanged, absent=absent, quarantined=odd
        )

    def release(connection: Connection) -> None:
        refuse_answer_to_other_grant(connection, whole.athlete_id, listing.grant)
        quarantine.release_unlisted(connection, whole, listing.ids, sync.keep_from, asked_at)

    # The listing has cost requests: a short outage of the database must not lose it.
    retry_transaction(sync.engine, release)

    def replace_listed(span: Span) -> SpanResult:
        rows, odd = listing.within(span.start, span.end)
        result = retry_transaction(sync.engine, partial(as_listed, span=span, rows=rows, odd=unplaced | odd))
        unplaced.clear()
        return result

    yield from each_month(sync.engine, ImportStep.SUMMARY, spans, replace_listed)


def _starts(mapped: Mapped) -> datetime:
    start: datetime = mapped[0]["start_date"]
    return start
