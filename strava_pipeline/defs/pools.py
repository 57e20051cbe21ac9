"""The pools by which Dagster limits how many runs of ours are at work at once; webhooks are in none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import IntegrityError

from strava_pipeline.names import Names
from strava_pipeline.settings import FEWEST_RUNS, Settings
from strava_pipeline.warehouse.imports.launches import most_under_way

if TYPE_CHECKING:
    from dagster import DagsterInstance

# Where nobody says how many runs may be at work at once, as in a Dagster of somebody else's.
USUAL_RUNS: Final = 10
# With fewer runs at once, all that is in pools shares one.
FEWEST_FOR_POOLS_OF_THEIR_OWN: Final = 4
# By pool the limits that are ours: the one that we have set last, or are just about to set.
_Limits = dict[str, list[int]]


@dataclass(frozen=True)
class Pools:
    """Slots by pool, and the pools of imports, newest months and upkeep, which may be one.

    ``slots`` are what we set in Dagster; a pool that somebody else looks after has none. ``note`` is the name under
    which Dagster's storage keeps the limits that we have set, as JSON.

    Whatever may take minutes is in a pool: remapping and both kinds of retention are in upkeep's. The lake's job alone
    is not, which gives way to webhooks.

    How many requests may be sent is decided by the quota ledger.
    """

    slots: Mapping[str, int]
    imports: str
    newest: str
    upkeep: str
    note: str

    @classmethod
    def of_runs(cls, names: Names, at_once: int) -> Pools:
        """The pools where so many runs may be at work at once: one slot is always left for what is in no pool.

        From five runs on, two are left, and from ten on three: for webhooks, mails, training loads, checks and the
        lake. All further ones are for imports.
        """
        if at_once < FEWEST_RUNS:
            raise ValueError(f"{at_once} runs at once are too few")
        note = f"{names.prefix}_pipeline/pools"
        if at_once < FEWEST_FOR_POOLS_OF_THEIR_OWN:
            return cls({names.pool: at_once - 1}, names.pool, names.pool, names.pool, note)
        newest = 1 if at_once < 8 else 2  # noqa: PLR2004  the halves of what is described above
        imports = min(max(at_once - newest - 3, 1), most_under_way(at_once))
        slots = {names.pool: imports, names.newest_pool: newest, names.upkeep_pool: 1}
        return cls(slots, names.pool, names.newest_pool, names.upkeep_pool, note)

    @classmethod
    def from_settings(cls, names: Names, settings: Settings) -> Pools:
        """The pools of this installation."""
        return cls.of_runs(names, settings.runs_at_once or USUAL_RUNS)

    @classmethod
    def one(cls, name: str) -> Pools:
        """One pool for all, whose limit is somebody else's."""
        return cls({}, name, name, name, "")


def set_up_pools(instance: DagsterInstance, names: Names, pools: Pools) -> None:
    """Set the pools' limits; one that an operator has set stays.

    Dagster 1.13 stores its default as the limit of each pool that a run names.
    """
    slots = pools.slots
    if not slots:
        return
    noted = _noted(instance, names, pools.note)
    unset = _not_set_up(instance, slots, noted)
    if not unset:
        return
    # If this process dies now, the limit before and the new one are both known as ours.
    _note(instance, pools.note, noted | {pool: [*noted.get(pool, ()), slots[pool]] for pool in unset})
    for pool in unset:
        try:
            instance.event_log_storage.set_concurrency_slots(pool, slots[pool])
        except IntegrityError:
            # Another process, perhaps Dagster's daemon with its default, has just added the pool.
            if pool in _not_set_up(instance, slots, noted):
                instance.event_log_storage.set_concurrency_slots(pool, slots[pool])
    _note(instance, pools.note, noted | {pool: [slots[pool]] for pool in unset})


def free_slots(instance: DagsterInstance, run_id: str) -> None:
    """Free the slots that a finished run still holds: Dagster does not, and enough such runs would block all others."""
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def _not_set_up(instance: DagsterInstance, slots: Mapping[str, int], noted: _Limits) -> list[str]:
    """Our pools that are missing, or have Dagster's default limit, or one that we set for another number of runs."""
    found = {limit.name: limit for limit in instance.event_log_storage.get_pool_limits()}

    def is_set_up(pool: str) -> bool:
        limit = found.get(pool)
        if limit is None or limit.from_default:
            return False
        return limit.limit == slots[pool] or limit.limit not in noted.get(pool, ())

    return [pool for pool in slots if not is_set_up(pool)]


def _noted(instance: DagsterInstance, names: Names, name: str) -> _Limits:
    note = instance.run_storage.get_cursor_values({name}).get(name)
    # Earlier versions noted nothing, and had these.
    usual = Pools.of_runs(names, USUAL_RUNS).slots
    return json.loads(note) if note else {pool: [limit] for pool, limit in usual.items()}


def _note(instance: DagsterInstance, name: str, limits: _Limits) -> None:
    instance.run_storage.set_cursor_values({name: json.dumps(limits)})
