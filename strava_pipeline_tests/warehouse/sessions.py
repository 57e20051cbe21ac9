"""What the database's sessions are doing, for tests that need two of them to meet."""

from __future__ import annotations

from sqlalchemy import Engine, text

from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline_tests.eventually import eventually


def wait_for_a_lock(engine: Engine, waiting: int) -> None:
    """Until this many sessions wait for somebody's row."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    def as_many_wait() -> bool:
        with engine.connect() as connection:
            return bool(connection.execute(query).scalar_one() == waiting)

    eventually(as_many_wait, f"{waiting} sessions that wait for the row")


def lose_lock(engine: Engine) -> None:
    """The server ends the one transaction that holds a row, as after a failover."""
    query = text(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE state = 'idle in transaction' AND datname = current_database()"
    )
    with engine.connect() as connection:
        assert connection.execute(query).scalar_one() == 1


def end_sessions(engine: Engine) -> None:
    """The server ends everybody's sessions, as a restart does; who used one just now does not know yet."""
    query = text(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    own = open_engine(engine.url)
    with own.connect() as connection:
        assert connection.execute(query).scalar_one()
    own.dispose()
