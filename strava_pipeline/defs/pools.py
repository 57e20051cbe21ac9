"""The pools by which Dagster limits how many runs of ours are at work at once; webhooks are in none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import IntegrityError

from strava_pipeline.names import NAMES

if TYPE_CHECKING:
    from dagster import DagsterInstance

# Slots by pool. How many requests may be sent is decided by the quota ledger.
POOLS: Final = {NAMES.pool: 4, NAMES.newest_pool: 2, NAMES.upkeep_pool: 1}


def set_up_pools(instance: DagsterInstance) -> None:
    """Set the pools' limits; one that an operator has set stays.

    Dagster 1.13 stores its default as the limit of each pool that a run names.
    """
    for pool in _not_set_up(instance):
        try:
            instance.event_log_storage.set_concurrency_slots(pool, POOLS[pool])
        except IntegrityError:
            # Another process, perhaps Dagster's daemon with its default, has just added the pool.
            if pool in _not_set_up(instance):
                instance.event_log_storage.set_concurrency_slots(pool, POOLS[pool])


def free_slots(instance: DagsterInstance, run_id: str) -> None:
    """Free the slots that a finished run still holds: Dagster does not, and enough such runs would block all others."""
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def _not_set_up(instance: DagsterInstance) -> set[str]:
    """Our pools that are missing, or have Dagster's default limit."""
    limits = instance.event_log_storage.get_pool_limits()
    return set(POOLS) - {limit.name for limit in limits if not limit.from_default}
