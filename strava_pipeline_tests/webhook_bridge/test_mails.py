"""The bridge launches a run for mails that are due and that nobody takes: soon, once, and not without a pause."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, insert, update

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.placed import PlacedLoopback
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.webhook_bridge.dagster_stand_in import DagsterStandIn
from webhook_bridge import dagster_tasks, mails
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable
from webhook_bridge.dagster_tasks import DagsterTasks
from webhook_bridge.mails import BETWEEN_LAUNCHES_SECONDS, LEFT_TO_ITS_RUN, MailRuns

SECOND = timedelta(seconds=1)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(mails, "time", clock)
    return clock


@pytest.fixture
def dagster(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterStandIn]:
    stand_in = DagsterStandIn()
    with PlacedLoopback() as loopback:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        loopback.answer = stand_in.answer
        yield stand_in


@pytest.fixture
def runs(dagster: DagsterStandIn, engine: Engine) -> MailRuns:
    return MailRuns(DagsterServer.from_settings(load_settings()), engine)


def due_since(engine: Engine, time: timedelta) -> None:
    at = datetime.now(UTC) - time
    with engine.begin() as connection:
        connection.execute(
            insert(notifications).values(
                activity_id=7, athlete_id=RIDER, kind="ride_summary", state="pending", next_try_at=at
            )
        )


@pytest.mark.usefixtures("clock")
def test_a_mail_that_nobody_takes_is_sent_by_a_run(runs: MailRuns, dagster: DagsterStandIn, engine: Engine) -> None:
    assert not runs.launch_if_due()
    due_since(engine, LEFT_TO_ITS_RUN + SECOND)
    assert runs.launch_if_due()
    (launch,) = dagster.launches
    assert launch["selector"]["jobName"] == "strava_send_notifications"
    assert dagster.tags() == {}


@pytest.mark.usefixtures("clock")
def test_a_rides_own_run_takes_its_mail_first(runs: MailRuns, dagster: DagsterStandIn, engine: Engine) -> None:
    due_since(engine, timedelta())
    assert not runs.launch_if_due()
    assert dagster.asked == 0


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("ahead", [timedelta(seconds=5), timedelta(hours=1)])
def test_a_mail_that_is_to_be_tried_later_waits(
    runs: MailRuns, dagster: DagsterStandIn, engine: Engine, ahead: timedelta
) -> None:
    due_since(engine, -ahead)
    assert not runs.launch_if_due()
    assert dagster.asked == 0


def test_one_run_at_a_time_and_not_without_a_pause(
    runs: MailRuns, dagster: DagsterStandIn, engine: Engine, clock: Clock
) -> None:
    due_since(engine, timedelta(minutes=5))
    assert runs.launch_if_due()
    dagster.runs["run-1"] = "QUEUED"
    for seconds in (1, BETWEEN_LAUNCHES_SECONDS, BETWEEN_LAUNCHES_SECONDS):
        clock.now += seconds
        assert not runs.launch_if_due()
    # It ended without having taken the mail: another follows, and no third one at once.
    dagster.runs["run-1"] = "FAILURE"
    assert runs.launch_if_due()
    assert not runs.launch_if_due()
    assert len(dagster.launches) == 2


def test_a_launch_that_dagster_refuses_is_tried_again(
    runs: MailRuns, dagster: DagsterStandIn, engine: Engine, clock: Clock
) -> None:
    due_since(engine, timedelta(minutes=5))
    dagster.refusal = (500, b"")
    with pytest.raises(DagsterUnavailable):
        runs.launch_if_due()
    dagster.refusal = None
    clock.now += 1
    assert runs.launch_if_due()


def test_the_thread_launches_it_though_imports_are_refused(
    dagster: DagsterStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise DagsterUnavailable("Dagster refused: an import")

    monkeypatch.setattr(dagster_tasks, "launch_imports", refuse)
    due_since(engine, timedelta(minutes=5))
    tasks = DagsterTasks(load_settings(), engine)
    tasks.start()
    eventually(lambda: len(dagster.launches) == 1, "a run that sends the mail")
    tasks.stop()


def test_what_is_sent_is_not_due_any_more(runs: MailRuns, dagster: DagsterStandIn, engine: Engine) -> None:
    due_since(engine, timedelta(minutes=5))
    with engine.begin() as connection:
        connection.execute(update(notifications).values(state="sent", next_try_at=None))
    assert not runs.launch_if_due()
    assert dagster.asked == 0
