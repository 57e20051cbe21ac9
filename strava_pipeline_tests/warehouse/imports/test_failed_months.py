"""Months that fail are kept by step, with growing pauses, until they succeed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine

from strava_pipeline.months import month_span
from strava_pipeline.warehouse.imports.failed_months import (
    NAMED_FROM,
    FailedStep,
    failed_steps,
    note_failed,
    note_succeeded,
)
from strava_pipeline.warehouse.states import ImportStep
from strava_pipeline_tests.strava_stand_in import RIDER

JUNE = month_span(RIDER, datetime(2025, 6, 1, tzinfo=UTC))
JULY = month_span(RIDER, datetime(2025, 7, 1, tzinfo=UTC))
OTHER = month_span(RIDER + 1, JUNE.start)


def stored(engine: Engine, *, failures: int = 1) -> list[FailedStep]:
    with engine.connect() as connection:
        return failed_steps(connection, [RIDER], failures=failures)


def test_pauses_are_five_minutes_then_half_an_hour_then_a_day(engine: Engine) -> None:
    pauses = []
    for number in range(1, 6):
        with engine.begin() as connection:
            note_failed(connection, JUNE, ImportStep.DETAIL, f"try {number}\nof some")
        (found,) = stored(engine)
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
    assert [(found.month, found.step) for found in stored(engine)] == [
        (date(2025, 7, 1), ImportStep.DETAIL),
        (date(2025, 7, 1), ImportStep.STREAMS),
        (date(2025, 6, 1), ImportStep.STREAMS),
    ]


def test_a_month_is_named_from_its_third_failure_in_a_row_on(engine: Engine) -> None:
    def fail() -> None:
        with engine.begin() as connection:
            note_failed(connection, JUNE, ImportStep.FIGURES, "odd")

    fail()
    fail()
    assert stored(engine, failures=NAMED_FROM) == []
    with engine.begin() as connection:
        note_succeeded(connection, JUNE, ImportStep.FIGURES)
    for named in (0, 0, 1, 1):
        fail()
        assert len(stored(engine, failures=NAMED_FROM)) == named
