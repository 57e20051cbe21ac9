"""Imports where some assets are left out: these cost no request, and are waited for by nobody."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import Engine, Table, func, select

from strava_pipeline.errors import NotAnswered
from strava_pipeline.kept_assets import kept_of
from strava_pipeline.months import month_span
from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.context import SpanResult, open_sync
from strava_pipeline.sync.history import compare_history
from strava_pipeline.sync.imports import ImportHooks, work_on_import
from strava_pipeline.warehouse.activities.quarantine import count_quarantined
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports import runs
from strava_pipeline.warehouse.imports.failed_months import note_failed
from strava_pipeline.warehouse.imports.wishes import list_imports
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.progress.import_progress import import_progress
from strava_pipeline.warehouse.progress.import_status import import_statuses
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, gear, laps
from strava_pipeline.warehouse.states import HISTORY_STEPS, ImportStep
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.wishes import change, failed_steps, hurried, launch, wish, wish_for

FLOOR = date(2015, 1, 1)
LISTING = "/athlete/activities"
SUMMARIES = kept_of(["activities"])
DETAILS = kept_of(["activities", "activity_details"])
PROFILES = kept_of(["athletes", "gear"])
ALL_STEPS = tuple(ImportStep)


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    connect_riders(engine, RIDER)


@pytest.fixture
def strava() -> StravaStandIn:
    """Strava with a ride of this month, and one of three months ago."""
    strava = StravaStandIn()
    first = datetime.now(UTC).replace(day=1, hour=0, minute=1)
    strava.add(2, first, gear={"id": "b1", "name": "Blue"})
    strava.add(1, first - timedelta(days=80), gear={"id": "b1", "name": "Blue"})
    return strava


def never(step: ImportStep, _: SpanResult, kept: Kept) -> None:
    assert step in kept.steps


def run_all(strava: StravaStandIn, engine: Engine, kept: Kept) -> int:
    """Run until nothing is due, one run of several after the other; returns how many runs that took."""
    number = 0
    while found := launch(engine, FLOOR):
        number += 1
        assert number < 10
        task = runs.begin(engine, found, f"run-{found.launch_no}", FLOOR, kept)
        if task is not None:
            hooks = ImportHooks(lambda _: None, partial(never, kept=kept), partial(SpanResult, stored=0))
            work_on_import(strava.sync(engine, kept), task, FLOOR, hooks)
    return number


def count(engine: Engine, table: Table) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_without_details_only_listings_are_asked_for(strava: StravaStandIn, engine: Engine) -> None:
    wished = wish_for(engine, steps=ALL_STEPS, profile=True)
    run_all(strava, engine, SUMMARIES)
    assert set(strava.new_requests()) == {LISTING}
    assert count(engine, activities) == 2
    assert wish(engine, wished).whole_at is not None


def test_without_streams_each_activity_costs_one_request(strava: StravaStandIn, engine: Engine) -> None:
    wish_for(engine, steps=ALL_STEPS, profile=True)
    run_all(strava, engine, DETAILS)
    asked = strava.new_requests()
    assert sorted(path for path in asked if path != LISTING) == ["/activities/1", "/activities/2"]
    assert count(engine, laps) == 4


def test_gear_that_a_detail_tells_of_is_left_out_with_the_athletes(strava: StravaStandIn, engine: Engine) -> None:
    wish_for(engine)
    run_all(strava, engine, DETAILS)
    assert count(engine, gear) == 0


def test_without_activities_only_the_profile_is_asked_for(strava: StravaStandIn, engine: Engine) -> None:
    wished = wish_for(engine, steps=ALL_STEPS, profile=True)
    assert run_all(strava, engine, PROFILES) == 1
    assert strava.new_requests() == ["/athlete", f"/athletes/{RIDER}/stats", "/athlete/zones"]
    hurried(engine, wished)
    assert launch(engine, FLOOR) is None
    found = wish(engine, wished)
    assert (found.steps, found.begins_newest) == ((), False)
    assert found.whole_at is not None


def test_an_import_is_shown_as_complete_and_its_run_says_what_is_left_out(
    strava: StravaStandIn, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    wished = wish_for(engine, steps=ALL_STEPS, profile=True)
    with caplog.at_level(logging.INFO):
        run_all(strava, engine, SUMMARIES)
    told = f"import {wished} of athlete {RIDER}: left out, since these are not kept here: "
    assert [line for line in caplog.messages if "left out" in line] == [
        f"{told}detail, streams, figures, lake, profile"
    ]
    found = wish(engine, wished)
    assert (found.steps, found.profile) == ((ImportStep.SUMMARY,), False)
    with engine.connect() as connection:
        (status,) = import_statuses(connection)
        progress = import_progress(connection, [RIDER])[RIDER]
    assert (str(status), status.is_complete) == ("complete", True)
    assert (progress.listed, progress.requests, progress.requests_left) == (2, 0, 0)


def test_an_import_that_is_asked_for_anew_is_narrowed_anew(strava: StravaStandIn, engine: Engine) -> None:
    wish_for(engine)
    run_all(strava, engine, SUMMARIES)
    strava.new_requests()
    wished = wish_for(engine, profile=True)
    assert wish(engine, wished).steps == HISTORY_STEPS
    run_all(strava, engine, SUMMARIES)
    assert set(strava.new_requests()) == {LISTING}
    assert wish(engine, wished).steps == (ImportStep.SUMMARY,)


def test_what_is_kept_again_is_fetched_once_it_is_asked_for(strava: StravaStandIn, engine: Engine) -> None:
    wish_for(engine)
    run_all(strava, engine, SUMMARIES)
    strava.new_requests()
    wish_for(engine)
    run_all(strava, engine, DETAILS)
    assert {"/activities/1", "/activities/2"} < set(strava.new_requests())


def test_what_only_lacks_what_is_left_out_costs_a_run_and_no_request(strava: StravaStandIn, engine: Engine) -> None:
    wished = wish_for(engine)
    run_all(strava, engine, DETAILS)
    change(engine, wished, steps=list(HISTORY_STEPS), whole_at=None)
    hurried(engine, wished)
    strava.new_requests()
    assert run_all(strava, engine, DETAILS) == 1
    assert strava.new_requests() == []
    assert wish(engine, wished).whole_at is not None


def test_everything_is_kept_unless_somebody_chooses(strava: StravaStandIn, engine: Engine) -> None:
    wished = wish_for(engine, profile=True)
    found = launch(engine, FLOOR)
    assert found is not None
    task = runs.begin(engine, found, "run-1", FLOOR)
    assert task is not None
    assert (task.steps, task.profile) == (HISTORY_STEPS, True)
    assert wish(engine, wished).steps == HISTORY_STEPS


def test_failures_of_what_is_left_out_are_forgotten(strava: StravaStandIn, engine: Engine) -> None:
    strava.faults["/activities/1/streams"] = [NotAnswered("no answer") for _ in range(9)]
    wished = wish_for(engine)
    run_all(strava, engine, EVERYTHING)
    with engine.begin() as connection:
        assert count_quarantined(connection) == {RIDER: 1}
        span = month_span(RIDER, now(connection).replace(day=1, hour=0, minute=0, second=0, microsecond=0))
        note_failed(connection, span, ImportStep.LAKE, "no room")
        note_failed(connection, span, ImportStep.DETAIL, "no answer")
    wish_for(engine)
    run_all(strava, engine, DETAILS)
    with engine.connect() as connection:
        assert count_quarantined(connection) == {}
    assert [failed.step for failed in failed_steps(engine)] == [ImportStep.DETAIL]
    assert wish(engine, wished).steps == (ImportStep.SUMMARY, ImportStep.DETAIL)


def test_edited_months_want_no_more_than_is_kept(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava.sync(engine, DETAILS), RIDER, 1)
    strava.edit(1, name="Edited", elapsed_time=400)
    list(compare_history(strava.sync(engine, DETAILS), RIDER, FLOOR))
    with engine.connect() as connection:
        assert [each.steps for each in list_imports(connection)] == [(ImportStep.DETAIL,)]


def test_edited_months_want_nothing_where_only_summaries_are_kept(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    strava.edit(1, name="Edited", elapsed_time=400)
    list(compare_history(strava.sync(engine, SUMMARIES), RIDER, FLOOR))
    with engine.connect() as connection:
        assert list_imports(connection) == []
        assert connection.execute(select(activities.c.name)).scalar() == "Edited"


def test_what_a_crop_drops_of_steps_that_are_left_out_is_not_imported_again(
    strava: StravaStandIn, engine: Engine
) -> None:
    """Told by an import's listing, by upkeep's, and by a detail."""
    wished = wish_for(engine)
    run_all(strava, engine, DETAILS)
    for seconds, tell in (
        (400, lambda: wish_for(engine)),
        (500, lambda: list(compare_history(strava.sync(engine, DETAILS), RIDER, FLOOR))),
    ):
        bring_up_to_date(strava.sync(engine), RIDER, 1)  # from before: with streams and figures
        assert count(engine, activity_streams) == 1
        strava.edit(1, elapsed_time=seconds)
        tell()
        run_all(strava, engine, DETAILS)
        assert count(engine, activity_streams) == 0
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    strava.listed_unlike[1] = {"elapsed_time": 500, "name": "Edited"}
    strava.edit(1, elapsed_time=600, name="Edited")
    wish_for(engine)
    run_all(strava, engine, DETAILS)
    assert count(engine, activity_streams) == 0
    with engine.connect() as connection:
        assert [each.id for each in list_imports(connection)] == [wished]


def test_the_context_says_what_is_kept(settings: Settings, engine: Engine) -> None:
    opened = open_sync(settings, engine, Lane.LIVE, timedelta(0), kept=SUMMARIES)
    assert opened.kept == SUMMARIES
    assert open_sync(settings, engine, Lane.LIVE, timedelta(0)).kept == EVERYTHING
