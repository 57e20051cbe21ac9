"""Athletes and their gear, partitioned by athlete."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from strava_pipeline.defs.assets.progress import quota_left
from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.plan import IO_MANAGER, Plan
from strava_pipeline.defs.resources import StravaResource
from strava_pipeline.defs.steps import lane_of, patience_of, table_metadata, translate_faults
from strava_pipeline.names import Asset
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.sync.athlete import import_athlete
from strava_pipeline.sync.handed_in_months import NOT_ASKED, asks_strava


def athletes_and_gear(plan: Plan) -> dg.AssetsDefinition:
    """Make the assets of profiles and gear, which one step brings up to date."""

    @dg.multi_asset(
        name=plan.names.op("athletes_and_gear"),
        specs=[
            _spec(plan, Asset.ATHLETES, "Profile of each connected athlete."),
            _spec(plan, Asset.GEAR, "Bikes and shoes of each athlete."),
        ],
        partitions_def=plan.athletes(),
        pool=plan.pools().imports,
    )
    def import_profiles(
        context: dg.AssetExecutionContext, strava_client: StravaResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Profile, totals and zones take three requests per athlete; gear that the profile omits one each, once."""
        warehouse = strava_client.warehouse
        lane = lane_of(context, warehouse)
        pieces = asked = 0
        with translate_faults(attempts_of(context), patience_of(context, warehouse)) as subject:
            sync = strava_client.sync(lane)
            for key in context.partition_keys:
                subject.at_athlete(int(key))
                if asks_strava(sync.engine, int(key)):
                    pieces += import_athlete(sync, int(key))
                    asked += 1
        limits = RateLimits.from_settings(warehouse.load_settings())
        left = quota_left(sync.engine, limits, int(context.partition_keys[-1]), lane)
        used: dict[str, Any] = {"requests": sync.monitor.requests, "quota left": left}
        athletes = {"written": asked}
        if not asked:
            used["asked of Strava"] = NOT_ASKED
        yield dg.MaterializeResult(asset_key=plan.key(Asset.ATHLETES), metadata=used | athletes)
        yield dg.MaterializeResult(asset_key=plan.key(Asset.GEAR), metadata=used | {"written": pieces})

    return import_profiles


def _spec(plan: Plan, asset: str, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        plan.key(asset),
        description=description,
        group_name=plan.group("athletes"),
        owners=plan.owners,
        tags=plan.asset_tags(asset),
        kinds={"postgres"},
        metadata=table_metadata(asset),
    ).with_io_manager_key(IO_MANAGER)
