"""Shows in Dagster that single activities of an athlete's months were written, and how the checks of assets stand."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg

from strava_pipeline.defs.check_reports import report_checks
from strava_pipeline.defs.partitions import cell, span_of
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.shown_months import ensure_partitions, month_metadata
from strava_pipeline.names import HISTORY_ASSETS


def show_activities(
    context: dg.OpExecutionContext,
    warehouse: WarehouseResource,
    athlete_id: int,
    starts: Mapping[int, datetime],
    cause: str,
) -> None:
    """Log that activities of an athlete, by id with their start (UTC), were written; one entry a month and asset.

    Only a month that was imported as a whole is shown as materialized; in any other month single activities must not
    look like all of them. Nothing is shown of an athlete who has disconnected meanwhile.
    """
    if not starts or not ensure_partitions(context.instance, warehouse, athlete_id):
        return
    months: dict[dg.MultiPartitionKey, list[int]] = defaultdict(list)
    for activity_id, start in starts.items():
        months[cell(athlete_id, start)].append(activity_id)
    assets = {
        name: dg.AssetKey(warehouse.names.asset_path(name)) for name in HISTORY_ASSETS if name in warehouse.assets
    }
    materialized: set[str] = set()
    for key, ids in sorted(months.items()):
        about: dict[str, Any] = {"activity": ids[0]} if len(ids) == 1 else {"activities": len(ids)}
        about["cause"] = cause
        shown = month_metadata(warehouse, span_of(key))
        for name, asset in assets.items():
            if _is_materialized(context.instance, asset, key):
                materialized.add(name)
                context.log_event(dg.AssetMaterialization(asset, partition=key, metadata=about | shown[name]))
            else:
                context.log_event(dg.AssetObservation(asset, partition=key, metadata=about))
    report_checks(context, warehouse, [name for name in assets if name in materialized])


def _is_materialized(instance: dg.DagsterInstance, asset: dg.AssetKey, key: dg.MultiPartitionKey) -> bool:
    of_month = dg.AssetRecordsFilter(asset, asset_partitions=[key])
    return bool(instance.fetch_materializations(of_month, limit=1).records)
