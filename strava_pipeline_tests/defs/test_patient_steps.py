"""A step of a backfill waits for the database where it stands; what it has fetched is stored once that is back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.execution.plan.active import ActiveExecution
from sqlalchemy import Engine, make_url, text

from strava_pipeline.defs import attempts, steps
from strava_pipeline.defs.attempts import Attempts, attempts_of
from strava_pipeline.defs.steps import StepPatience, translate_faults
from strava_pipeline.errors import DatabaseTooSlow, DatabaseUnavailable, RetriableStravaError, StravaPipelineError
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline_tests.moody_server import MoodyDatabase


@dataclass
class Case:
    """A step that does what the test says, and what it met."""

    engine: Engine
    patience: timedelta = timedelta(hours=24)
    pauses: list[float] = field(default_factory=list)
    attempts: int = 0

    def run(self, step: Callable[[], None]) -> dg.ExecuteInProcessResult:
        @dg.op
        def work(context: dg.OpExecutionContext) -> None:
            self.attempts += 1
            with translate_faults(attempts_of(context), StepPatience(self.engine, self.patience)):
                step()

        @dg.job
        def job() -> None:
            work()

        return job.execute_in_process(raise_on_error=False)

    def write(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("DELETE FROM strava.gear"))


@pytest.fixture
def case(moody: MoodyDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    engine = open_engine(make_url(moody.address))
    case = Case(engine)

    def pause(seconds: float) -> None:
        case.pauses.append(seconds)
        if len(case.pauses) == 2:
            moody.on.start()

    monkeypatch.setattr(steps, "_pause", pause)
    case.write()
    yield case
    engine.dispose()


def test_a_step_whose_database_stops_between_two_transactions_goes_on_where_it_stands(
    moody: MoodyDatabase, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    def step() -> None:
        case.write()
        moody.on.stop()
        case.engine.dispose()
        case.write()

    assert case.run(step).success
    assert (case.attempts, case.pauses) == (1, [1.0, 2.0])
    told = [record.getMessage() for record in caplog.records if record.name == steps.log.name]
    assert len(told) == 2
    assert told[0].startswith("waiting: the database at ")
    assert told[1] == "the database answers again after 3 s"


def test_a_step_whose_transaction_breaks_begins_anew_once_the_database_works(moody: MoodyDatabase, case: Case) -> None:
    def step() -> None:
        with case.engine.begin() as connection:
            connection.execute(text("DELETE FROM strava.gear"))
            if case.attempts == 1:
                moody.on.stop()
            connection.execute(text("DELETE FROM strava.gear"))

    assert case.run(step).success
    assert (case.attempts, case.pauses) == (2, [1.0, 2.0])


def test_a_step_waits_for_a_database_that_takes_connections_but_no_writes(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes = iter([DatabaseUnavailable("the disk is full"), DatabaseTooSlow("it took longer than a second"), None])

    def probe(_: Engine) -> None:
        if (error := next(probes)) is not None:
            raise error

    def step() -> None:
        if case.attempts == 1:
            raise DatabaseUnavailable("the disk is full")

    monkeypatch.setattr(steps, "probe_write", probe)
    assert case.run(step).success
    assert (case.attempts, case.pauses) == (2, [1.0, 2.0])


@pytest.mark.parametrize("patience", [timedelta(0), timedelta(seconds=1)], ids=str)
def test_a_step_gives_up_after_its_patience_and_says_why(
    moody: MoodyDatabase, case: Case, monkeypatch: pytest.MonkeyPatch, patience: timedelta
) -> None:
    monkeypatch.setattr(attempts, "MAX_RETRIES", 0)
    case.patience = patience

    def step() -> None:
        moody.on.stop()
        case.engine.dispose()
        case.write()

    result = case.run(step)
    (failure,) = result.filter_events(lambda event: event.is_step_failure)
    told = failure.step_failure_data.user_failure_data
    assert told is not None
    assert told.metadata["kind"].value == "DatabaseUnavailable"
    assert case.attempts == 1
    assert case.pauses == [1.0] * int(patience.total_seconds())


OUTAGE, FAULT = DatabaseUnavailable("its transaction broke"), RetriableStravaError("HTML")


def failing(case: Case, *errors: StravaPipelineError) -> Callable[[], None]:
    """A step whose first attempts fail with these errors."""

    def step() -> None:
        if case.attempts <= len(errors):
            raise errors[case.attempts - 1]

    return step


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster begins the next attempt without a pause."""
    mark = ActiveExecution.mark_up_for_retry
    monkeypatch.setattr(ActiveExecution, "mark_up_for_retry", lambda self, key, _at: mark(self, key))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "errors",
    [[OUTAGE] * 5 + [FAULT] * 3, [FAULT] * 3 + [OUTAGE] * 5, [OUTAGE, FAULT] * 3 + [OUTAGE]],
    ids=["outages first", "faults first", "in turn"],
)
def test_outages_and_faults_do_not_use_up_each_others_retries(case: Case, errors: list[StravaPipelineError]) -> None:
    assert case.run(failing(case, *errors)).success
    assert case.attempts == len(errors) + 1


@pytest.mark.usefixtures("at_once")
def test_faults_are_retried_three_times_however_many_outages_there_were(case: Case) -> None:
    assert not case.run(failing(case, *[OUTAGE] * 5, *[FAULT] * 4)).success
    assert case.attempts == 9


@pytest.mark.usefixtures("at_once")
def test_pauses_between_attempts_are_no_longer_together_than_the_patience(case: Case) -> None:
    case.patience = timedelta(seconds=1 + 2 + 4 + 8)
    result = case.run(failing(case, *[OUTAGE] * 9))
    assert not result.success
    assert case.attempts == 5
    waits = [
        event.step_retry_data.seconds_to_wait for event in result.filter_events(lambda each: each.is_step_up_for_retry)
    ]
    assert waits == [1, 2, 4, 8]


@pytest.mark.usefixtures("at_once")
def test_retries_of_another_step_are_not_counted(case: Case) -> None:
    met: list[Attempts] = []

    @dg.op
    def first(context: dg.OpExecutionContext) -> int:
        with translate_faults(attempts_of(context), StepPatience(case.engine, case.patience)):
            if context.retry_number < 2:
                raise OUTAGE
        return 1

    @dg.op
    def second(context: dg.OpExecutionContext, _before: int) -> None:
        met.append(attempts_of(context))
        with translate_faults(met[-1]):
            if len(met) == 1:
                raise FAULT

    @dg.job
    def job() -> None:
        second(first())

    assert job.execute_in_process().success
    assert met == [Attempts(), Attempts(ended=1)]
