"""The bridge launches archive imports that wait: one of each athlete, each once, again when a run got lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, update

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.archives.imports import ArchiveImport, begin_import, list_imports, load_import
from strava_pipeline.warehouse.archives.launches import (
    DIED,
    GOES_ON_FOR,
    MOST_LAUNCHES,
    WAITS_FOR,
    claim_to_launch,
    try_again,
)
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.archive_tables import archive_imports
from strava_pipeline.warehouse.states import ArchiveKind, CameBy
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.placed import PlacedLoopback
from strava_pipeline_tests.strava.loopback import Loopback
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.webhook_bridge.test_imports import LAUNCHED, answer, runs
from webhook_bridge.archive_launches import TOO_MANY, launch_archive_imports
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable

OTHER = 2002
TAKEN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def dagster(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    connect_riders(engine, RIDER, OTHER)
    with PlacedLoopback() as loopback:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        yield loopback


def handed_in(
    engine: Engine, content: str = "a", athlete: int = RIDER, *, waiting: bool = True, place: str | None = "/uploads/a"
) -> int:
    with engine.begin() as connection:
        return begin_import(
            connection,
            athlete_id=athlete,
            kind=ArchiveKind.ARCHIVE,
            name=f"export_{content}.zip",
            content_hash=content,
            taken_at=TAKEN,
            came_by=CameBy.UPLOAD,
            place=place,
            waiting=waiting,
        ).id


def launch_due(engine: Engine) -> int:
    return launch_archive_imports(DagsterServer.from_settings(load_settings()), engine)


def change(engine: Engine, import_id: int, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(archive_imports).where(archive_imports.c.id == import_id).values(values))


def ago(engine: Engine, back: timedelta) -> datetime:
    with engine.connect() as connection:
        return now(connection) - back


def stored(engine: Engine, import_id: int) -> ArchiveImport:
    with engine.connect() as connection:
        return load_import(connection, import_id)


def launched_ids(dagster: Loopback) -> list[int]:
    asked = (json.loads(each.body)["variables"] for each in dagster.asked)
    configs = (each["params"]["runConfigData"]["ops"] for each in asked if "runConfigData" in each.get("params", {}))
    return [config["strava_import_handed_in"]["config"]["import_id"] for config in configs]


def test_what_waits_is_launched_once_and_one_of_each_athlete(dagster: Loopback, engine: Engine) -> None:
    first, _, other = handed_in(engine), handed_in(engine, "b"), handed_in(engine, athlete=OTHER)
    dagster.answers(LAUNCHED)
    assert launch_due(engine) == 2
    assert launched_ids(dagster) == [first, other]
    params = json.loads(dagster.asked[0].body)["variables"]["params"]
    assert params["selector"]["jobName"] == "strava_archive_import"
    assert params["executionMetadata"]["tags"] == [
        {"key": "strava/athlete", "value": str(RIDER)},
        {"key": "strava/lane", "value": "backfill"},
        {"key": "dagster/priority", "value": "-10"},
        {"key": "strava/archive_import", "value": str(first)},
    ]
    assert launch_due(engine) == 0


def test_the_next_one_of_an_athlete_comes_when_the_first_has_ended(dagster: Loopback, engine: Engine) -> None:
    first, second = handed_in(engine), handed_in(engine, "b")
    dagster.answers(LAUNCHED)
    launch_due(engine)
    change(engine, first, state="running", alive_at=ago(engine, timedelta(0)))
    assert launch_due(engine) == 0
    change(engine, first, state="done")
    assert launch_due(engine) == 1
    assert launched_ids(dagster) == [first, second]


def test_of_two_bridges_one_launches(dagster: Loopback, engine: Engine) -> None:
    handed_in(engine)
    with engine.begin() as one, engine.begin() as other:
        assert claim_to_launch(one) is not None
        assert claim_to_launch(other) is None


def test_a_launch_that_dagster_refuses_does_not_count(dagster: Loopback, engine: Engine) -> None:
    waiting = handed_in(engine)
    dagster.answers(answer("PipelineNotFoundError", message="no such job"))
    for _ in range(2 * MOST_LAUNCHES):
        with pytest.raises(DagsterUnavailable, match="no such job"):
            launch_due(engine)
    dagster.answers(LAUNCHED)
    assert launch_due(engine) == 1
    assert stored(engine, waiting).state == "waiting"


@pytest.mark.parametrize(("known", "launches"), [(runs("QUEUED"), 1), (runs("FAILURE"), 2), (runs(), 2)])
def test_a_run_that_does_not_begin_is_looked_after(
    dagster: Loopback, engine: Engine, known: Any, launches: int
) -> None:
    waiting = handed_in(engine)
    dagster.answer = lambda asked: known if "runsOrError" in asked.body.decode() else LAUNCHED
    assert launch_due(engine) == 1
    change(engine, waiting, alive_at=LONG_AGO)
    assert launch_due(engine) == launches - 1
    assert launched_ids(dagster) == [waiting] * launches
    assert launch_due(engine) == 0


def test_runs_that_never_begin_are_given_up(dagster: Loopback, engine: Engine) -> None:
    waiting = handed_in(engine)
    dagster.answer = lambda asked: runs("FAILURE") if "runsOrError" in asked.body.decode() else LAUNCHED
    for _ in range(2 * MOST_LAUNCHES):
        launch_due(engine)
        change(engine, waiting, alive_at=LONG_AGO)
    assert len(launched_ids(dagster)) == MOST_LAUNCHES
    found = stored(engine, waiting)
    assert (found.state, found.failure) == ("failed", TOO_MANY)


def test_one_whose_run_died_goes_on_in_another(dagster: Loopback, engine: Engine) -> None:
    died = handed_in(engine, waiting=False)
    dagster.answers(LAUNCHED)
    assert launch_due(engine) == 0
    change(engine, died, alive_at=LONG_AGO)
    assert launch_due(engine) == 1
    assert launched_ids(dagster) == [died]
    assert handed_in(engine, waiting=False) == died


def test_what_is_stuck_for_good_has_failed(dagster: Loopback, engine: Engine) -> None:
    by_command = handed_in(engine, waiting=False, place=None)
    deadly = handed_in(engine, athlete=OTHER, waiting=False)
    change(engine, by_command, alive_at=LONG_AGO)
    change(engine, deadly, alive_at=LONG_AGO, begun_at=ago(engine, GOES_ON_FOR + timedelta(hours=1)))
    old = handed_in(engine, "b")
    change(engine, old, begun_at=ago(engine, WAITS_FOR + timedelta(hours=1)))
    dagster.answers(LAUNCHED)
    assert launch_due(engine) == 0
    assert [stored(engine, each).failure for each in (by_command, deadly)] == [DIED, DIED]
    assert stored(engine, old).failure == "no run began it within 7 days: hand it in again"


def test_one_that_failed_waits_again_if_its_file_is_there(dagster: Loopback, engine: Engine) -> None:
    failed = handed_in(engine)
    change(engine, failed, state="failed", failure="no room", begun_at=LONG_AGO, ended_at=LONG_AGO)
    with engine.begin() as connection:
        assert try_again(connection, failed)
        assert not try_again(connection, failed)
    dagster.answers(LAUNCHED)
    assert launch_due(engine) == 1
    gone = handed_in(engine, "b", place=None)
    change(engine, gone, state="failed", failure="no room")
    with engine.begin() as connection:
        assert not try_again(connection, gone)
        assert [each.state for each in list_imports(connection, RIDER)] == ["failed", "waiting"]


def test_what_failed_long_ago_and_is_handed_in_again_waits_from_now_on(dagster: Loopback, engine: Engine) -> None:
    first = handed_in(engine)
    change(engine, first, state="failed", begun_at=ago(engine, WAITS_FOR + timedelta(days=1)), failure="it was cut off")
    assert handed_in(engine) == first
    dagster.answers(LAUNCHED)
    assert launch_due(engine) == 1
    # Its run begins, and dies: another one goes on.
    change(engine, first, state="running", alive_at=LONG_AGO, options={})
    assert launch_due(engine) == 1
    assert stored(engine, first).state == "waiting"


def test_to_take_up_what_died_gives_it_no_more_time(engine: Engine, dagster: Loopback) -> None:
    first = handed_in(engine)
    begun_at = ago(engine, timedelta(hours=5))
    change(engine, first, begun_at=begun_at, alive_at=LONG_AGO)
    handed_in(engine, waiting=False)
    assert stored(engine, first).begun_at == begun_at
