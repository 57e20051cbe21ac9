"""Failures are named from the third one on, and only as long as something lacks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, delete

from strava_pipeline.months import Span, month_span
from strava_pipeline.sync.backfill import analyse_span, import_details, import_streams
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.activities.deletion import delete_activities
from strava_pipeline.warehouse.activities.lake_months import note_in_lake
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.failed_months import NAMED_FROM, note_failed, note_succeeded
from strava_pipeline.warehouse.imports.still_failing import FailedStep, still_failing
from strava_pipeline.warehouse.schema.tables import activity_streams
from strava_pipeline.warehouse.states import ImportStep
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn

MAY, JUNE, JULY = (month_span(RIDER, datetime(2025, month, 1, tzinfo=UTC)) for month in (5, 6, 7))
OTHER = month_span(RIDER + 1, JUNE.start)


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """A ride in June that is listed, beside rides at the very ends of the months around."""
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for number, start in ((1, MAY.end - timedelta(seconds=1)), (2, JUNE.start), (3, JULY.start)):
        strava.add(number, start)
    list(import_summaries(strava.sync(engine), [MAY, JUNE, JULY]))
    for month in (MAY, JULY):
        complete(strava, engine, month)
    return strava


def complete(strava: StravaStandIn, engine: Engine, month: Span) -> None:
    import_details(strava.sync(engine), month)
    import_streams(strava.sync(engine), month)
    analyse_span(engine, month)


def fail(engine: Engine, step: ImportStep, span: Span = JUNE, times: int = 1) -> None:
    with engine.begin() as connection:
        for _ in range(times):
            note_failed(connection, span, step, "odd")


def named(engine: Engine, failures: int = 1) -> list[FailedStep]:
    with engine.connect() as connection:
        return still_failing(connection, [RIDER], failures=failures)


def test_a_month_is_named_from_its_third_failure_in_a_row_on(engine: Engine) -> None:
    fail(engine, ImportStep.SUMMARY, times=2)
    assert named(engine, NAMED_FROM) == []
    with engine.begin() as connection:
        note_succeeded(connection, JUNE, ImportStep.SUMMARY)
    for count in (0, 0, 1, 1):
        fail(engine, ImportStep.SUMMARY)
        assert len(named(engine, NAMED_FROM)) == count


def test_they_are_told_by_month_the_newest_first(engine: Engine) -> None:
    for span in (MAY, JULY, OTHER):
        fail(engine, ImportStep.SUMMARY, span)
    assert [(step.month, step.step, step.failures, step.error) for step in named(engine)] == [
        (date(2025, 7, 1), ImportStep.SUMMARY, 1, "odd"),
        (date(2025, 5, 1), ImportStep.SUMMARY, 1, "odd"),
    ]


@pytest.mark.parametrize("step", [ImportStep.DETAIL, ImportStep.STREAMS, ImportStep.FIGURES])
def test_a_failure_is_over_once_something_else_brought_what_lacked(
    strava: StravaStandIn, engine: Engine, step: ImportStep
) -> None:
    if step is ImportStep.FIGURES:
        import_details(strava.sync(engine), JUNE)
        import_streams(strava.sync(engine), JUNE)
    fail(engine, step)
    assert [each.step for each in named(engine)] == [step]
    complete(strava, engine, JUNE)
    assert named(engine) == []
    if step is ImportStep.STREAMS:
        with engine.begin() as connection:
            connection.execute(delete(activity_streams).where(activity_streams.c.activity_id == 2))
        assert [each.step for each in named(engine)] == [step]


@pytest.mark.usefixtures("strava")
def test_a_failure_is_over_once_the_activity_is_gone(engine: Engine) -> None:
    fail(engine, ImportStep.DETAIL)
    fail(engine, ImportStep.STREAMS)
    assert len(named(engine)) == 2
    with engine.begin() as connection:
        delete_activities(connection, [2])
    assert named(engine) == []


def test_a_listing_that_failed_is_over_once_the_month_was_listed(strava: StravaStandIn, engine: Engine) -> None:
    fail(engine, ImportStep.SUMMARY)
    assert len(named(engine)) == 1
    list(import_summaries(strava.sync(engine), [MAY]))
    assert len(named(engine)) == 1
    list(import_summaries(strava.sync(engine), [JUNE]))
    assert named(engine) == []


@pytest.mark.usefixtures("strava")
def test_a_file_that_could_not_be_written_is_over_once_it_was(engine: Engine) -> None:
    with engine.begin() as connection:
        note_in_lake(connection, JUNE, now(connection))
    fail(engine, ImportStep.LAKE)
    assert len(named(engine)) == 1
    with engine.begin() as connection:
        note_in_lake(connection, JUNE, now(connection))
    assert named(engine) == []
