"""Locks that processes share: one holder at a time, whatever becomes of the rows, and no name used twice."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, func, make_url, select, text

import strava_pipeline
import webhook_bridge
from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.warehouse import engine as engines
from strava_pipeline.warehouse import locks
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.engine import now, open_engine
from strava_pipeline.warehouse.locks import AthleteLock, Lock
from strava_pipeline.warehouse.migrate import VERSION_SCHEMA, VERSION_TABLE
from strava_pipeline.warehouse.record_lives import remove_old_records
from strava_pipeline.warehouse.schema.work_tables import locks as table
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock

THREADS = 6
ROUNDS = 25
# What any login of the database can hold, or hold up.
OPEN_TO_ALL = re.compile(
    r"(?<!\|)\b(pg_(try_)?advisory_\w*lock\w*\(|pg_notify\()|\bfunc\.pg_(try_)?advisory|\"(UNLISTEN|LISTEN|NOTIFY)\b"
)
FORMS: dict[str, Callable[[Connection], Any]] = {
    "fixed": lambda connection: locks.acquire(connection, Lock.CLAIMS),
    "fixed, telling the time": lambda connection: locks.acquire_with_time(connection, Lock.QUOTA, waits_for_disk=True),
    "an athlete's": lambda connection: locks.acquire_for_athlete(connection, AthleteLock.STORING, RIDER),
    "a month's": lambda connection: locks.acquire_for_athlete(connection, AthleteLock.LAKE_MONTH, RIDER, "2025-06"),
    "migrations": lambda connection: locks.acquire_for_migration(connection, VERSION_SCHEMA, VERSION_TABLE),
}


def stored(engine: Engine) -> set[tuple[str, int, str]]:
    with engine.connect() as connection:
        return {tuple(row) for row in connection.execute(select(table)).all()}


def test_each_lock_has_a_name_of_its_own() -> None:
    names = [str(lock) for lock in (*Lock, *AthleteLock)]
    assert len(set(names)) == len(names)


# In Dagster's database, where no login but Dagster's may be.
NOT_OF_THE_TABLES = "storage_lock.py"


@pytest.mark.parametrize("package", [strava_pipeline, webhook_bridge], ids=["strava_pipeline", "webhook_bridge"])
def test_no_module_uses_what_any_login_can_hold(package: Any) -> None:
    found = [
        f"{path}: {line.strip()}"
        for path in Path(package.__file__).parent.rglob("*.py")
        if path.name != NOT_OF_THE_TABLES
        for line in path.read_text().splitlines()
        if OPEN_TO_ALL.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("form", FORMS)
def test_who_comes_second_waits_until_the_transaction_ends(owner_engine: Engine, form: str) -> None:
    engine = owner_engine

    def take(_: object) -> Any:
        with engine.begin() as connection:
            FORMS[form](connection)
            return now(connection)

    for ends in ("commit", "rollback"):
        with ThreadPoolExecutor() as pool, engine.connect() as holder:
            FORMS[form](holder)
            waiting = pool.submit(take, None)
            wait_for_a_lock(engine, 1)
            ended_at = now(holder)
            getattr(holder, ends)()
            assert waiting.result(PATIENCE_SECONDS) > ended_at


def test_who_waits_in_vain_is_told_within_the_limit(
    server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "LOCK_MILLISECONDS", 50)
    engine = open_engine(make_url(server.url(database_name, Login.OWNER)))
    for take in FORMS.values():
        with engine.begin() as holder:
            take(holder)
            with pytest.raises(DatabaseUnavailable, match="did not answer in time"), engine.begin() as waiting:
                take(waiting)
    engine.dispose()


def test_locks_of_others_are_not_waited_for(engine: Engine) -> None:
    with engine.begin() as holder, engine.begin() as other:
        for connection, rider in ((holder, RIDER), (other, RIDER + 1)):
            locks.acquire_for_athlete(connection, AthleteLock.STORING, rider)
        locks.acquire_for_athlete(other, AthleteLock.ROUTES, RIDER)
        locks.acquire_for_athlete(holder, AthleteLock.LAKE_MONTH, RIDER, "2025-06")
        locks.acquire_for_athlete(other, AthleteLock.LAKE_MONTH, RIDER, "2025-07")


@pytest.mark.parametrize("form", ["fixed", "fixed, telling the time", "an athlete's"])
def test_one_at_a_time_holds_it_while_its_row_comes_and_goes(engine: Engine, owner_engine: Engine, form: str) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text("CREATE TABLE ops.counted AS SELECT 0 AS number"))

    def count(_: object) -> None:
        for _ in range(ROUNDS):
            with engine.begin() as connection:
                FORMS[form](connection)
                # Read by one statement and written by another: only the lock keeps two from the same number.
                number = connection.execute(text("SELECT number FROM ops.counted")).scalar_one()
                connection.execute(text("UPDATE ops.counted SET number = :next"), {"next": number + 1})

    with ThreadPoolExecutor() as pool:
        counting: list[Future[None]] = [pool.submit(count, None) for _ in range(THREADS)]
        while not all(future.done() for future in counting):
            with engine.begin() as connection:
                locks.delete_unused_locks(connection)
                connection.execute(delete(table).where(table.c.athlete_id == locks.NOBODY))
        for future in counting:
            future.result()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT number FROM ops.counted")).scalar_one() == THREADS * ROUNDS


def test_taking_a_lock_writes_no_new_version_of_its_row(engine: Engine) -> None:
    where = text("SELECT name, athlete_id, ctid::text FROM ops.locks ORDER BY 1, 2")

    def taken() -> list[Any]:
        for form, take in FORMS.items():
            if form != "migrations":
                with engine.begin() as connection:
                    take(connection)
        with engine.connect() as connection:
            return list(connection.execute(where).all())

    first = taken()
    for _ in range(ROUNDS):
        assert taken() == first


def test_an_erasure_removes_an_athletes_locks_and_waits_for_none(engine: Engine) -> None:
    connect_riders(engine, RIDER, RIDER + 1)
    with engine.begin() as connection:
        for rider in (RIDER, RIDER + 1):
            locks.acquire_for_athlete(connection, AthleteLock.STORING, rider)
            locks.acquire_for_athlete(connection, AthleteLock.LAKE_MONTH, rider, "2025-06")
    with engine.begin() as writer:
        locks.acquire_for_athlete(writer, AthleteLock.LAKE_MONTH, RIDER, "2025-06")
        disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="test")
        assert {lock for lock in stored(engine) if lock[1] == RIDER} == {("lake_month", RIDER, "2025-06")}
    # What was held then goes with the next tidying up.
    assert remove_old_records(engine)["ops.locks"] == 3
    assert {lock for lock in stored(engine) if lock[1] != locks.NOBODY} == set()


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_two_migrations_of_an_empty_database_take_turns(empty_database: str, ends: str) -> None:
    engine = open_engine(make_url(empty_database))
    clock = select(func.clock_timestamp())  # there is no table or function of ours yet

    def take() -> Any:
        with engine.begin() as connection:
            FORMS["migrations"](connection)
            return connection.execute(clock).scalar_one()

    with ThreadPoolExecutor() as pool, engine.connect() as first:
        FORMS["migrations"](first)
        second = pool.submit(take)
        wait_for_a_lock(engine, 1)
        ended_at = first.execute(clock).scalar_one()
        getattr(first, ends)()
        assert second.result(PATIENCE_SECONDS) > ended_at
    engine.dispose()
