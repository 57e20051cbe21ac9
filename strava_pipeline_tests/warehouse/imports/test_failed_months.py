"""Months that fail are kept by step, with growing pauses, until they succeed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine

from strava_pipeline.months import month_span
from strava_pipeline.warehouse.imports.failed_months import (
    note_failed,
    note_succeeded,
)
from strava_pipeline.warehouse.states import ImportStep
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.wishes import failed_steps

JUNE = month_span(RIDER, datetime(2025, 6, 1, tzinfo=UTC))
JULY = month_span(RIDER, datetime(2025, 7, 1, tzinfo=UTC))
OTHER = month_span(RIDER + 1, JUNE.start)


def test_pauses_are_five_minutes_then_half_an_hour_then_a_day(engine: Engine) -> None:
    pauses = []
    for number in range(1, 6):
        with engine.begin() as connection:
            note_failed(connection, JUNE, ImportStep.DETAIL, f"try {number}\nof some")
        (found,) = failed_steps(engine)
        assert (found.failures, found.error) == (number, f"try {number} of some")
        pauses.append(found.retry_at - found.failed_at)
    day = timedelta(days=1)
    assert pauses == [timedelta(minutes=5), timedelta(minutes=30), day, day, day]


def test_a_success_ends_the_failures_of_its_step_and_month_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        for span in (JUNE, JULY, OTHER):
            for step in (ImportStep.DETAIL, ImportStep.STREAMS):
                note_failed(connection, span, step, "odd")
        note_succeeded(connection, JUNE, ImportStep.DETAIL)
        note_succeeded(connection, OTHER, ImportStep.DETAIL)
    assert [(found.month, found.step) for found in failed_steps(engine)] == [
        (date(2025, 7, 1), ImportStep.DETAIL),
        (date(2025, 7, 1), ImportStep.STREAMS),
        (date(2025, 6, 1), ImportStep.STREAMS),
    ]
