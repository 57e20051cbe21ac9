"""Puts assets, jobs and resources together, for a code location of its own or for anybody's."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from typing import Any, Final, Literal

import dagster as dg
from dagster_shared.libraries import DagsterLibraryRegistry

from strava_pipeline.defs.assets.activities import activities, activity_details, activity_streams
from strava_pipeline.defs.assets.analysis import route_analyses
from strava_pipeline.defs.assets.archives import archive_files
from strava_pipeline.defs.assets.athletes import athletes_and_gear
from strava_pipeline.defs.assets.lake import activity_points_parquet
from strava_pipeline.defs.assets.training import training_load, training_load_automation
from strava_pipeline.defs.checks import checks
from strava_pipeline.defs.io_manager import StravaIOManager
from strava_pipeline.defs.jobs.archive_import import archive_import_job
from strava_pipeline.defs.jobs.checks import checks_every_five_minutes, checks_job
from strava_pipeline.defs.jobs.files_import import files_every_five_minutes, files_import_job
from strava_pipeline.defs.jobs.imports import (
    import_history_job,
    imports_every_five_minutes,
    newest_month_job,
    newest_months_every_five_minutes,
)
from strava_pipeline.defs.jobs.lake import lake_every_five_minutes, lake_job
from strava_pipeline.defs.jobs.notifications import (
    notifications_every_five_minutes,
    send_mails_op,
    send_notifications_job,
)
from strava_pipeline.defs.jobs.remap import remap_job
from strava_pipeline.defs.jobs.retention import retention_every_night, retention_job
from strava_pipeline.defs.jobs.run_retention import run_retention_every_hour, run_retention_job
from strava_pipeline.defs.jobs.upkeep import upkeep_every_five_minutes, upkeep_job
from strava_pipeline.defs.jobs.webhook_sync import webhook_sync_job
from strava_pipeline.defs.plan import IO_MANAGER, YEARLY, Plan, Translation, kept_assets, names_with, start_given
from strava_pipeline.defs.resources import MailerResource, StravaResource, WarehouseResource
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.names import Asset

LIBRARY: Final = "strava-pipeline"
# Dagster lists the libraries of a code location with their versions.
DagsterLibraryRegistry.register(LIBRARY, version(LIBRARY), is_dagster_package=False)
# Dagster's UI shows a team as owner, since a package cannot know a person's address.
OWNERS: Final = ("team:strava-pipeline",)
_ASSETS: Mapping[str, Callable[[Plan], dg.AssetsDefinition]] = {
    Asset.ATHLETES: athletes_and_gear,
    Asset.ACTIVITIES: activities,
    Asset.DETAILS: activity_details,
    Asset.STREAMS: activity_streams,
    Asset.ANALYSES: route_analyses,
    Asset.LAKE: activity_points_parquet,
    Asset.TRAINING_LOAD: training_load,
    Asset.ARCHIVE_FILES: archive_files,
}


def build_strava_defs(  # noqa: PLR0913  each is an option by name, with a default
    *,
    key_prefix: str | Sequence[str] = "strava",
    group_name: str | None = None,
    owners: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    assets: Iterable[str] | None = None,
    history_start: date | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
    schedules: Literal["running", "stopped"] = "stopped",
    sensor: bool = True,
    pool: str | None = None,
    delete_runs: bool = False,
    translation: Translation | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """Build the definitions of this package, to be a code location of their own or to be merged into a host's.

    They hold no executor and no default IO manager, and each name that Dagster shares begins with ``key_prefix``: what
    a host has beside them behaves as before. Nothing is started, and no database is opened. Settings are read from the
    environment (docs/settings.md), and anew by each run.

    ``key_prefix``: the parts before each asset's name, as a text with slashes or one by one. Jobs, ops, schedules,
    groups, pools and the set of athletes' partitions begin with these parts joined by underscores.
    ``group_name``: one group for all assets; unset: four groups.
    ``owners``, ``tags``: of each asset; tags of ours are added, by which other processes find the assets.
    ``assets``: plain names of those to keep, such as ``activities``; what is left out is neither fetched nor shown.
    ``history_start``: no month before this one has partitions; unset: ``STRAVA_HISTORY_START``.
    ``backfill_policy``: of the assets by month; unset: a run covers up to twelve months of an athlete.
    ``schedules``: whether schedules and the sensor run before a person has started them.
    ``sensor``: whether a sensor of ours computes ``training_load`` when it is due. Dagster allows an asset one sensor
    of automation conditions: ``False`` if one of the host's looks at all assets.
    ``pool``: one pool, whose limit is the host's, for all runs of ours but webhooks'; unset: pools of our own.
    ``delete_runs``: whether old runs of ours are deleted (``STRAVA_RUN_RETENTION_DAYS``).
    ``translation``: returns each asset's spec as the host wants it; its key, its partitions and our tags must stay.
    ``settings``: fields of :class:`strava_pipeline.settings.Settings`, which go before the environment; of a secret
    only ``{"env": NAME}`` or ``{"file": PATH}``, since Dagster shows what is given here.

    ``ConfigurationError`` for what cannot be.
    """
    if schedules not in {"running", "stopped"}:
        raise ConfigurationError(f"schedules: {schedules!r}: give 'running' or 'stopped'")
    if pool is not None and not pool.strip():
        raise ConfigurationError("pool: the name is empty: give that of a pool, or leave it out")
    plan = Plan(
        names=names_with(key_prefix),
        kept=kept_assets(assets),
        group_name=group_name,
        owners=OWNERS if owners is None else tuple(owners),
        tags=dict(tags or {}),
        policy=dg.BackfillPolicy.multi_run(YEARLY) if backfill_policy is None else backfill_policy,
        runs_schedules=schedules == "running",
        has_sensor=sensor,
        pool=pool,
        deletes_runs=delete_runs,
        translation=translation,
        given=dict(settings or {}) | start_given(history_start),
    )
    return definitions_of(plan)


def own_plan() -> Plan:
    """Return the plan of a deployment of our own, in a Dagster that serves nothing else."""
    return Plan(owners=OWNERS, runs_schedules=True, deletes_runs=True, is_own=True)


def definitions_of(plan: Plan) -> dg.Definitions:
    """Make the definitions of a plan."""
    warehouse = WarehouseResource(
        key_prefix=list(plan.names.key_prefix),
        assets=sorted(plan.kept),
        settings=dict(plan.given),
        is_own=plan.is_own,
    )
    keeps_lake, keeps_load = Asset.LAKE in plan.kept, Asset.TRAINING_LOAD in plan.kept
    send_mails = send_mails_op(plan)
    return dg.Definitions(
        assets=[make(plan).map_asset_specs(plan.translated) for name, make in _ASSETS.items() if name in plan.kept],
        asset_checks=checks(plan),
        jobs=[
            webhook_sync_job(plan, send_mails),
            newest_month_job(plan),
            import_history_job(plan),
            files_import_job(plan, send_mails),
            archive_import_job(plan),
            upkeep_job(plan),
            *([lake_job(plan)] if keeps_lake else []),
            checks_job(plan),
            retention_job(plan),
            *([run_retention_job(plan)] if plan.deletes_runs else []),
            remap_job(plan),
            send_notifications_job(plan, send_mails),
        ],
        schedules=[
            newest_months_every_five_minutes(plan),
            imports_every_five_minutes(plan),
            files_every_five_minutes(plan),
            upkeep_every_five_minutes(plan),
            *([lake_every_five_minutes(plan)] if keeps_lake else []),
            checks_every_five_minutes(plan),
            retention_every_night(plan),
            *([run_retention_every_hour(plan)] if plan.deletes_runs else []),
            notifications_every_five_minutes(plan),
        ],
        sensors=[training_load_automation(plan)] if keeps_load and plan.has_sensor else [],
        resources={
            "strava_warehouse": warehouse,
            "strava_client": StravaResource(warehouse=warehouse),
            "strava_mailer": MailerResource(warehouse=warehouse),
            IO_MANAGER: StravaIOManager(warehouse=warehouse),
        },
        # Steps wait for Strava, not for a processor: one process per run is enough.
        executor=dg.in_process_executor if plan.is_own else None,
    )
