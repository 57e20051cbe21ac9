"""The definitions of a deployment of our own, each by its plain name, as runs within the test's process use them."""

from __future__ import annotations

from functools import cache
from typing import Any

import dagster as dg

from strava_pipeline.defs import checks as of_checks
from strava_pipeline.defs.assets import activities as of_activities
from strava_pipeline.defs.assets import analysis, archives, athletes, lake, training
from strava_pipeline.defs.code_location import definitions_of, own_plan
from strava_pipeline.defs.io_manager import StravaIOManager
from strava_pipeline.defs.jobs import archive_import as archive_jobs
from strava_pipeline.defs.jobs import checks as checks_jobs
from strava_pipeline.defs.jobs import files_import as files_jobs
from strava_pipeline.defs.jobs import imports, notifications
from strava_pipeline.defs.jobs import lake as lake_jobs
from strava_pipeline.defs.jobs import remap as remap_jobs
from strava_pipeline.defs.jobs import retention as retention_jobs
from strava_pipeline.defs.jobs import run_retention as run_retention_jobs
from strava_pipeline.defs.jobs import upkeep as upkeep_jobs
from strava_pipeline.defs.jobs import webhook_sync as webhook_jobs
from strava_pipeline.defs.plan import IO_MANAGER
from strava_pipeline.defs.resources import MailerResource, StravaResource, WarehouseResource
from strava_pipeline.names import OWN_NAMES

PLAN = own_plan()
NAMES = OWN_NAMES

activities = of_activities.activities(PLAN)
activity_details = of_activities.activity_details(PLAN)
activity_streams = of_activities.activity_streams(PLAN)
route_analyses = analysis.route_analyses(PLAN)
athletes_and_gear = athletes.athletes_and_gear(PLAN)
activity_points_parquet = lake.activity_points_parquet(PLAN)
training_load = training.training_load(PLAN)
archive_files = archives.archive_files(PLAN)
CHECKS = of_checks.checks(PLAN)
grid_partitions = PLAN.grid()
athletes_partitions = PLAN.athletes()

_send_mails = notifications.send_mails_op(PLAN)
webhook_sync = webhook_jobs.webhook_sync_job(PLAN, _send_mails)
newest_month = imports.newest_month_job(PLAN)
import_history = imports.import_history_job(PLAN)
files_import = files_jobs.files_import_job(PLAN, _send_mails)
archive_import = archive_jobs.archive_import_job(PLAN)
upkeep = upkeep_jobs.upkeep_job(PLAN)
update_lake = lake_jobs.lake_job(PLAN)
run_checks = checks_jobs.checks_job(PLAN)
retention = retention_jobs.retention_job(PLAN)
run_retention = run_retention_jobs.run_retention_job(PLAN)
remap = remap_jobs.remap_job(PLAN)
send_notifications = notifications.send_notifications_job(PLAN, _send_mails)

newest_months_every_five_minutes = imports.newest_months_every_five_minutes(PLAN)
imports_every_five_minutes = imports.imports_every_five_minutes(PLAN)
files_every_five_minutes = files_jobs.files_every_five_minutes(PLAN)
checks_every_five_minutes = checks_jobs.checks_every_five_minutes(PLAN)
notifications_every_five_minutes = notifications.notifications_every_five_minutes(PLAN)
upkeep_every_five_minutes = upkeep_jobs.upkeep_every_five_minutes(PLAN)
lake_every_five_minutes = lake_jobs.lake_every_five_minutes(PLAN)
retention_every_night = retention_jobs.retention_every_night(PLAN)
run_retention_every_hour = run_retention_jobs.run_retention_every_hour(PLAN)


def key_of(asset: str) -> dg.AssetKey:
    """The key of an asset, by its plain name."""
    return PLAN.key(asset)


def step(asset: str) -> str:
    """The key of the step that makes an asset, by the asset's plain name."""
    return "__".join(NAMES.asset_path(asset))


def op(name: str) -> str:
    """The name of an op, by its plain name."""
    return NAMES.op(name)


@cache
def loaded(job: dg.JobDefinition) -> dg.JobDefinition:
    """A job as a code location has it, with its resources; Dagster stores a run of no other."""
    return defs().resolve_job_def(job.name)


def own_resources() -> dict[str, Any]:
    """The resources of a deployment of our own."""
    warehouse = WarehouseResource(is_own=True)
    return {
        "strava_warehouse": warehouse,
        "strava_client": StravaResource(warehouse=warehouse),
        "strava_mailer": MailerResource(warehouse=warehouse),
        IO_MANAGER: StravaIOManager(warehouse=warehouse),
    }


def defs() -> dg.Definitions:
    """All of them, made anew with the settings of now."""
    return definitions_of(own_plan())
