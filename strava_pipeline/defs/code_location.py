"""Puts assets, jobs and resources together."""

from functools import partial

import dagster as dg

from strava_pipeline.defs.assets.activities import activities, activity_details, activity_streams
from strava_pipeline.defs.assets.analysis import route_analyses
from strava_pipeline.defs.assets.athletes import athletes_and_gear
from strava_pipeline.defs.assets.lake import activity_points_parquet
from strava_pipeline.defs.assets.training import training_load, training_load_automation
from strava_pipeline.defs.checks import CHECKS
from strava_pipeline.defs.jobs.imports import (
    import_history,
    imports_every_minute,
    newest_month,
    newest_months_every_minute,
)
from strava_pipeline.defs.jobs.lake import lake_every_five_minutes, update_lake
from strava_pipeline.defs.jobs.notifications import notifications_every_minute, send_notifications
from strava_pipeline.defs.jobs.remap import remap
from strava_pipeline.defs.jobs.retention import every_night, retention
from strava_pipeline.defs.jobs.upkeep import upkeep, upkeep_every_five_minutes
from strava_pipeline.defs.jobs.webhook_sync import webhook_sync
from strava_pipeline.defs.partitions import grid_from, grid_partitions
from strava_pipeline.defs.resources import MailerResource, StravaResource, WarehouseResource
from strava_pipeline.settings import load_settings

# Dagster's UI shows a team as owner, since a package cannot know a person's address.
OWNERS = ["team:strava-pipeline"]


def build_strava_defs() -> dg.Definitions:
    """Build all definitions of this package, for a code location of its own or to merge into another one.

    Reads the settings: months begin with ``STRAVA_HISTORY_START``. ``ConfigurationError`` if a setting is not usable.
    """
    grid = grid_from(load_settings().history_start)
    warehouse = WarehouseResource()
    assets = [
        athletes_and_gear,
        activities,
        activity_details,
        activity_streams,
        route_analyses,
        activity_points_parquet,
        training_load,
    ]
    return dg.Definitions(
        assets=[asset.map_asset_specs(partial(_with_settings, grid)) for asset in assets],
        asset_checks=CHECKS,
        jobs=[remap, webhook_sync, newest_month, import_history, upkeep, update_lake, retention, send_notifications],
        schedules=[
            newest_months_every_minute,
            imports_every_minute,
            upkeep_every_five_minutes,
            lake_every_five_minutes,
            every_night,
            notifications_every_minute,
        ],
        sensors=[training_load_automation],
        resources={
            "warehouse": warehouse,
            "strava": StravaResource(warehouse=warehouse),
            "mailer": MailerResource(warehouse=warehouse),
            # Steps hand over ids only, within one process.
            "io_manager": dg.mem_io_manager,
        },
        # Steps wait for Strava, not for a processor: one process per run is enough.
        executor=dg.in_process_executor,
    )


def _with_settings(grid: dg.MultiPartitionsDefinition, spec: dg.AssetSpec) -> dg.AssetSpec:
    """Add owners to an asset's spec and, where it is partitioned by month, the first month from the settings."""
    owned = spec.merge_attributes(owners=OWNERS)
    return owned.replace_attributes(partitions_def=grid) if spec.partitions_def is grid_partitions else owned
