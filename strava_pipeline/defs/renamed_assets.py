"""Gives partitions that were materialized under an asset's earlier key their materialization under the present one.

In earlier releases keys had no prefix: ``strava/activities`` was ``activities``. To Dagster that is another asset, so
each month would look as if it had never been materialized. The last materialization of each partition is therefore
stored once more under the present key. It keeps its time and its run: the run goes on to be the one that the partition
shows, and takes the event with it when it is deleted. Then Dagster forgets the earlier key. Nothing is fetched.

Only in a deployment of our own: in somebody else's Dagster an asset named ``activities`` may be theirs. There a note
says when all is done, since from then on such an asset is not ours either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import dagster as dg

from strava_pipeline.names import ALL_ASSETS, Names, athlete_of_key

if TYPE_CHECKING:
    from strava_pipeline.defs.dagster_internals import EventLogEntry

# Events that one query brings, and one statement stores.
PAGE: Final = 500
_DONE: Final = "done"
# What a materialization was made from: those events were of assets that are gone. Without these tags Dagster compares
# times, which stay.
_MADE_FROM: Final = ("dagster/code_version", "dagster/input_")


def carry_over_materializations(instance: dg.DagsterInstance, names: Names) -> int:
    """Store the last materialization of each partition under its asset's present key; returns their number.

    An asset's earlier key is forgotten once all of its partitions are carried over. If the process dies before, the
    next call goes on with the partitions that lack.
    """
    note = f"{names.prefix}_pipeline/renamed_assets"
    if instance.run_storage.get_cursor_values({note}).get(note):
        return 0
    athletes = set(instance.get_dynamic_partitions(names.partition_set))
    stored = 0
    for asset in ALL_ASSETS:
        earlier = dg.AssetKey(asset)
        if instance.has_asset_key(earlier):
            stored += _carry_over(instance, earlier, dg.AssetKey(names.asset_path(asset)), athletes)
            instance.wipe_assets([earlier])
    instance.run_storage.set_cursor_values({note: _DONE})
    return stored


def _carry_over(instance: dg.DagsterInstance, earlier: dg.AssetKey, present: dg.AssetKey, athletes: set[str]) -> int:
    """Store the last materializations of partitions that lack one, in the order in which they happened."""
    done = instance.get_materialized_partitions(present)
    last = instance.get_latest_storage_id_by_partition(earlier, dg.DagsterEventType.ASSET_MATERIALIZATION)
    # What is left of an athlete who has gone stays behind.
    lacking = sorted(number for key, number in last.items() if key not in done and athlete_of_key(key) in athletes)
    for start in range(0, len(lacking), PAGE):
        page = list(_renamed(instance, earlier, present, lacking[start : start + PAGE]))
        instance.event_log_storage.store_event_batch(page)
    return len(lacking)


def _renamed(
    instance: dg.DagsterInstance, earlier: dg.AssetKey, present: dg.AssetKey, numbers: Sequence[int]
) -> Iterator[EventLogEntry]:
    """The events of these numbers, as events of the present key."""
    those = dg.AssetRecordsFilter(earlier, storage_ids=numbers)
    for record in instance.fetch_materializations(those, limit=len(numbers), ascending=True).records:
        entry = record.event_log_entry
        event = entry.get_dagster_event()
        told = event.step_materialization_data
        tags = {name: value for name, value in (told.materialization.tags or {}).items() if not _is_of_inputs(name)}
        materialization = told.materialization._replace(asset_key=present, tags=tags)
        data = told._replace(materialization=materialization)
        yield entry._replace(dagster_event=event._replace(event_specific_data=data))


def _is_of_inputs(tag: str) -> bool:
    return tag.startswith(_MADE_FROM)
