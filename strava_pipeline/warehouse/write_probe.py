"""Finds out whether the database accepts writes, by a write that is kept.

One that is rolled back would need neither the disk nor the commit.
"""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.warehouse.engine import limit_statements
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.work_tables import write_probe

STATEMENT_MILLISECONDS = 1000


def probe_write(engine: Engine) -> None:
    """Commit a row; ``DatabaseUnavailable`` if the database does not accept it, or takes longer than a second."""
    statement = insert(write_probe).values(id=1, at=database_time())
    with engine.begin() as connection:
        limit_statements(connection, STATEMENT_MILLISECONDS)
        connection.execute(
            statement.on_conflict_do_update(index_elements=[write_probe.c.id], set_={"at": statement.excluded.at})
        )
