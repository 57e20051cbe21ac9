"""One month that fails stops no other; what is about all months stops the step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Engine

from strava_pipeline.errors import (
    AppInactive,
    ConfigurationError,
    DatabaseTooSlow,
    DatabaseUnavailable,
    MissingScope,
    NeedsReauthorization,
    QuotaExhausted,
    RejectedRequest,
    RetriableStravaError,
    WarehouseError,
)
from strava_pipeline.months import Span, month_span
from strava_pipeline.sync.backfill import import_details
from strava_pipeline.sync.context import SpanResult
from strava_pipeline.sync.months_at_work import FailedMonth, MonthsFailed, each_month, raise_failed
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import ImportStep
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed
from strava_pipeline_tests.wishes import failed_steps

AT = datetime(2025, 6, 1, tzinfo=UTC)
YEAR = [month_span(RIDER, datetime(2024, month, 1, tzinfo=UTC)) for month in range(12, 0, -1)]
MARCH = YEAR[9]


def failing(error: BaseException, month: Span = MARCH) -> Callable[[Span], str]:
    def work(span: Span) -> str:
        if span == month:
            raise error
        return span.months

    return work


@pytest.mark.parametrize(
    "error", [WarehouseError("lost most"), RejectedRequest("odd"), DatabaseTooSlow("2 min"), ZeroDivisionError("1 / 0")]
)
def test_one_month_that_fails_stops_no_other(engine: Engine, error: Exception) -> None:
    found = list(each_month(engine, ImportStep.DETAIL, YEAR, failing(error)))
    assert [each for each in found if isinstance(each, str)] == [span.months for span in YEAR if span != MARCH]
    (failed,) = (each for each in found if isinstance(each, FailedMonth))
    assert (failed.span, failed.error) == (MARCH, error)
    (kept,) = failed_steps(engine)
    assert (kept.month, kept.step, kept.failures, kept.error) == (
        date(2024, 3, 1),
        ImportStep.DETAIL,
        1,
        failed.reason,
    )
    assert list(each_month(engine, ImportStep.DETAIL, YEAR, lambda span: span)) == YEAR
    assert failed_steps(engine) == []


@pytest.mark.parametrize(
    "error",
    [
        RetriableStravaError("no connection"),
        QuotaExhausted("used up", retry_at=AT),
        AppInactive("off"),
        NeedsReauthorization("dead"),
        MissingScope("not granted"),
        DatabaseUnavailable("away"),
        ConfigurationError("no key"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_about_one_month_ends_the_step_and_is_no_months_failure(
    engine: Engine, error: BaseException
) -> None:
    done: list[str | FailedMonth] = []
    with pytest.raises(type(error)):
        done.extend(each_month(engine, ImportStep.DETAIL, YEAR, failing(error, YEAR[2])))
    assert failed_steps(engine) == []


def test_the_text_of_a_fault_of_this_program_is_not_stored(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    list(each_month(engine, ImportStep.FIGURES, [MARCH], failing(ValueError("a body of Strava's"))))
    assert failed_steps(engine)[0].error == "ValueError: a fault of this program, see the log of the run"
    (record,) = (record for record in caplog.records if record.exc_info)
    assert record.getMessage().startswith("the step figures of athlete 1001 failed for 2024-03: ValueError")


def test_the_failure_names_months_and_reasons_and_keeps_the_traceback() -> None:
    bug = ZeroDivisionError("1 / 0")
    months = [FailedMonth(span, f"reason {number}", WarehouseError("odd")) for number, span in enumerate(YEAR)]
    with pytest.raises(MonthsFailed) as caught:
        raise_failed(months[:2], 12)
    assert str(caught.value) == "2 of 12 months failed: 2024-12: reason 0; 2024-11: reason 1"
    assert caught.value.failed == {YEAR[0]: "reason 0", YEAR[1]: "reason 1"}
    assert caught.value.__cause__ is None
    with pytest.raises(MonthsFailed) as caught:
        raise_failed([*months[:4], FailedMonth(month_span(7, AT), "a bug", bug)], 30)
    assert str(caught.value) == (
        "5 of 30 months failed: athlete 1001, 2024-12: reason 0; athlete 1001, 2024-11: reason 1;"
        " athlete 1001, 2024-10: reason 2; and 2 more"
    )
    assert caught.value.__cause__ is bug
    with pytest.raises(ZeroDivisionError):
        raise_failed([FailedMonth(MARCH, "a bug", bug)], 1)
    raise_failed([], 12)


def test_a_listing_that_lost_most_of_one_month_replaces_the_others(engine: Engine) -> None:
    strava = StravaStandIn()
    for number in range(1, 13):
        strava.add(number, MARCH.start.replace(day=number))
        strava.add(100 + number, YEAR[number - 1].start)
    sync = strava.sync(engine)
    import_listed(sync, YEAR)
    for number in range(1, 12):
        strava.delete(number)
    strava.delete(112)
    found = list(import_summaries(sync, YEAR))
    assert [each.span for each in found if isinstance(each, FailedMonth)] == [MARCH]
    assert sum(each.deleted for each in found if isinstance(each, SpanResult)) == 1
    assert "allow_mass_delete" in failed_steps(engine)[0].error
    with engine.connect() as connection:
        assert len(connection.execute(activities.select()).all()) == 12 + 11
    import_listed(sync, YEAR, allow_mass_delete=True)
    assert failed_steps(engine) == []


def test_what_has_no_start_is_put_aside_though_the_first_month_fails(
    engine: Engine,
) -> None:
    strava = StravaStandIn()
    june, may = month_span(RIDER, AT), month_span(RIDER, AT.replace(month=5))
    for number in range(1, 13):
        strava.add(number, AT.replace(day=number))
    sync = strava.sync(engine)
    import_listed(sync, [june, may])
    for number in range(1, 13):
        strava.delete(number)
    strava.add(99, AT, start_date="yesterday")
    found = list(import_summaries(sync, [june, may]))
    assert isinstance(found[0], FailedMonth)
    assert isinstance(found[1], SpanResult)
    assert list(found[1].quarantined) == [99]


def test_a_month_that_fails_in_its_details_keeps_what_was_stored_of_it(engine: Engine) -> None:
    strava = StravaStandIn()
    for number in (1, 2, 3):
        strava.add(number, MARCH.start.replace(day=number))
    sync = strava.sync(engine)
    import_listed(sync, [MARCH])
    strava.faults["/activities/2"] = [ZeroDivisionError("1 / 0")]
    for asked in (["/activities/3", "/activities/2"], ["/activities/2", "/activities/1"]):
        strava.new_requests()
        list(each_month(engine, ImportStep.DETAIL, [MARCH], lambda span: import_details(sync, span)))
        assert strava.new_requests() == asked
    assert failed_steps(engine) == []
