"""Months of what was handed in: derived anew from the tables, without a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from sqlalchemy import Connection, Engine

from strava_pipeline.months import Span
from strava_pipeline.sync.context import SpanResult
from strava_pipeline.sync.months_at_work import FailedMonth, each_month
from strava_pipeline.warehouse.archives.imports import has_handed_in
from strava_pipeline.warehouse.archives.merging import merge
from strava_pipeline.warehouse.archives.overview import ids_of_span
from strava_pipeline.warehouse.engine import autocommit, retry_transaction
from strava_pipeline.warehouse.states import ImportStep
from strava_pipeline.warehouse.tokens.grants import is_archive_only

# What a step says of an athlete who never connected.
NOT_ASKED = "nothing: the athlete never connected, and what is stored was handed in"


def asks_strava(engine: Engine, athlete_id: int) -> bool:
    """Whether Strava is asked for an athlete at all, or everything was handed in."""
    with autocommit(engine) as connection:
        return not is_archive_only(connection, athlete_id)


def derive_months(engine: Engine, spans: Sequence[Span]) -> Iterator[SpanResult | FailedMonth]:
    """Derive each span's activities, all of one athlete, anew from what was handed in; months that fail are yielded."""

    def derive(span: Span) -> SpanResult:
        return retry_transaction(engine, partial(_derived, span=span))

    yield from each_month(engine, ImportStep.SUMMARY, spans, derive)


def read_pending(engine: Engine, span: Span) -> SpanResult:
    """Read recordings of a span's activities that were handed in and are to be read, before anything is asked for."""
    with autocommit(engine) as connection:
        if not has_handed_in(connection, span.athlete_id):
            return SpanResult(span, stored=0)
    from strava_pipeline.sync.archive_recordings import read_recordings  # noqa: PLC0415  loads numerics, rarely needed

    found = read_recordings(engine, span)
    return SpanResult(span, stored=found.stored, quarantined=found.unread)


def _derived(connection: Connection, span: Span) -> SpanResult:
    merged = merge(connection, span.athlete_id, ids_of_span(connection, span))
    unchanged = len(merged.activity_ids - merged.changed)
    return SpanResult(span, stored=len(merged.changed), deleted=len(merged.deleted), unchanged=unchanged)
