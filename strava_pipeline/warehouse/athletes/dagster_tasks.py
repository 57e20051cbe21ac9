"""Tasks that Dagster has yet to do for athletes: at most one per athlete, cleared once it is done."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, select, update

from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import DagsterTask

_task = users.c.dagster_task


def athletes_with_task(connection: Connection) -> list[int]:
    """Return the ids of the athletes who have a task."""
    return list(connection.execute(select(users.c.athlete_id).where(_task.is_not(None))).scalars())


def hold_task(connection: Connection, athlete_id: int) -> DagsterTask | None:
    """Lock an athlete's task until the transaction ends, and return it; ``None`` if there is none, or it is locked.

    The lock makes a new connection of the athlete wait until a removal has ended.
    """
    query = select(_task).where(users.c.athlete_id == athlete_id, _task.is_not(None))
    task = connection.execute(query.with_for_update(key_share=True, skip_locked=True)).scalar()
    return None if task is None else DagsterTask(task)


def set_task(connection: Connection, athlete_id: int, task: DagsterTask) -> None:
    """Give an athlete a task, in place of one that is not done yet."""
    connection.execute(update(users).where(users.c.athlete_id == athlete_id).values(dagster_task=task))


def strike_off(connection: Connection, athlete_id: int) -> None:
    """Clear an athlete's task, because it is done. The caller holds the lock of :func:`hold_task`."""
    connection.execute(update(users).where(users.c.athlete_id == athlete_id).values(dagster_task=None))


def partition_removed(engine: Engine, athlete_id: int) -> None:
    """Clear an athlete's task after the partition was deleted; that of an athlete who is back stays."""
    with engine.begin() as connection:
        connection.execute(
            update(users)
            .where(users.c.athlete_id == athlete_id, _task.in_((DagsterTask.ERASE, DagsterTask.UNREGISTER)))
            .values(dagster_task=None)
        )
