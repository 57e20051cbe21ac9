"""Athletes and their gear, partitioned by athlete."""

from collections.abc import Iterator

import dagster as dg

from strava_pipeline.assets.steps import lane_of, step_faults, table_metadata
from strava_pipeline.partitions import athletes_partitions
from strava_pipeline.pool import POOL
from strava_pipeline.resources import StravaResource
from strava_pipeline.sync import import_athlete
from strava_pipeline.warehouse import tables


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "athletes",
            description="Profile of each connected athlete.",
            group_name="athletes",
            kinds={"postgres"},
            metadata=table_metadata(tables.athletes),
        ),
        dg.AssetSpec(
            "gear",
            description="Bikes and shoes of each athlete.",
            group_name="athletes",
            kinds={"postgres"},
            metadata=table_metadata(tables.gear),
        ),
    ],
    partitions_def=athletes_partitions,
    pool=POOL,
)
def athletes_and_gear(
    context: dg.AssetExecutionContext, strava: StravaResource
) -> Iterator[dg.MaterializeResult[None]]:
    """One request per athlete fills both tables."""
    sync = strava.sync(lane_of(context))
    pieces = 0
    with step_faults(context.retry_number):
        for key in context.partition_keys:
            pieces += import_athlete(sync, int(key))
    yield dg.MaterializeResult(asset_key="athletes", metadata={"written": len(context.partition_keys)})
    yield dg.MaterializeResult(asset_key="gear", metadata={"written": pieces})
