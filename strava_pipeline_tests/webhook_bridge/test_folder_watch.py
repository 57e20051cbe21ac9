"""The bridge launches a run for files that rest: one for each athlete at a time, and with pauses for what stays."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.sync.files_folder import RESTS_SECONDS
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.placed import PlacedLoopback
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.sync.dropped import drop
from strava_pipeline_tests.webhook_bridge.dagster_stand_in import DagsterStandIn
from webhook_bridge import folder_watch
from webhook_bridge.dagster_server import DagsterUnavailable
from webhook_bridge.folder_watch import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, FolderWatch

OTHER = 2002


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dagster(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterStandIn]:
    stand_in = DagsterStandIn()
    with PlacedLoopback() as loopback:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        loopback.answer = stand_in.answer
        yield stand_in


@pytest.fixture
def root(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    monkeypatch.setenv("STRAVA_FILES_FOLDER", str(folder))
    connect_riders(engine, RIDER, OTHER)
    return folder


@pytest.fixture
def watch(root: Path, dagster: DagsterStandIn, engine: Engine, clock: Clock) -> FolderWatch:
    return FolderWatch(load_settings(), engine, clock=clock)


def rest(watch: FolderWatch, clock: Clock) -> int:
    """Two looks, between which files come to rest; how many runs were launched."""
    launched = watch.look()
    clock.now += RESTS_SECONDS
    return launched + watch.look()


def test_each_athlete_whose_files_rest_has_a_run(
    watch: FolderWatch, dagster: DagsterStandIn, root: Path, clock: Clock
) -> None:
    drop(root, f"{RIDER}/one.fit")
    drop(root, f"{RIDER}/two.fit")
    drop(root, f"{OTHER}/one.fit")
    assert watch.look() == 0
    assert dagster.asked == 0
    clock.now += RESTS_SECONDS
    assert watch.look() == 2
    first, second = dagster.launches
    assert first["selector"]["jobName"] == "strava_files_import"
    assert first["runConfigData"] == {"ops": {"strava_take_files": {"config": {"athlete_id": RIDER}}}}
    assert second["executionMetadata"]["tags"] == [{"key": "strava/athlete", "value": str(OTHER)}]


def test_without_files_nobody_asks_dagster(watch: FolderWatch, dagster: DagsterStandIn, clock: Clock) -> None:
    assert rest(watch, clock) == 0
    assert dagster.asked == 0


def test_one_run_at_a_time_for_an_athlete(
    watch: FolderWatch, dagster: DagsterStandIn, root: Path, clock: Clock
) -> None:
    drop(root, f"{RIDER}/one.fit")
    assert rest(watch, clock) == 1
    dagster.runs["run-1"] = "STARTED"
    (root / str(RIDER) / "one.fit").unlink()
    drop(root, f"{RIDER}/two.fit")
    assert rest(watch, clock) == 0
    dagster.runs["run-1"] = "SUCCESS"
    assert watch.look() == 1


def test_few_runs_are_to_come_at_a_time(
    watch: FolderWatch, dagster: DagsterStandIn, root: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_watch, "MOST_AT_ONCE", 2)
    for athlete_id in (1, 2, 3, 4):
        drop(root, f"{athlete_id}/one.fit")
    assert rest(watch, clock) == 2
    dagster.runs |= {"run-1": "QUEUED", "run-2": "QUEUED"}
    assert watch.look() == 0
    dagster.runs["run-1"] = "SUCCESS"
    (root / "1" / "one.fit").unlink()
    assert watch.look() == 1
    assert len(dagster.launches) == 3


def test_what_stays_after_its_run_is_tried_after_growing_pauses_and_told_once(
    watch: FolderWatch, dagster: DagsterStandIn, root: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    drop(root, f"{RIDER}/stays.fit")
    assert rest(watch, clock) == 1
    pause = FIRST_PAUSE_SECONDS
    for number in range(1, 12):
        dagster.runs[f"run-{number}"] = "SUCCESS"
        clock.now += pause - 1
        assert watch.look() == 0
        clock.now += 1
        assert watch.look() == 1
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    assert [record.getMessage() for record in caplog.records] == [
        f"1 file(s) of athlete {RIDER} are still in the watched folder after their run: see the log of run run-1"
    ]
    # A new file waits for no pause.
    dagster.runs["run-12"] = "SUCCESS"
    drop(root, f"{RIDER}/new.fit")
    assert rest(watch, clock) == 1


def test_a_launch_that_dagster_refuses_is_tried_with_the_next_look(
    watch: FolderWatch, dagster: DagsterStandIn, root: Path, clock: Clock
) -> None:
    drop(root, f"{RIDER}/one.fit")
    dagster.refusal = (500, b"")
    with pytest.raises(DagsterUnavailable):
        rest(watch, clock)
    dagster.refusal = None
    assert watch.look() == 1


def test_what_is_amiss_is_told_once_and_again_after_its_end(
    watch: FolderWatch, root: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    loose = drop(root, "ride.fit")
    for _ in range(3):
        assert rest(watch, clock) == 0
    loose.unlink()
    watch.look()
    root.rename(root.with_name("away"))
    watch.look()
    watch.look()
    told = [record.getMessage() for record in caplog.records]
    assert [line.partition(":")[0] for line in told] == [
        f"files in {root} itself are not read, as there is not one athlete alone",
        "the watched folder is as it should be again",
        "STRAVA_FILES_FOLDER",
    ]


def test_files_of_an_athlete_who_has_left_launch_nothing(
    watch: FolderWatch, dagster: DagsterStandIn, root: Path, clock: Clock, engine: Engine
) -> None:
    connect_riders(engine, 7, state="revoked")
    drop(root, "7/one.fit")
    assert rest(watch, clock) == 0
    assert dagster.asked == 0


def test_the_thread_looks_until_it_is_stopped(
    root: Path, dagster: DagsterStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(folder_watch, "LOOK_SECONDS", 0.01)
    watch = FolderWatch(load_settings(), engine, clock=clock)
    drop(root, f"{RIDER}/one.fit")
    watch.start()

    def launched() -> bool:
        clock.now += RESTS_SECONDS
        dagster.runs = {f"run-{number}": "STARTED" for number in range(1, 9)}
        return len(dagster.launches) == 1

    eventually(launched, "a run that takes the file")
    watch.stop()
    assert not watch.has_ended
