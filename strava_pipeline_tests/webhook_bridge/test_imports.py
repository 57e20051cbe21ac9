"""The bridge launches imports: each once, the newest month in its own job, again when a launch got lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from strava_pipeline.import_runs import CANCELING_SECONDS
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.states import MadeBy
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.placed import PlacedLoopback
from strava_pipeline_tests.strava.loopback import Loopback, reply
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.wishes import FLOOR, change, launch, wish, wish_for
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable
from webhook_bridge.dagster_tasks import DagsterTasks
from webhook_bridge.imports import launch_imports

MAY, JUNE = date(2025, 5, 1), date(2025, 6, 1)


def answer(kind: str, **more: Any) -> Any:
    return reply({"data": {"answer": {"__typename": kind} | more}})


LAUNCHED = answer("LaunchRunSuccess", run={"id": "run-1"})


def runs(*statuses: str, changed_s_ago: float = 0.0) -> Any:
    more: dict[str, Any] = {"startTime": None, "updateTime": time.time() - changed_s_ago, "tags": []}
    results = [{"runId": f"run-{place}", "status": status} | more for place, status in enumerate(statuses)]
    return answer("Runs", results=results)


@pytest.fixture
def dagster(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    connect_riders(engine, RIDER)
    with PlacedLoopback() as loopback:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        yield loopback


def launch_due(engine: Engine) -> int:
    return launch_imports(DagsterServer.from_settings(load_settings()), engine, FLOOR)


def test_what_is_due_is_launched_once_each_in_its_job(dagster: Loopback, engine: Engine) -> None:
    newest, older = wish_for(engine), wish_for(engine, MAY, JUNE, by=MadeBy.COMMAND)
    dagster.answers(LAUNCHED)
    assert launch_due(engine) == 2
    first, second = (json.loads(asked.body)["variables"]["params"] for asked in dagster.asked)
    assert (first["selector"]["jobName"], second["selector"]["jobName"]) == (
        "strava_newest_month",
        "strava_import_history",
    )
    assert first["runConfigData"] == {
        "ops": {"strava_bring_newest_month": {"config": {"import_id": newest, "launch_no": 1, "athlete_id": RIDER}}}
    }
    assert first["executionMetadata"]["tags"] == [
        {"key": "strava/athlete", "value": str(RIDER)},
        {"key": "strava/import", "value": str(newest)},
        {"key": "strava/launch", "value": "1"},
    ]
    assert wish(engine, older).run_id == "run-1"
    assert launch_due(engine) == 0
    assert len(dagster.asked) == 2


def test_a_launch_that_dagster_refuses_is_due_again_and_not_counted(dagster: Loopback, engine: Engine) -> None:
    """Such as while the code location does not load, be it for a day."""
    import_id, other = wish_for(engine), wish_for(engine, MAY, JUNE)
    dagster.answers(answer("PipelineNotFoundError", message="no such job"))
    for number in range(1, 4):
        with pytest.raises(DagsterUnavailable, match="no such job"):
            launch_due(engine)
        stored = wish(engine, import_id)
        assert (stored.state, stored.attempts, stored.launch_no) == ("due", 0, number)
        # One refusal is enough: the others are not tried.
        assert wish(engine, other).launch_no == 0
        with engine.connect() as connection:
            assert stored.next_at - now(connection) <= timedelta(seconds=10)
        change(engine, import_id, next_at=LONG_AGO)
    dagster.answers(LAUNCHED)
    assert launch_due(engine) == 2


def test_a_run_whose_launch_got_no_answer_does_not_run_twice(dagster: Loopback, engine: Engine) -> None:
    import_id = wish_for(engine)
    dagster.answers(reply(None))
    with pytest.raises(DagsterUnavailable):
        launch_due(engine)
    change(engine, next_at=LONG_AGO)
    dagster.answers(LAUNCHED)
    assert launch_due(engine) == 1
    # The first run, if there is one, has number 1.
    assert wish(engine, import_id).launch_no == 2


@pytest.mark.parametrize(
    ("known", "state", "paused_by", "launch_no"),
    [
        (runs("QUEUED"), "launched", None, 1),
        (runs("STARTED"), "launched", None, 1),
        # Its end is waited for: a person's cancel is not lost.
        # An hour is left, however slow the tests are.
        (runs("CANCELING", changed_s_ago=CANCELING_SECONDS - 3600.0), "launched", None, 1),
        # A worker that died brings no end.
        (runs("CANCELING", changed_s_ago=CANCELING_SECONDS), "due", "cancel", 1),
        (runs("CANCELED"), "due", "cancel", 1),
        (runs("FAILURE"), "due", None, 1),
        # Deleted, or from before Dagster's database was restored.
        (runs(), "launched", None, 2),
    ],
)
def test_a_launch_that_does_not_begin_is_looked_after(
    dagster: Loopback, engine: Engine, known: Any, state: str, paused_by: str | None, launch_no: int
) -> None:
    import_id = wish_for(engine)
    assert launch(engine) is not None
    change(engine, lease_until=LONG_AGO)
    dagster.answer = lambda asked: known if "runsOrError" in asked.body.decode() else LAUNCHED
    launch_due(engine)
    stored = wish(engine, import_id)
    assert (stored.state, stored.paused_by, stored.launch_no) == (state, paused_by, launch_no)


def test_while_dagster_is_away_nothing_changes(settings: Settings, engine: Engine) -> None:
    connect_riders(engine, RIDER)
    import_id = wish_for(engine)
    launch(engine)
    change(engine, lease_until=LONG_AGO)
    before = wish(engine, import_id)
    with pytest.raises(DagsterUnavailable):
        launch_due(engine)
    assert wish(engine, import_id) == before


def test_the_bridges_thread_launches_what_is_asked_for(dagster: Loopback, engine: Engine) -> None:
    dagster.answers(LAUNCHED)
    tasks = DagsterTasks(load_settings(), engine)
    tasks.start()
    import_id = wish_for(engine)
    tasks.wake()
    eventually(lambda: wish(engine, import_id).run_id == "run-1", "the import is launched")
    tasks.stop()
