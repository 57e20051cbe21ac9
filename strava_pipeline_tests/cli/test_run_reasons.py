"""Why a run failed is told in a line, wherever it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from strava_pipeline.cli.run_reasons import kinds, reasons
from strava_pipeline.defs.attempts import Attempts
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.errors import RejectedRequest
from strava_pipeline.months import month_span
from strava_pipeline.sync.months_at_work import FailedMonth, MonthsFailed

MONTH = month_span(7, datetime(2025, 6, 1, tzinfo=UTC))
REFUSED = RejectedRequest("activity 12: Strava's field id is missing\nand more")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def job_of(*steps: Callable[[], None]) -> dg.JobDefinition:
    """A job of these steps, none of which waits for another."""

    def asset_of(number: int, step: Callable[[], None]) -> dg.AssetsDefinition:
        @dg.asset(name=f"step_{number}")
        def work() -> None:
            step()

        return work

    assets = [asset_of(number, step) for number, step in enumerate(steps)]
    return dg.Definitions(assets).resolve_implicit_global_asset_job_def()


def run(instance: dg.DagsterInstance, *steps: Callable[[], None]) -> str:
    """The id of a run of these steps."""
    return job_of(*steps).execute_in_process(instance=instance, raise_on_error=False).run_id


def refuse() -> None:
    with translate_faults(Attempts()):
        raise REFUSED


def fail_for_a_month() -> None:
    with translate_faults(Attempts()):
        raise MonthsFailed([FailedMonth(MONTH, "activity 13 is odd", REFUSED)], 12)


def divide() -> None:
    1 / 0  # noqa: B018  it fails


def test_the_reasons_of_all_failed_steps_are_told_each_once(instance: dg.DagsterInstance) -> None:
    run_id = run(instance, refuse, fail_for_a_month, refuse, divide, lambda: None)
    assert sorted(reasons(instance, run_id)) == [
        "1 of 12 months failed: 2025-06: activity 13 is odd",
        "ZeroDivisionError: division by zero",
        "activity 12: Strava's field id is missing and more",
    ]
    assert kinds(instance, run_id) == {"RejectedRequest", "MonthsFailed", ""}


def test_a_run_that_failed_outside_its_steps_tells_why(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/home/dagster/storage")

    monkeypatch.setattr("dagster._core.executor.in_process.inner_plan_execution_iterator", full)
    run_id = run(instance, lambda: None)
    assert reasons(instance, run_id) == ["OSError: [Errno 28] No space left on device: '/home/dagster/storage'"]


def test_a_run_that_another_process_marked_as_failed_tells_its_words(instance: dg.DagsterInstance) -> None:
    made = instance.create_run_for_job(job_of(refuse))
    instance.report_run_failed(made, "its process was killed")
    assert reasons(instance, made.run_id) == ["its process was killed"]


def test_without_any_word_the_run_is_named(instance: dg.DagsterInstance) -> None:
    assert reasons(instance, "some-run") == ["see run some-run in Dagster"]
