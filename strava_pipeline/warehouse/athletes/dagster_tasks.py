"""What Dagster has yet to be told of athletes: one task each at most, struck off once it is done."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, select, update

from strava_pipeline.warehouse.schema.ops_tables import users
from strava_pipeline.warehouse.states import DagsterTask

_task = users.c.dagster_task


def athletes_with_task(connection: Connection) -> list[int]:
    """Return the ids of the athletes of whom Dagster has yet to be told something."""
    return list(connection.execute(select(users.c.athlete_id).where(_task.is_not(None))).scalars())


def hold_task(connection: Connection, athlete_id: int) -> DagsterTask | None:
    """Lock an athlete's task until the transaction ends; ``None`` if there is none, or somebody else holds it.

    Held meanwhile, so that a removal and the import of whoever is back come one after the other.
    """
    query = select(_task).where(users.c.athlete_id == athlete_id, _task.is_not(None))
    task = connection.execute(query.with_for_update(key_share=True, skip_locked=True)).scalar()
    return None if task is None else DagsterTask(task)


def strike_off(connection: Connection, athlete_id: int) -> None:
    """Note that an athlete's task is done; the caller holds it."""
    connection.execute(update(users).where(users.c.athlete_id == athlete_id).values(dagster_task=None))


def partition_removed(engine: Engine, athlete_id: int) -> None:
    """Dagster has lost the athlete's partition; an athlete who is back keeps what is due by now."""
    with engine.begin() as connection:
        connection.execute(
            update(users)
            .where(users.c.athlete_id == athlete_id, _task.in_((DagsterTask.REMOVAL, DagsterTask.DEPARTURE)))
            .values(dagster_task=None)
        )
