"""Makes stored months equal to a listing without anybody looking on: what a listing may not delete is held back.

:mod:`strava_pipeline.warehouse.imports.deletion_guard` decides that for the listing as a whole. Edits and additions are
written all the same, and the operator's page tells of what was held back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date, timedelta
from functools import partial

from sqlalchemy import Connection

from strava_pipeline.months import Span, add_months, enclosing_span, month_start, months_of
from strava_pipeline.sync.context import SpanResult, SyncContext
from strava_pipeline.sync.listing_buffer import WholeListing
from strava_pipeline.sync.months_at_work import FailedMonth
from strava_pipeline.sync.summaries import Written, read_whole, replace_months, why_held
from strava_pipeline.warehouse.activities import activity_store
from strava_pipeline.warehouse.activities.activity_store import Unlisted
from strava_pipeline.warehouse.activities.quarantine import note_listed_again
from strava_pipeline.warehouse.engine import autocommit, now, retry_transaction
from strava_pipeline.warehouse.imports.deletion_guard import note_compared, note_listed_with
from strava_pipeline.warehouse.imports.edited_months import import_dropped, import_edited
from strava_pipeline.warehouse.imports.histories import history_of, note_history
from strava_pipeline.warehouse.imports.listed_months import listed_months
from strava_pipeline.warehouse.kept import Kept
from strava_pipeline.warehouse.states import ImportStep, UpkeepKind
from strava_pipeline.warehouse.upkeep.due import HISTORY_EVERY, note_done_elsewhere

ReadListing = Callable[[SyncContext, Span], WholeListing]


def import_months(sync: SyncContext, spans: Sequence[Span]) -> Iterator[SpanResult | FailedMonth]:
    """Replace the activities of each span, all of one athlete, by one listing; months that fail are yielded as such."""
    listing = read_whole(sync, enclosing_span(spans))
    held = why_held(sync, listing)
    yield from replace_months(
        sync, listing, spans, unlisted=_policy(held), written=partial(_import_dropped, kept=sync.kept)
    )

    def note(connection: Connection) -> None:
        note_listed_again(connection, listing.span)
        if held is None:
            note_listed_with(connection, listing.span.athlete_id)
        else:
            note_compared(connection, listing.span.athlete_id, held)

    retry_transaction(sync.engine, note)


def import_history(
    sync: SyncContext, whole: Span, read: ReadListing = read_whole, *, written: Written | None = None
) -> Iterator[SpanResult | FailedMonth]:
    """Replace the activities of ``whole``, which begins before any history does, by one listing, newest month first.

    Months before the first activity, listed or stored, are passed over, but for the last month. Once all others were
    worked on, the listing is noted: it tells where the history begins. ``written``: see :func:`.replace_months`; unless
    given, what edited activities lost is imported again.
    """
    listing = read(sync, whole)
    held = why_held(sync, listing)
    stored = retry_transaction(sync.engine, partial(activity_store.first_start, span=whole))
    first = min(filter(None, (listing.first_start, stored)), default=whole.end - timedelta(microseconds=1))
    spans = months_of(Span(whole.athlete_id, first, whole.end))[::-1]
    has_failed = False
    written = written or partial(_import_dropped, kept=sync.kept)
    for result in replace_months(sync, listing, spans, unlisted=_policy(held), written=written):
        has_failed |= isinstance(result, FailedMonth)
        yield result
    begins_on = None if listing.first_start is None else add_months(listing.first_start.date(), 0)

    def note(connection: Connection) -> None:
        note_history(connection, whole.athlete_id, begins_on, listing.asked_at, whole.start.date())
        note_compared(connection, whole.athlete_id, held)
        note_listed_again(connection, whole)
        if not has_failed:
            note_done_elsewhere(connection, whole.athlete_id, UpkeepKind.HISTORY, after=HISTORY_EVERY)

    retry_transaction(sync.engine, note)


def compare_history(
    sync: SyncContext, athlete_id: int, floor: date, read: ReadListing = read_whole
) -> Iterator[SpanResult | FailedMonth]:
    """Compare all that is stored of an athlete with one listing, and write what differs, newest month first.

    Nothing is older than ``floor``, the first day of a month. Months that an import has reached are replaced as a
    whole. Of all others, no activity is added: that is up to an import. What edited months lack then is imported.
    """
    with autocommit(sync.engine) as connection:
        today = now(connection).date()
        whole = Span(athlete_id, month_start(floor), month_start(add_months(today, 1)))
        is_whole = history_of(connection, athlete_id).listed_at is not None
        first = activity_store.first_start(connection, whole)
        reached = {month for month in listed_months(connection, athlete_id) if month >= floor}
    edited = partial(_import_edited, kept=sync.kept)
    if is_whole:
        yield from import_history(sync, whole, read, written=edited)
        return
    months = reached | ({add_months(first.date(), 0)} if first is not None else set())
    if not months:
        return
    listing = read(sync, Span(athlete_id, month_start(min(months)), whole.end))
    held = why_held(sync, listing)
    spans = months_of(listing.span)[::-1]
    whole_months = [span for span in spans if span.start.date() in reached]
    yield from replace_months(sync, listing, whole_months, unlisted=_policy(held), written=edited)
    others = [span for span in spans if span.start.date() not in reached]
    yield from replace_months(sync, listing, others, unlisted=_policy(held), only_stored=True, written=edited)
    retry_transaction(sync.engine, partial(note_compared, athlete_id=athlete_id, held=held))


def _import_dropped(connection: Connection, month: Span, dropped: Collection[ImportStep], *, kept: Kept) -> None:
    import_dropped(connection, month.athlete_id, month.start.date(), kept.of_steps(dropped))


def _import_edited(connection: Connection, month: Span, dropped: Collection[ImportStep], *, kept: Kept) -> None:
    import_edited(connection, month.athlete_id, [month.start.date()], kept.of_steps(dropped), kept)


def _policy(held: str | None) -> Unlisted:
    return Unlisted.DELETE if held is None else Unlisted.KEEP
