"""Claims between the launch of their run and its start: the dispatcher records the run, or releases the claims.

Until the run begins, each claim has a lease for the wait in Dagster's queue; only the dispatcher extends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, and_, select, update

from strava_pipeline.warehouse.engine import retry_transaction
from strava_pipeline.warehouse.inbox import claims
from strava_pipeline.warehouse.inbox.claims import lock_in_order, under_fences
from strava_pipeline.warehouse.inbox.waits import waiting_values
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.states import EventState, WaitingFor

_events = webhook_events.c


def record_run(engine: Engine, fences: Sequence[int], run_id: str) -> None:
    """Record the id of the Dagster run that was launched for the claims."""
    noted = update(webhook_events).where(lock_in_order(under_fences(fences))).values(run_id=run_id)
    # The run is launched already: a short outage of the database must not keep other claims from their runs.
    retry_transaction(engine, lambda connection: connection.execute(noted))


def release_claims(engine: Engine, fences: Sequence[int], *, wait: timedelta, reason: str) -> None:
    """Release claims whose run Dagster did not take; the events are due after ``wait``, and no attempt is counted."""
    returned = (
        update(webhook_events)
        .where(lock_in_order(under_fences(fences)))
        .values(**waiting_values(database_time() + wait, WaitingFor.DAGSTER, reason))
    )
    retry_transaction(engine, lambda connection: connection.execute(returned))


def overdue_runs(engine: Engine) -> list[str]:
    """Ids of runs that were launched a while ago and have not begun; Dagster knows whether they still will."""
    soon = database_time() + claims.LAUNCH_LEASE / 2
    waiting = and_(_events.state == EventState.LAUNCHED, _events.taken_up_at.is_(None), _events.run_id.is_not(None))
    query = select(_events.run_id).distinct().where(waiting, _events.lease_until < soon)
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


def extend_launches(engine: Engine, run_ids: Sequence[str]) -> None:
    """Extend the leases of runs that still wait in Dagster's queue."""
    _change_unbegun(engine, run_ids, lease_until=database_time() + claims.LAUNCH_LEASE)


def end_launches(engine: Engine, run_ids: Sequence[str], *, wait: timedelta) -> None:
    """Release the claims of runs that did not take them up; their events are due again after ``wait``."""
    reason = "the run ended or stood still before it began: Dagster shows why"
    _change_unbegun(engine, run_ids, **waiting_values(database_time() + wait, WaitingFor.DAGSTER, reason))


def _change_unbegun(engine: Engine, run_ids: Sequence[str], **values: Any) -> None:
    unbegun = and_(_events.state == EventState.LAUNCHED, _events.taken_up_at.is_(None), _events.run_id.in_(run_ids))
    with engine.begin() as connection:
        connection.execute(update(webhook_events).where(lock_in_order(unbegun)).values(**values))
