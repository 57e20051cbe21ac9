"""Athletes and their gear, partitioned by athlete."""

from collections.abc import Iterator

import dagster as dg

from strava_pipeline.defs.assets.progress import quota_left
from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.partitions import athletes_partitions
from strava_pipeline.defs.resources import StravaResource
from strava_pipeline.defs.steps import lane_of, patience_of, table_metadata, translate_faults
from strava_pipeline.names import NAMES, Asset
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.sync.athlete import import_athlete


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            Asset.ATHLETES,
            description="Profile of each connected athlete.",
            group_name="athletes",
            kinds={"postgres"},
            metadata=table_metadata("athletes"),
        ),
        dg.AssetSpec(
            Asset.GEAR,
            description="Bikes and shoes of each athlete.",
            group_name="athletes",
            kinds={"postgres"},
            metadata=table_metadata("gear"),
        ),
    ],
    partitions_def=athletes_partitions,
    pool=NAMES.pool,
)
def athletes_and_gear(
    context: dg.AssetExecutionContext, strava: StravaResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Profile, totals and zones take three requests per athlete; gear that the profile omits takes one each, once."""
    lane = lane_of(context)
    pieces = 0
    with translate_faults(attempts_of(context), patience_of(context, strava.warehouse.engine)) as subject:
        sync = strava.sync(lane)
        for key in context.partition_keys:
            subject.at_athlete(int(key))
            pieces += import_athlete(sync, int(key))
    left = quota_left(sync.engine, RateLimits.from_settings(load_settings()), int(context.partition_keys[-1]), lane)
    used = {"requests": sync.monitor.requests, "quota left": left}
    yield dg.MaterializeResult(asset_key=Asset.ATHLETES, metadata=used | {"written": len(context.partition_keys)})
    yield dg.MaterializeResult(asset_key=Asset.GEAR, metadata=used | {"written": pieces})
