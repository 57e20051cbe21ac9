"""A thread that is patient waits for the database where it stands; all others are told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, make_url, text

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.patience import DatabasePatience, patient
from strava_pipeline_tests.moody_server import MoodyDatabase

DAY = 86_400.0


@pytest.fixture
def engine(moody: MoodyDatabase) -> Iterator[Engine]:
    """An engine that has connected before."""
    engine = open_engine(make_url(moody.address))
    write(engine)
    yield engine
    engine.dispose()


def write(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM strava.gear"))


class Waits:
    """What a patient thread was told, and how long it was to pause; ``at`` does something in the pause of a number."""

    def __init__(self, left_s: float = DAY) -> None:
        self.told: list[str] = []
        self.pauses: list[float] = []
        self.at: dict[int, Callable[[], None]] = {}
        self.patience = DatabasePatience(left_s, self.told.append, self._pause)

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.at.get(len(self.pauses), lambda: None)()


def test_a_patient_thread_waits_for_the_server(moody: MoodyDatabase, engine: Engine) -> None:
    waits = Waits()
    waits.at[7] = moody.on.start
    moody.on.stop()
    engine.dispose()
    with patient(waits.patience):
        write(engine)
    assert waits.pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]
    assert len(waits.told) == 2
    assert waits.told[0].startswith("waiting: the database at ")
    assert waits.told[1] == "the database answers again after 71 s"


def test_a_wait_tells_at_once_and_then_every_ten_minutes() -> None:
    waits = Waits(left_s=1000.0)
    wait = waits.patience.waits()
    while wait.rest("the disk is full"):
        pass
    assert waits.told == ["waiting: the disk is full"] * 2
    assert sum(waits.pauses) == 1000.0
    assert not wait.rest("the disk is full")


def test_a_connection_that_breaks_is_told_and_the_next_statement_waits(moody: MoodyDatabase, engine: Engine) -> None:
    waits = Waits()
    waits.at[1] = moody.on.start
    with patient(waits.patience):
        with engine.connect() as connection:
            moody.on.stop()
            with pytest.raises(DatabaseUnavailable):
                connection.execute(text("DELETE FROM strava.gear"))
        write(engine)
    assert waits.pauses == [1.0]


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (MoodyDatabase.refuse_writes_of_new_sessions, MoodyDatabase.accept_writes_of_new_sessions),
        (lambda moody: moody.on.become_replica(), lambda moody: moody.on.promote()),
    ],
    ids=["read-only", "replica"],
)
def test_a_server_that_accepts_no_writes_is_waited_for(
    moody: MoodyDatabase,
    engine: Engine,
    begin: Callable[[MoodyDatabase], None],
    end: Callable[[MoodyDatabase], None],
) -> None:
    waits = Waits()
    waits.at[2] = lambda: end(moody)
    begin(moody)
    engine.dispose()
    with patient(waits.patience):
        write(engine)
    assert waits.pauses == [1.0, 2.0]
    assert "accepts no writes" in waits.told[0]


def test_another_thread_is_told_at_once(moody: MoodyDatabase, engine: Engine) -> None:
    moody.on.stop()
    engine.dispose()
    waits = Waits()
    with patient(waits.patience), ThreadPoolExecutor(1) as other, pytest.raises(DatabaseUnavailable):
        other.submit(write, engine).result()
    with pytest.raises(DatabaseUnavailable):
        write(engine)
    assert waits.pauses == []


def test_a_first_connection_is_told_at_once(moody: MoodyDatabase) -> None:
    engine = open_engine(make_url(moody.address).set(password="wrong"))
    waits = Waits()
    with patient(waits.patience), pytest.raises(DatabaseUnavailable, match="password authentication failed"):
        write(engine)
    assert waits.pauses == []


def test_patience_ends_and_the_reason_is_told(moody: MoodyDatabase, engine: Engine) -> None:
    waits = Waits(left_s=10.0)
    moody.on.stop()
    engine.dispose()
    with patient(waits.patience), pytest.raises(DatabaseUnavailable, match="is away"):
        write(engine)
    assert waits.pauses == pytest.approx([1.0, 2.0, 4.0, 3.0], abs=0.5)


def test_who_lets_the_time_pass_can_end_the_wait(moody: MoodyDatabase, engine: Engine) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    waits = Waits()
    waits.at[1] = stop
    moody.on.stop()
    engine.dispose()
    with patient(waits.patience), pytest.raises(KeyboardInterrupt):
        write(engine)
    moody.on.start()
    write(engine)
