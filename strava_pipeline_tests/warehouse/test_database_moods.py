"""A server that refuses whatever it is sent is away, and its sessions are thrown away; a bad statement is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, make_url, select, text
from sqlalchemy.exc import DBAPIError

from strava_pipeline.errors import DatabaseTooSlow, DatabaseUnavailable
from strava_pipeline.warehouse.bulk import FEW, append, replace_parts, store_newer
from strava_pipeline.warehouse.database_moods import Mood, mood_of
from strava_pipeline.warehouse.engine import autocommit, open_engine, open_read_only_engine
from strava_pipeline.warehouse.schema.tables import gear, laps
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.moody_server import MoodyDatabase

BIKE = {"id": "b1", "athlete_id": 7, "fetched_at": datetime(2026, 11, 1, tzinfo=UTC)}
READ_ONLY = r"the database at .* accepts no writes: cannot execute \w+ in a read-only transaction"


def of_code(sqlstate: str, text: str = "") -> psycopg.Error:
    """The driver's error for a code of Postgres."""
    return psycopg.errors.lookup(sqlstate)(text)


@pytest.mark.parametrize(
    ("error", "mood"),
    [
        *((of_code(code), Mood.AWAY) for code in ("57P01", "57P02", "57P03", "57P05", "53100", "53200", "53300")),
        *((of_code(code), Mood.AWAY) for code in ("25006", "55000", "25P03", "08006", "08P01", "58030", "28P01")),
        *((of_code(code), Mood.AWAY) for code in ("26000", "42P05", "F0000")),
        (of_code("0A000", "cached plan must not change result type"), Mood.AWAY),
        (of_code("54000", "no new transaction IDs, to avoid wraparound data loss"), Mood.AWAY),
        (psycopg.OperationalError("connection failed: FATAL: too many clients"), Mood.AWAY),
        (psycopg.errors.ConnectionTimeout("connection timeout expired"), Mood.AWAY),
        *((of_code(code), Mood.TOO_SLOW) for code in ("55P03", "57014", "40001", "40P01", "53400")),
        *((of_code(code), Mood.STATEMENT) for code in ("23505", "22P05", "42P01", "42501", "54000", "XX000", "0A000")),
        (psycopg.DataError("text cannot contain NUL"), Mood.STATEMENT),
        (psycopg.ProgrammingError("cannot adapt type"), Mood.STATEMENT),
    ],
    ids=repr,
)
def test_each_refusal_is_the_servers_or_the_statements(error: psycopg.Error, mood: Mood) -> None:
    assert mood_of(error) is mood
    assert mood_of(error, broken=True) is Mood.AWAY


@pytest.fixture
def engine(moody: MoodyDatabase) -> Iterator[Engine]:
    engine = open_engine(make_url(moody.address))
    yield engine
    engine.dispose()


def pid_of(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def write(engine: Engine) -> int:
    """Write something; return the process id of the session that did."""
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO strava.gear (id, athlete_id, fetched_at) VALUES ('b', 7, now())"))
        connection.execute(text("DELETE FROM strava.gear"))
        return pid_of(connection)


def refusal_of(engine: Engine) -> str:
    """Why a write is refused; '' if it is not."""
    try:
        write(engine)
    except DatabaseUnavailable as error:
        return str(error)
    return ""


def test_a_session_that_may_not_write_is_thrown_away(moody: MoodyDatabase, engine: Engine) -> None:
    moody.refuse_writes_of_new_sessions()
    with engine.connect() as first, engine.connect() as second:
        kept = {pid_of(first), pid_of(second)}
    with pytest.raises(DatabaseUnavailable, match=READ_ONLY):
        write(engine)
    # Sessions that are open would refuse for good, also the other one, which nobody has tried.
    moody.accept_writes_of_new_sessions()
    assert write(engine) not in kept
    with engine.connect() as first, engine.connect() as second:
        assert not {pid_of(first), pid_of(second)} & kept


def test_a_read_only_server_is_away_for_single_statements_too(moody: MoodyDatabase, engine: Engine) -> None:
    moody.refuse_writes_of_new_sessions()
    with autocommit(engine) as connection, pytest.raises(DatabaseUnavailable, match=READ_ONLY):
        connection.execute(text("DELETE FROM strava.gear"))
    moody.accept_writes_of_new_sessions()
    with autocommit(engine) as connection:
        connection.execute(text("DELETE FROM strava.gear"))


def test_a_setting_that_reaches_open_sessions_is_noticed_both_ways(moody: MoodyDatabase, engine: Engine) -> None:
    write(engine)
    moody.refuse_writes()
    eventually(lambda: refusal_of(engine), "a refusal")
    moody.accept_writes()
    eventually(lambda: not refusal_of(engine), "a write")


def test_a_replica_is_away_until_it_is_promoted(moody: MoodyDatabase, engine: Engine) -> None:
    moody.on.become_replica()
    with engine.connect() as connection:
        replica = pid_of(connection)
    with pytest.raises(DatabaseUnavailable, match=READ_ONLY):
        write(engine)
    with engine.connect() as connection, pytest.raises(DatabaseUnavailable, match="accepts no writes"):
        connection.execute(text("LOCK TABLE strava.gear IN EXCLUSIVE MODE"))
    moody.on.promote()
    assert write(engine) != replica


def test_a_server_without_connections_left_is_away_until_one_is_free(moody: MoodyDatabase, engine: Engine) -> None:
    with moody.full(), pytest.raises(DatabaseUnavailable, match=r"refuses: .*(connection slots|too many clients)"):
        write(engine)
    write(engine)


def test_a_session_that_met_a_lock_is_kept(engine: Engine) -> None:
    with engine.connect() as connection:
        before = pid_of(connection)
        with engine.begin() as holder:
            holder.execute(text("LOCK TABLE strava.gear IN EXCLUSIVE MODE"))
            connection.execute(text("SET LOCAL lock_timeout = 20"))
            with pytest.raises(DatabaseTooSlow, match="did not answer in time"):
                connection.execute(text("DELETE FROM strava.gear"))
        connection.rollback()
        assert pid_of(connection) == before


def test_a_statements_own_fault_is_told_as_it_is(engine: Engine) -> None:
    with engine.connect() as connection:
        before = pid_of(connection)
        with pytest.raises(DBAPIError, match="does not exist"):
            connection.execute(text("SELECT * FROM nowhere"))
        connection.rollback()
        assert pid_of(connection) == before


@pytest.mark.parametrize(
    "use",
    [
        lambda connection: append(connection, gear, [BIKE]),
        lambda connection: store_newer(connection, gear, [BIKE]),
        lambda connection: store_newer(connection, gear, [BIKE | {"id": str(n)} for n in range(FEW + 1)]),
        lambda connection: replace_parts(connection, 1, {laps: []}),
    ],
    ids=["copied", "few", "many", "parts"],
)
def test_what_goes_by_the_driver_meets_a_read_only_server_alike(
    moody: MoodyDatabase, engine: Engine, use: Callable[[Connection], Any]
) -> None:
    def attempt() -> None:
        with engine.begin() as connection:
            use(connection)

    moody.refuse_writes_of_new_sessions()
    with pytest.raises(DatabaseUnavailable, match="accepts no writes"):
        attempt()
    moody.accept_writes_of_new_sessions()
    attempt()


def test_no_page_mistakes_its_own_read_only_session_for_an_outage(
    moody: MoodyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long the server takes to restart: the connection is used again untested.
    monkeypatch.setattr("strava_pipeline.warehouse.engine.PING_AFTER_SECONDS", 3600)
    engine = open_read_only_engine(make_url(moody.address))
    with engine.connect() as connection:
        before = pid_of(connection)
        with pytest.raises(DBAPIError, match="read-only transaction"):
            connection.execute(text("DELETE FROM strava.gear"))
        connection.rollback()
        assert pid_of(connection) == before
    moody.on.become_replica()
    with pytest.raises(DatabaseUnavailable), engine.connect() as connection:
        connection.execute(select(1))
    with engine.connect() as connection:
        assert connection.execute(select(1)).scalar_one() == 1
    engine.dispose()
