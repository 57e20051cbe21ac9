"""One worker at a piece of work, for hours: killed, cut off, standing still, or one of many who begin at once."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from threading import Event

import pytest
from sqlalchemy import Engine, select, text, update

from strava_pipeline.warehouse import work_leases as leases
from strava_pipeline.warehouse.engine import now, open_engine
from strava_pipeline.warehouse.pauses import Pauses
from strava_pipeline.warehouse.record_lives import remove_old_records
from strava_pipeline.warehouse.schema.work_tables import work_leases
from strava_pipeline.warehouse.work_leases import only_worker
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.sessions import end_sessions

WORK = "the details of 2025-06"
LEASE_SECONDS = 1.0
# Works until a line comes, and tells what it logs.
WORKER = f"""
import logging, sys
from datetime import timedelta
from sqlalchemy import make_url
from strava_pipeline.warehouse import work_leases
from strava_pipeline.warehouse.engine import open_engine
logging.basicConfig(stream=sys.stdout, format="%(message)s")
work_leases.LEASE, work_leases.BEAT_SECONDS = timedelta(seconds={LEASE_SECONDS}), 0.1
with work_leases.only_worker(open_engine(make_url(sys.argv[1])), {RIDER}, {WORK!r}, lambda _: None):
    print("at work", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE", timedelta(seconds=LEASE_SECONDS))
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(leases, "POLL_SECONDS", 0.02)


@contextmanager
def worker(database: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is at work."""
    command = [sys.executable, "-c", WORKER, database]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def long_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody loses a lease because the machine is busy."""
    monkeypatch.setattr(leases, "LEASE", timedelta(seconds=PATIENCE_SECONDS))


def nobody_waits(_: float) -> None:
    raise AssertionError("somebody else is at it")


def lease(engine: Engine) -> tuple[str, datetime] | None:
    c = work_leases.c
    with engine.connect() as connection:
        row = connection.execute(select(c.holder, c.lease_until)).first()
    return None if row is None else (row[0], row[1])


def extended(engine: Engine) -> Callable[[], bool]:
    """Whether the lease has been extended since this was asked for."""
    before = lease(engine)
    assert before is not None

    def is_extended() -> bool:
        found = lease(engine)
        assert found is not None
        assert found[0] == before[0]
        return found[1] > before[1]

    return is_extended


@pytest.mark.usefixtures("long_lease")
def test_who_comes_second_waits_and_tells_so_until_the_first_is_done(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    waits, done = Event(), Event()

    def second() -> bool:
        with only_worker(engine, RIDER, WORK, lambda _: waits.set()):
            return done.is_set()

    with ThreadPoolExecutor() as pool:
        with only_worker(engine, RIDER, WORK, nobody_waits):
            waiting = pool.submit(second)
            assert waits.wait(PATIENCE_SECONDS)
            # Other work goes on beside it.
            with only_worker(engine, RIDER + 1, WORK, nobody_waits), only_worker(engine, RIDER, "other", nobody_waits):
                pass
            done.set()
        assert waiting.result(PATIENCE_SECONDS)
    assert f"another run is at {WORK} of athlete {RIDER}: waiting for it" in caplog.text
    assert lease(engine) is None


@pytest.mark.usefixtures("long_lease")
def test_of_many_who_begin_at_once_one_is_at_work(engine: Engine) -> None:
    at_work, most = [], []

    def work(number: int) -> None:
        with only_worker(engine, RIDER, WORK, lambda _: None):
            at_work.append(number)
            most.append(len(at_work))
            at_work.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    assert most == [1] * 24


def test_a_lease_is_extended_while_its_worker_lives_and_no_transaction_is_open(engine: Engine) -> None:
    with only_worker(engine, RIDER, WORK, nobody_waits):
        with engine.connect() as connection:
            began = now(connection)
        eventually(
            lambda: (found := lease(engine)) is not None and found[1] > began + timedelta(seconds=3 * LEASE_SECONDS),
            "a lease beyond its first end",
        )
        # The beat's own takes longer than a second where the machine is busy, but not each time.
        eventually(lambda: not open_for_long(engine), "no transaction that is open for long")


def open_for_long(engine: Engine) -> int:
    """How many transactions of others have been open for over a second."""
    asked = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND xact_start < clock_timestamp() - interval '1 second' AND pid <> pg_backend_pid()"
    )
    with engine.connect() as connection:
        return int(connection.execute(asked).scalar_one())


def test_a_worker_that_is_killed_is_followed_within_its_lease(engine: Engine, database: str) -> None:
    with worker(database) as process:
        waited: list[float] = []
        process.kill()
        process.wait()
        with engine.connect() as connection:
            killed = now(connection)
        with only_worker(engine, RIDER, WORK, waited.append), engine.connect() as connection:
            # A busy machine may take its time over the rest.
            assert now(connection) - killed < timedelta(seconds=LEASE_SECONDS + 60)


def test_a_worker_whose_connections_break_keeps_its_lease(engine: Engine) -> None:
    theirs = open_engine(engine.url)
    with only_worker(theirs, RIDER, WORK, nobody_waits):
        end_sessions(engine)
        engine.dispose()
        eventually(extended(engine), "a lease that is extended after all")
    theirs.dispose()
    assert lease(engine) is None


def test_a_worker_that_stood_still_leaves_the_lease_of_its_successor_alone(engine: Engine, database: str) -> None:
    with worker(database) as process:
        os.kill(process.pid, signal.SIGSTOP)
        with only_worker(engine, RIDER, WORK, lambda _: None):
            ours = lease(engine)
            os.kill(process.pid, signal.SIGCONT)
            assert process.stdout is not None
            assert process.stdout.readline() == (
                f"this run stood still, so another run fetches {WORK} of athlete {RIDER}, too: that costs requests, but"
                " no data\n"
            )
            told, _ = process.communicate("\n", timeout=PATIENCE_SECONDS)
            # It says so once.
            assert (told, process.returncode) == ("", 0)
            found = lease(engine)
            assert ours is not None
            assert found is not None
            assert found[0] == ours[0]


def test_a_worker_waits_and_extends_its_lease_as_it_is_told_to(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE", timedelta(hours=1))
    slept: list[float] = []
    extends: list[Callable[[], object]] = []

    @contextmanager
    def by_hand(beat: Callable[[], object], every_s: float) -> Iterator[None]:
        assert every_s == leases.BEAT_SECONDS
        extends.append(beat)
        yield

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        first.close()

    with ExitStack() as first:
        first.enter_context(only_worker(engine, RIDER, WORK, nobody_waits, Pauses(heartbeat=by_hand)))
        is_extended = extended(engine)
        assert not is_extended()
        extends[0]()
        assert is_extended()
        with only_worker(engine, RIDER, WORK, lambda _: None, Pauses(sleep)):
            assert slept == [leases.POLL_SECONDS]


def test_a_lease_that_is_given_up_goes_when_old_records_are_removed(engine: Engine) -> None:
    with only_worker(engine, RIDER, WORK, nobody_waits):
        assert "ops.work_leases" not in remove_old_records(engine)
    with engine.begin() as connection:
        given = {"athlete_id": RIDER, "work": WORK, "holder": "gone", "lease_until": now(connection)}
        connection.execute(work_leases.insert().values(given))
        connection.execute(update(work_leases).values(lease_until=now(connection) - timedelta(seconds=1)))
    assert remove_old_records(engine)["ops.work_leases"] == 1
