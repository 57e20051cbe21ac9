"""A run tells how far it is: in a table, in its tags, in its log; and what has died is not taken for alive."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from strava_pipeline.defs.assets import progress
from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.strava.monitor import Wait
from strava_pipeline.warehouse.progress.job_progress import BackfillProgress, Completeness, backfill_progress
from strava_pipeline.warehouse.schema.history_tables import job_progress
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import activities, activity_details, activity_streams
from strava_pipeline_tests.strava_stand_in import RIDER

CHAIN = (activities, activity_details, activity_streams)
YEAR = {
    "dagster/asset_partition_range_start": f"{RIDER}|2024-01-01",
    "dagster/asset_partition_range_end": f"{RIDER}|2024-12-01",
}


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is told at once."""
    monkeypatch.setattr(progress, "SAVE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(progress, "TAGS_EVERY_SECONDS", 0.0)


@pytest.fixture
def history(location: CodeLocation, eager: None) -> CodeLocation:
    for month in range(1, 7):
        location.strava.add(month, datetime(2024, month, 15, tzinfo=UTC))
    return location


def under_way(engine: Engine) -> list[BackfillProgress]:
    with engine.connect() as connection:
        return backfill_progress(connection)


def test_a_run_that_is_over_is_complete_and_no_longer_under_way(history: CodeLocation, engine: Engine) -> None:
    result = history.materialize(*CHAIN, tags=YEAR)
    assert result.success
    with engine.connect() as connection:
        found = connection.execute(select(job_progress).where(job_progress.c.run_id == result.run_id)).one()
    assert found.finished_at is not None
    assert (found.athlete_id, found.listed, found.detailed, found.streamed) == (RIDER, 6, 6, 6)
    assert (found.span_start, found.span_end) == (datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    assert under_way(engine) == []
    run = history.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["strava/athlete"] == str(RIDER)
    assert run.tags["strava/span"] == "2024-01 to 2024-12"
    assert run.tags["strava/waiting"] == "no"


def test_the_tags_tell_at_once_that_a_wait_begins_and_ends(
    history: CodeLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "TAGS_EVERY_SECONDS", 3600.0)
    seen: list[str] = []
    ask = history.strava.get

    def asked(athlete_id: int, path: str, query: Any = None, **more: Any) -> Any:
        if path == "/activities/4":
            history.syncs[-1].monitor.wait_begins("Strava does not answer", None, 0)
        if path in ("/activities/4", "/activities/5"):
            (run,) = history.instance.get_runs()
            seen.append(run.tags["strava/waiting"])
        return ask(athlete_id, path, query, **more)

    history.strava.get = asked  # type: ignore[method-assign]  # the stand-in is told to look on
    assert history.materialize(*CHAIN, tags=YEAR).success
    assert sorted(seen) == ["Strava does not answer", "no"]


def test_a_wait_right_after_a_request_is_saved_as_it_begins(
    history: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report that the work on the activity begins was saved a moment before."""
    monkeypatch.setattr(progress, "SAVE_EVERY_SECONDS", 2.0)
    seen: list[object] = []
    untils = [datetime(2999, 1, 1, hour, tzinfo=UTC) for hour in (1, 2)]
    ask = history.strava.get

    def asked(athlete_id: int, path: str, query: Any = None, **more: Any) -> Any:
        if path == "/activities/4":
            for until in untils:
                history.syncs[-1].monitor.wait_begins("the day is used up", until, 12.0)
                seen.extend((found.waiting_for, found.waiting_until) for found in under_way(engine))
            (run,) = history.instance.get_runs()
            seen.append(run.tags["strava/waiting"])
        return ask(athlete_id, path, query, **more)

    history.strava.get = asked  # type: ignore[method-assign]  # the stand-in is told to look on
    assert history.materialize(*CHAIN, tags=YEAR).success
    assert seen == [*(("the day is used up", until) for until in untils), "the day is used up"]


@pytest.mark.parametrize(
    ("managed", "level", "told"),
    [([], logging.INFO, 1), (["strava_pipeline"], logging.INFO, 0), (["strava_pipeline"], logging.WARNING, 1)],
    ids=["not managed", "managed", "managed and silent"],
)
def test_a_long_wait_is_one_line_in_the_log_of_a_run_that_lacks_our_loggers(
    history: CodeLocation,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    managed: list[str],
    level: int,
    told: int,
) -> None:
    caplog.set_level(level, "strava_pipeline")
    monkeypatch.setattr(type(history.instance), "managed_python_loggers", managed)
    until = datetime(2999, 1, 1, tzinfo=UTC)
    ask = history.strava.get

    def asked(athlete_id: int, path: str, query: Any = None, **more: Any) -> Any:
        history.syncs[-1].monitor.wait_begins("the day is used up", until, 0)
        return ask(athlete_id, path, query, **more)

    history.strava.get = asked  # type: ignore[method-assign]  # the stand-in is told to look on
    result = history.materialize(activities, tags=YEAR)
    lines = [entry.user_message for entry in history.instance.all_logs(result.run_id)]
    assert lines.count("waiting until 2999-01-01 00:00:00 UTC: the day is used up") == told


def test_while_a_run_waits_the_reason_and_an_estimate_are_seen(history: CodeLocation, engine: Engine) -> None:
    seen: list[BackfillProgress] = []
    until = datetime.now(UTC) + timedelta(minutes=5)
    ask = history.strava.get

    def asked(athlete_id: int, path: str, query: Any = None, **more: Any) -> Any:
        if path == "/activities/4":
            history.syncs[-1].monitor.wait_begins("the day is used up", until, 0)
            seen.extend(under_way(engine))
        return ask(athlete_id, path, query, **more)

    history.strava.get = asked  # type: ignore[method-assign]  # the stand-in is told to look on
    assert history.materialize(*CHAIN, tags=YEAR).success
    (found,) = seen
    assert (found.waiting_for, found.waiting_until) == ("the day is used up", until)
    assert (found.step, found.done) == ("activity_details", Completeness(listed=6, detailed=2, streamed=0))
    assert found.estimated_end is not None
    assert found.estimated_end > datetime.now(UTC) - timedelta(seconds=10)


def test_a_failed_step_is_not_under_way(history: CodeLocation, engine: Engine) -> None:
    history.strava.faults["/activities/3"] = [NeedsReauthorization("dead")]
    assert not history.materialize(*CHAIN, tags=YEAR).success
    assert under_way(engine) == []


def test_a_run_whose_process_died_is_not_under_way_for_long(history: CodeLocation, engine: Engine) -> None:
    result = history.materialize(*CHAIN, tags=YEAR)
    with engine.begin() as connection:
        connection.execute(update(job_progress).values(finished_at=None))
    assert [found.run_id for found in under_way(engine)] == [result.run_id]
    with engine.begin() as connection:
        connection.execute(update(job_progress).values(updated_at=datetime.now(UTC) - timedelta(minutes=4)))
    assert under_way(engine) == []


def test_a_wait_without_an_end_can_be_told(history: CodeLocation, engine: Engine) -> None:
    assert Wait("another run is at it", None).until is None
    assert history.materialize(activities, tags=YEAR).success
