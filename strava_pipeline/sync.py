"""Brings activities up to date: fetch, store, analyse. Backfills and webhooks both end here.

Each activity is committed before the next is asked for, and what is stored and current is skipped, so that
a run that dies keeps its work and a repeated one sends no request twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Engine

from strava_pipeline.access import open_client
from strava_pipeline.analysis.figures import key_figures
from strava_pipeline.analysis.track import track_from_streams
from strava_pipeline.errors import MissingScope, NotFound, RejectedRequest, RetriableStravaError
from strava_pipeline.settings import Settings
from strava_pipeline.strava.athlete_payload import stats_rows, zone_rows
from strava_pipeline.strava.client import StravaClient
from strava_pipeline.strava.payload import (
    activity_id,
    athlete_row,
    detail_rows,
    digest,
    gear_rows,
    summary_row,
)
from strava_pipeline.strava.quota import Lane
from strava_pipeline.strava.streams import stream_row
from strava_pipeline.warehouse import activities as store
from strava_pipeline.warehouse import streams as stream_store
from strava_pipeline.warehouse.activities import Payload, Span
from strava_pipeline.warehouse.athletes import store_athlete, store_gear, store_stats, store_zones
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.revoked import refuse_waiting_for_revoked

log = logging.getLogger(__name__)

JsonObject = dict[str, Any]
Entry = TypeVar("Entry", bound=tuple[int, Any])
# Whoever sleeps looks up this often, whether the athlete has disconnected.
SLICE_SECONDS = 20.0
# One activity can answer 500 for days; when several in a row do, it is Strava that is down.
FAILURES_IN_A_ROW = 3


@dataclass
class Pace:
    """Spreads requests over batches: ``size`` activities, batches at least ``interval_s`` seconds apart."""

    size: int
    interval_s: float
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _in_batch: int = 0
    _batch_began: float = 0.0

    def wait(self, is_still_wanted: Callable[[], None] = lambda: None) -> None:
        """Called before each activity; sleeps where a new batch must not start yet.

        ``is_still_wanted`` is asked now and then meanwhile; what it raises ends the wait.
        """
        if self._in_batch == self.size:
            rest = self._batch_began + self.interval_s - self.clock()
            if rest > 0:
                log.info("batch of %d activities done: the next one starts in %.0f s", self.size, rest)
            while (rest := self._batch_began + self.interval_s - self.clock()) > 0:
                self.sleep(min(rest, SLICE_SECONDS))
                is_still_wanted()
            self._in_batch = 0
        if self._in_batch == 0:
            self._batch_began = self.clock()
        self._in_batch += 1


@dataclass(frozen=True)
class Sync:
    """What bringing activities up to date needs: Strava, the warehouse, and a pace."""

    client: StravaClient
    engine: Engine
    pace: Pace


def open_sync(settings: Settings, engine: Engine, lane: Lane, max_wait: timedelta) -> Sync:
    """Everything that bringing activities up to date needs, as configured."""
    pace = Pace(settings.import_batch_size, settings.import_batch_interval_seconds)
    return Sync(open_client(settings, engine, lane, max_wait), engine, pace)


@dataclass(frozen=True)
class SpanResult:
    """What became of one span: activities ``stored``, ``deleted`` ones, and odd ones by id with the reason."""

    span: Span
    stored: int
    deleted: int = 0
    quarantined: dict[int, str] = field(default_factory=dict)


def import_athlete(sync: Sync, athlete_id: int) -> int:
    """Store the athlete's profile, gear, totals and zones with three requests; returns the number of bikes and shoes.

    Totals or zones that Strava does not give, or that do not map, are left out.
    """
    asked_at = _ask(sync)
    body = sync.client.get_athlete(athlete_id)
    gear = gear_rows(athlete_id, body)
    with sync.engine.begin() as connection:
        store_athlete(connection, athlete_row(body), asked_at)
        store_gear(connection, gear, asked_at)
    for what, import_more in (("totals", _import_stats), ("zones", _import_zones)):
        try:
            import_more(sync, athlete_id)
        except (MissingScope, NotFound, RejectedRequest) as error:
            log.warning("%s of athlete %d are left out: %s", what, athlete_id, error)
    return len(gear)


def _import_stats(sync: Sync, athlete_id: int) -> None:
    asked_at = _ask(sync)
    rows = stats_rows(athlete_id, sync.client.get_athlete_stats(athlete_id))
    with sync.engine.begin() as connection:
        store_stats(connection, rows, asked_at)


def _import_zones(sync: Sync, athlete_id: int) -> None:
    asked_at = _ask(sync)
    zones = zone_rows(athlete_id, sync.client.get_athlete_zones(athlete_id))
    with sync.engine.begin() as connection:
        for kind in store_zones(connection, athlete_id, zones, asked_at):
            log.info("athlete %d has new zones of %s", athlete_id, kind)


def import_summaries(sync: Sync, spans: Sequence[Span], *, allow_mass_delete: bool = False) -> Iterator[SpanResult]:
    """Replace each of one athlete's spans by what Strava lists, after one listing over all of them."""
    asked_at = _ask(sync)
    start, end = min(span.start for span in spans), max(span.end for span in spans)
    bodies = list(sync.client.list_activities(spans[0].athlete_id, start, end))
    rows, odd = _mapped(spans[0].athlete_id, bodies)
    listed = {*rows, *odd}
    for span in spans:
        ours = {number: row for number, row in rows.items() if span.start <= row[0]["start_date"] < span.end}
        with sync.engine.begin() as connection:
            deleted = store.replace_span(
                connection,
                span,
                [row for row, _ in ours.values()],
                [payload for _, payload in ours.values()],
                listed=listed,
                asked_at=asked_at,
                allow_mass_delete=allow_mass_delete,
            )
        yield SpanResult(span, stored=len(ours), deleted=deleted, quarantined=odd)


def import_details(sync: Sync, span: Span) -> SpanResult:
    """Fetch and store the detail of every activity of a span whose stored one is missing or out of date."""
    with sync.engine.connect() as connection:
        wanted = store.without_current_detail(connection, span)

    def fetch(entry: tuple[int, str]) -> None:
        _store_detail(sync, span.athlete_id, entry[0], listed_digest=entry[1])

    return _each(sync, span, wanted, fetch)


def import_streams(sync: Sync, span: Span) -> SpanResult:
    """Fetch and store the streams a span lacks; what was entered by hand has none and costs no request."""
    with sync.engine.connect() as connection:
        wanted = store.without_streams(connection, span)
    by_hand = [entry for entry, manual in wanted if manual]
    with sync.engine.begin() as connection:
        asked_at = now(connection)
        for entry in by_hand:
            stream_store.store_streams(connection, stream_row(span.athlete_id, entry, {}), asked_at)

    def fetch(entry: tuple[int, bool]) -> None:
        _store_streams(sync, span.athlete_id, entry[0])

    fetched = _each(sync, span, [entry for entry in wanted if not entry[1]], fetch)
    return SpanResult(span, stored=fetched.stored + len(by_hand), quarantined=fetched.quarantined)


def analyse_span(engine: Engine, span: Span) -> SpanResult:
    """Compute the figures of every activity of a span whose streams have none yet."""
    with engine.connect() as connection:
        wanted = stream_store.not_analysed(connection, span)
    for entry in wanted:
        analyse_activity(engine, entry)
    return SpanResult(span, stored=len(wanted))


def import_activity(sync: Sync, athlete_id: int, activity: int) -> datetime:
    """Fetch, store and analyse one activity anew; returns when it starts (UTC). ``NotFound`` if it is gone."""
    start = _store_detail(sync, athlete_id, activity)
    _renew_samples(sync, athlete_id, activity)
    return start


def remove_if_gone(sync: Sync, athlete_id: int, activity: int) -> datetime | None:
    """Delete an activity that Strava says is gone; one that is still there is stored anew.

    Returns when it starts (UTC), or ``None`` if it was never stored.
    """
    try:
        start = _store_detail(sync, athlete_id, activity)
    except NotFound:
        with sync.engine.begin() as connection:
            stored = store.start_of(connection, activity)
            store.delete_activities(connection, [activity])
        return stored
    _renew_samples(sync, athlete_id, activity)
    return start


def analyse_activity(engine: Engine, activity: int) -> None:
    """Compute and store the figures of one activity from its stored streams, if it has any."""
    with engine.begin() as connection:
        streams = stream_store.streams_of(connection, activity)
        if streams is not None and streams["point_count"] > 0:
            figures = asdict(key_figures(track_from_streams(streams)))
            stream_store.store_analysis(connection, streams, figures)


def _store_detail(sync: Sync, athlete_id: int, activity: int, *, listed_digest: str | None = None) -> datetime:
    asked_at = _ask(sync)
    body = sync.client.get_activity(athlete_id, activity)
    rows = detail_rows(athlete_id, body)
    payload = Payload(activity, athlete_id, body, listed_digest or digest(body))
    with sync.engine.begin() as connection:
        store.store_detail(connection, rows, payload, asked_at)
    start: datetime = rows.activity["start_date"]
    return start


def _renew_samples(sync: Sync, athlete_id: int, activity: int) -> None:
    _store_streams(sync, athlete_id, activity)
    analyse_activity(sync.engine, activity)


def _store_streams(sync: Sync, athlete_id: int, activity: int) -> None:
    asked_at = _ask(sync)
    row = stream_row(athlete_id, activity, sync.client.get_streams(athlete_id, activity))
    with sync.engine.begin() as connection:
        stream_store.store_streams(connection, row, asked_at)


def _each(sync: Sync, span: Span, entries: Sequence[Entry], fetch: Callable[[Entry], None]) -> SpanResult:
    """Fetch activity by activity; an odd one is put aside with its reason, and the rest goes on."""
    quarantined: dict[int, str] = {}
    in_a_row = 0
    for entry in entries:
        sync.pace.wait(partial(refuse_waiting_for_revoked, sync.engine, span.athlete_id))
        try:
            fetch(entry)
            in_a_row = 0
        except NotFound:
            # Deleted or made private since it was listed: the next listing settles it.
            log.info("activity %d of athlete %d is no longer there", entry[0], span.athlete_id)
        except (RejectedRequest, RetriableStravaError) as error:
            in_a_row += 1
            if in_a_row == FAILURES_IN_A_ROW or not _is_about_one_activity(error):
                raise
            log.warning("put aside: %s", error)
            quarantined[entry[0]] = str(error)
    return SpanResult(span, stored=len(entries) - len(quarantined), quarantined=quarantined)


def _is_about_one_activity(error: RejectedRequest | RetriableStravaError) -> bool:
    """A 5xx or an answer that does not map, not a dead line or a used-up quota."""
    return isinstance(error, RejectedRequest) or (type(error) is RetriableStravaError and error.status is not None)


def _mapped(
    athlete_id: int, bodies: Sequence[JsonObject]
) -> tuple[dict[int, tuple[JsonObject, Payload]], dict[int, str]]:
    """Rows and payloads of listed activities by id; those that do not map, with the reason."""
    rows: dict[int, tuple[JsonObject, Payload]] = {}
    odd: dict[int, str] = {}
    for body in bodies:
        number = activity_id(body)
        try:
            rows[number] = (
                summary_row(athlete_id, body),
                Payload(number, athlete_id, body, digest(body)),
            )
        except RejectedRequest as error:
            log.warning("put aside: %s", error)
            odd[number] = str(error)
    return rows, odd


def _ask(sync: Sync) -> datetime:
    """The database's time before a request: what orders answers that arrive in another order."""
    with sync.engine.connect() as connection:
        return now(connection)
