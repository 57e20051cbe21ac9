"""What is shown comes from the primary, or while that is away from its replica, which says how old it is."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection, Engine, insert, make_url, select, text
from sqlalchemy.exc import DBAPIError

from strava_pipeline.errors import ConfigurationError, DatabaseTooSlow, DatabaseUnavailable
from strava_pipeline.local.logins import Login
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse import reading
from strava_pipeline.warehouse.addresses import without_password
from strava_pipeline.warehouse.engine import now, open_engine
from strava_pipeline.warehouse.migrate import HEAD
from strava_pipeline.warehouse.reading import Reader, Reading, find_sql_url, open_reader
from strava_pipeline.warehouse.schema.tables import athletes
from strava_pipeline_tests.moody_server import MoodyDatabase, MoodyServer
from strava_pipeline_tests.streaming_replica import StreamingReplica, streaming_replica

REPOSITORY = Path(__file__).parents[2]
# Besides those that [tool.importlinter] names, of which the bridge's hold a reader for these.
READERS_OF_THE_BRIDGE = {"webhook_bridge/months.py", "webhook_bridge/operator_session.py", "webhook_bridge/status.py"}


@pytest.fixture
def engine(moody: MoodyDatabase) -> Iterator[Engine]:
    """The primary, as all that writes uses it."""
    engine = open_engine(make_url(moody.address))
    yield engine
    engine.dispose()


@pytest.fixture
def reader(moody: MoodyDatabase, replica: StreamingReplica, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A reader that asks a primary that was away again at once."""
    monkeypatch.setattr(reading, "ASK_PRIMARY_AGAIN_SECONDS", 0.0)
    monkeypatch.setenv("STRAVA_DATABASE_URL", moody.address)
    monkeypatch.setenv("STRAVA_DATABASE_REPLICA_URL", replica.address(moody.name))
    reader = open_reader(load_settings())
    yield reader
    reader.close()


def add_athlete(engine: Engine, number: int) -> datetime:
    """Store an athlete; returns a time (UTC) before the commit."""
    with engine.begin() as connection:
        moment = now(connection)
        connection.execute(insert(athletes).values(id=number, fetched_at=moment))
    return moment


def stored(connection: Connection) -> list[int]:
    return list(connection.execute(select(athletes.c.id).order_by(athletes.c.id)).scalars())


def test_the_replica_answers_while_the_primary_is_away_and_says_as_of_when(
    reader: Reader, engine: Engine, moody: MoodyDatabase, replica: StreamingReplica
) -> None:
    before = add_athlete(engine, 1)
    replica.catch_up()
    there = reader.read(stored)
    assert (there.value, there.replica) == ([1], None)

    moody.on.stop()
    away = reader.read(stored)
    assert away.value == [1]
    assert away.replica is not None
    assert away.replica.follows
    assert away.replica.replayed_at is not None
    assert before <= away.replica.replayed_at <= before + timedelta(minutes=1)
    said = str(away.replica)
    assert said.startswith(f"as of {away.replica.replayed_at:%Y-%m-%d %H:%M:%S} UTC, from the replica at ")
    assert "is away: " in said
    assert "\n" not in said
    # Nothing is written meanwhile, so the data are as new as they were.
    again = reader.read(stored).replica
    assert again is not None
    assert again.replayed_at == away.replica.replayed_at

    replica.follow()
    engine.dispose()  # its connections are broken
    add_athlete(engine, 2)
    back = reader.read(stored)
    assert (back.value, back.replica) == ([1, 2], None)


def test_a_primary_that_is_away_is_not_waited_for_at_each_look(
    reader: Reader, moody: MoodyDatabase, replica: StreamingReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    moody.on.stop()
    monkeypatch.setattr(reading, "ASK_PRIMARY_AGAIN_SECONDS", 3600.0)
    assert reader.read(stored).replica is not None
    replica.follow()
    assert reader.read(stored).replica is not None
    monkeypatch.setattr(reading, "time", SimpleNamespace(monotonic=lambda: float("inf")))
    assert reader.read(stored).replica is None


def test_a_primary_that_is_back_is_asked_at_once_where_the_replica_is_away_too(
    reader: Reader, moody: MoodyDatabase, replica: StreamingReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ASK_PRIMARY_AGAIN_SECONDS", 3600.0)
    moody.on.stop()
    assert reader.read(stored).replica is not None
    moody.on.start()
    replica.stop()
    assert reader.read(stored) == Reading([])
    replica.start()
    assert reader.read(stored).replica is None


def test_a_replica_that_is_behind_shows_less_and_says_so(
    reader: Reader, engine: Engine, moody: MoodyDatabase, replica: StreamingReplica
) -> None:
    add_athlete(engine, 1)
    replica.catch_up()
    replica.pause_replay()
    later = add_athlete(engine, 2)
    moody.on.stop()
    found = reader.read(stored)
    assert found.value == [1]
    assert found.replica is not None
    assert found.replica.replayed_at is not None
    assert found.replica.replayed_at < later


def test_a_replica_that_has_replayed_nothing_knows_no_time(
    reader: Reader, engine: Engine, moody: MoodyDatabase, replica: StreamingReplica
) -> None:
    add_athlete(engine, 1)
    with engine.connect() as connection, connection.begin():
        pass
    moody.on.checkpoint()
    replica.catch_up()
    moody.on.stop()
    replica.forget_what_was_replayed()
    found = reader.read(stored)
    assert found.value == [1]
    assert str(found.replica).startswith(
        "as of an unknown time, from the replica, which has replayed no change since it started, at "
    )


def test_a_replica_that_was_promoted_says_that_it_follows_nobody(
    moody: MoodyDatabase,
    engine: Engine,
    own_server: MoodyServer,
    new_home: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with streaming_replica(own_server, new_home()) as replica:
        add_athlete(engine, 1)
        replica.catch_up()
        moody.on.stop()
        replica.promote()
        monkeypatch.setenv("STRAVA_DATABASE_URL", moody.address)
        monkeypatch.setenv("STRAVA_DATABASE_REPLICA_URL", replica.address(moody.name))
        reader = open_reader(load_settings())
        found = reader.read(stored)
        reader.close()
    assert found.value == [1]
    assert " UTC or later, from the former replica, which follows no primary, at " in str(found.replica)


def test_a_primary_that_has_become_a_replica_says_so(moody: MoodyDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_URL", moody.address)
    monkeypatch.setenv("STRAVA_SQL_DATABASE_URL", moody.on.server.url(moody.name, Login.SQL))
    moody.on.checkpoint()
    moody.on.become_replica()
    reader = open_reader(load_settings())
    states = [
        reader.read(stored).replica,
        reading.read_tables(load_settings(), stored).replica,
        find_sql_url(load_settings(), Login.SQL).replica,
    ]
    reader.close()
    for state in states:
        assert state is not None
        assert state.follows
        assert str(state).endswith(": it accepts no writes")


def test_where_both_are_away_one_line_names_both(
    reader: Reader, moody: MoodyDatabase, replica: StreamingReplica
) -> None:
    moody.on.stop()
    replica.stop()
    with pytest.raises(DatabaseUnavailable) as caught:
        reader.read(stored)
    assert str(caught.value).count("is away: ") == 2
    for server in (moody.on, replica):
        assert str(server.server.socket_dir) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_replica_whose_tables_are_of_another_version_is_not_read(
    reader: Reader, moody: MoodyDatabase, replica: StreamingReplica
) -> None:
    owner = open_engine(make_url(moody.on.server.url(moody.name, Login.OWNER)))
    with owner.begin() as connection:
        connection.execute(text("UPDATE ops.alembic_version SET version_num = '0013'"))
    owner.dispose()
    replica.catch_up()
    moody.on.stop()
    with pytest.raises(DatabaseUnavailable, match=f"has tables of revision 0013, .* needs {HEAD}") as caught:
        reader.read(stored)
    assert str(caught.value).count("is away: ") == 1


def test_readers_cannot_write_on_either_server(reader: Reader, moody: MoodyDatabase, replica: StreamingReplica) -> None:
    def write(connection: Connection) -> None:
        connection.execute(text("DELETE FROM strava.athletes"))

    with pytest.raises(DBAPIError, match="read-only transaction"):
        reader.read(write)
    with pytest.raises(DBAPIError, match="read-only transaction"):
        reading.read_tables(load_settings(), write)
    moody.on.stop()
    with pytest.raises(DBAPIError, match="read-only transaction"):
        reader.read(write)


def test_a_primary_that_is_too_slow_is_not_away(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(connection: Connection) -> None:
        connection.execute(text("SET LOCAL statement_timeout = 20"))
        connection.execute(text("SELECT pg_sleep(30)"))

    with pytest.raises(DatabaseTooSlow):
        reader.read(sleep)
    with pytest.raises(DatabaseTooSlow):
        reading.read_tables(load_settings(), sleep)
    assert reader.read(stored).replica is None


def test_without_a_replica_the_primarys_error_is_told(moody: MoodyDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_URL", moody.address)
    reader = open_reader(load_settings())
    assert reader.read(stored).value == []
    moody.on.stop()
    with pytest.raises(DatabaseUnavailable, match="is away"):
        reader.read(stored)
    reader.close()


def test_a_replica_is_queried_by_the_login_for_queries_whatever_login_its_setting_names(
    reader: Reader, moody: MoodyDatabase, replica: StreamingReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    for_sql = moody.on.server.url(moody.name, Login.SQL)
    monkeypatch.setenv("STRAVA_SQL_DATABASE_URL", for_sql)
    by_query = make_url(replica.address(moody.name))
    by_query = by_query.update_query_dict({"user": by_query.username or "", "password": by_query.password or ""})
    monkeypatch.setenv("STRAVA_DATABASE_REPLICA_URL", by_query.render_as_string(hide_password=False))
    there = find_sql_url(load_settings(), Login.SQL)
    assert (there.value, there.replica) == (make_url(for_sql), None)
    moody.on.stop()
    away = find_sql_url(load_settings(), Login.SQL)
    assert away.replica is not None
    assert without_password(away.value) == away.replica.where
    engine = open_engine(away.value)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT session_user")).scalar_one() == Login.SQL
    engine.dispose()

    monkeypatch.setenv("STRAVA_SQL_DATABASE_URL", "service=elsewhere")
    with pytest.raises(ConfigurationError, match="name a login in the address for sql"):
        find_sql_url(load_settings(), Login.SQL)


def test_nothing_that_decides_may_read_from_a_replica() -> None:
    naming, using = set(), set()
    for package in ("strava_pipeline", "webhook_bridge"):
        for path in (REPOSITORY / package).rglob("*.py"):
            attributes = {
                node.attr
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                # But for the reader of tables that Python has.
                if isinstance(node, ast.Attribute) and ast.unparse(node) != "csv.reader"
            }
            name = str(path.relative_to(REPOSITORY))
            naming |= {name} if "database_replica_url" in attributes else set()
            using |= {name} if "reader" in attributes else set()
    assert naming == {"strava_pipeline/warehouse/reading.py"}
    assert using == READERS_OF_THE_BRIDGE
