"""Analyses what an archive import has stored, where no Dagster does: figures by month, and the training load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from sqlalchemy import Engine

from strava_pipeline.months import Span, add_months, month_start, months_of
from strava_pipeline.sync.backfill import NotAnalysed, analyse_span
from strava_pipeline.warehouse.archives.import_counts import stored_history
from strava_pipeline.warehouse.engine import autocommit


def analyse_month(engine: Engine, span: Span) -> int:
    """Compute what the activities of a month lack of figures; returns how many could not be analysed."""
    try:
        analyse_span(engine, span)
    except NotAnalysed as error:
        return len(error.failed)
    return 0


def analyse_rest(engine: Engine, athlete_id: int) -> Iterator[Span]:
    """Compute what all months of an athlete lack of figures, the newest first, then the training load; yield each."""
    from strava_pipeline.sync.training_load import update_training_load  # noqa: PLC0415  loads numerics

    with autocommit(engine) as connection:
        history = stored_history(connection, athlete_id)
    if history.first is None or history.last is None:
        return
    whole = Span(athlete_id, month_start(history.first.astimezone(UTC)), add_months(month_start(history.last), 1))
    for span in months_of(whole)[::-1]:
        with suppress(NotAnalysed):
            analyse_span(engine, span)
        yield span
    update_training_load(engine, athlete_id, datetime.now(UTC).date())
