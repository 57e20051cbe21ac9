"""A run of a backfill that a database's outage ended is executed again, for as long as the patience lasts."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import make_url, text

from strava_pipeline.cli.backfill import _stop
from strava_pipeline.cli.backfill_runs import BackfillFailed, Databases, opened, run_to_its_end
from strava_pipeline.cli.held_import import HeldImport
from strava_pipeline.cli.instance import open_instance
from strava_pipeline.defs.attempts import LAST_ATTEMPT
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.errors import DatabaseTooSlow, DatabaseUnavailable, StravaPipelineError
from strava_pipeline.local.logins import Login
from strava_pipeline.months import month_span
from strava_pipeline.settings import load_settings
from strava_pipeline.sync.stopping import stop_wanted
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline_tests.conftest import EMPTY, new_database
from strava_pipeline_tests.defs.own_definitions import NAMES
from strava_pipeline_tests.moody_server import MoodyDatabase

# Dagster starts processes that copy what a step prints.
pytestmark = pytest.mark.processes


@dataclass
class Case:
    """An instance whose storage is on the server with the moods, and a job whose step does what the test says."""

    instance: dg.DagsterInstance
    databases: Databases
    step: Callable[[], None] = lambda: None
    executed: int = 0

    def execute(self, run_id: str) -> dg.ExecuteInProcessResult:
        case = self

        @dg.asset(pool=NAMES.pool)
        def work() -> None:
            case.executed += 1
            case.step()

        job = dg.Definitions([work]).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(run_id=run_id, instance=self.instance, raise_on_error=False)

    def run(self, pause: Callable[[float], object] = lambda _: None) -> dg.ExecuteInProcessResult | None:
        self.databases.pause = pause
        return run_to_its_end(self.execute, self.databases)

    def states(self) -> list[str]:
        """What became of the runs, the oldest first."""
        return [run.status.value for run in self.instance.get_runs(ascending=True)]


@pytest.fixture
def case(moody: MoodyDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    # Dagster tries six times to connect, with pauses of eleven seconds in all.
    monkeypatch.setattr("dagster_postgres.utils.calculate_delay", lambda **_: 0)
    with new_database(moody.on.server, EMPTY, Login.DAGSTER) as name:
        monkeypatch.setenv("STRAVA_DATABASE_URL", moody.address)
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", moody.on.server.url(name, Login.DAGSTER))
        engine = open_engine(make_url(moody.address))
        settings = load_settings()
        with open_instance(settings) as instance, opened(settings, engine, instance) as databases:
            yield Case(instance, databases)
        engine.dispose()
        stop_wanted.clear()
        moody.on.start()


def test_a_run_whose_database_was_stopped_is_executed_again(
    moody: MoodyDatabase, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []

    def stop_once() -> None:
        if case.executed == 1:
            moody.on.stop()

    def start_at_the_third_pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            moody.on.start()

    case.step = stop_once
    result = case.run(start_at_the_third_pause)
    assert result is not None
    assert result.success
    assert pauses == [1.0, 2.0, 4.0]
    assert case.states() == ["FAILURE", "SUCCESS"]
    assert case.instance.event_log_storage.get_concurrency_run_ids() == set()
    waits = [record.getMessage() for record in caplog.records if "waiting since" in record.getMessage()]
    assert len(waits) == 1
    assert "connection to server on socket" in waits[0]


@pytest.mark.parametrize("times", [1, 3])
def test_a_run_that_a_database_ended_outside_its_steps_patience_is_executed_again(case: Case, times: int) -> None:
    def fail_at_first() -> None:
        if case.executed <= times:
            raise DatabaseUnavailable("the database at h/d is away: no route")

    case.step = fail_at_first
    result = case.run()
    assert result is not None
    assert result.success
    assert case.states() == ["FAILURE"] * times + ["SUCCESS"]


@pytest.mark.parametrize(
    "error",
    # A step that says the first has waited for as long as it may.
    [DatabaseUnavailable("away for a day"), DatabaseTooSlow("a lock"), StravaPipelineError("a fault")],
    ids=repr,
)
def test_any_other_failure_is_the_runs_end(case: Case, error: StravaPipelineError) -> None:
    def fail() -> None:
        with translate_faults(LAST_ATTEMPT):
            raise error

    case.step = fail
    result = case.run()
    assert result is not None
    assert not result.success
    assert case.executed == 1


def test_a_backfill_gives_up_after_its_patience_and_says_why(moody: MoodyDatabase, case: Case) -> None:
    case.databases.patience = timedelta(0)
    case.step = moody.on.stop
    with pytest.raises(BackfillFailed, match=r"gave up after 0\.0 h: connection to server .* run the same command"):
        case.run()


def test_a_look_between_two_runs_waits_for_both_databases(moody: MoodyDatabase, case: Case) -> None:
    pauses: list[float] = []

    def start(seconds: float) -> None:
        pauses.append(seconds)
        moody.on.start()

    def look() -> tuple[int, int]:
        with case.databases.engine.connect() as connection:
            return connection.execute(text("SELECT 7")).scalar_one(), case.instance.get_runs_count()

    case.databases.pause = start
    moody.on.stop()
    assert case.databases.patiently(look) == (7, 0)
    assert pauses == [1.0]
    with pytest.raises(ZeroDivisionError):
        case.databases.patiently(lambda: 1 // 0)


def test_who_is_asked_to_stop_waits_no_longer(moody: MoodyDatabase, case: Case) -> None:
    case.step = moody.on.stop
    assert case.run(lambda _: stop_wanted.set()) is None
    assert case.executed == 1


def test_who_interrupts_a_backfill_in_an_outage_is_answered_at_once(
    moody: MoodyDatabase, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_dagster(*_: object) -> None:
        raise AssertionError("Dagster tries to connect for eleven seconds")

    monkeypatch.setattr("strava_pipeline.cli.backfill.cancel_own_runs", ask_dagster)
    moody.on.stop()
    held = HeldImport(case.databases.engine, athlete_id=7, floor=date(2008, 1, 1), import_id=1)
    told = _stop(Future(), case.databases, held, month_span(7, datetime(2026, 1, 1, tzinfo=UTC)), signal.SIGINT)
    assert told == (
        "interrupted (the database does not answer); what is stored is kept, and the import goes on by itself"
        " (strava-pipeline import pause 7 stops it); or run the same command to go on"
    )
