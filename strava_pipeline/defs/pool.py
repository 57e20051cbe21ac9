"""The pool in which Dagster counts the steps that send requests to Strava."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import InternalError

from strava_pipeline.names import NAMES

if TYPE_CHECKING:
    from dagster import DagsterInstance


def set_up_pool(instance: DagsterInstance) -> None:
    """Set the pool's limit before any step asks for it.

    Dagster 1.13 sets the limit at the pool's first step. But if two steps do so at once on Postgres, the second fails:
    it goes on in a transaction that the first one's row has broken. Here that error is ignored once the limit is set.
    """
    if not _is_set_up(instance):
        try:
            instance.event_log_storage.initialize_concurrency_limit_to_default(NAMES.pool)
        except InternalError:
            if not _is_set_up(instance):
                raise


def free_slots(instance: DagsterInstance, run_id: str) -> None:
    """Free the slots that a finished run still holds: Dagster does not, and enough such runs would block all others."""
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def _is_set_up(instance: DagsterInstance) -> bool:
    return NAMES.pool in {limit.name for limit in instance.event_log_storage.get_pool_limits()}
