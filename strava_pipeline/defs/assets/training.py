"""Training load, partitioned by athlete; computed automatically after new analyses of any month."""

from datetime import UTC, datetime

import dagster as dg

from strava_pipeline.defs.assets import lineage
from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.decorators import backfilled_asset
from strava_pipeline.defs.plan import Plan
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.steps import NO_REQUESTS, patience_of, table_metadata, translate_faults
from strava_pipeline.names import TRAINING_LOAD_SENSOR, Asset

# Like eager(), but also for past months, and for athletes with months that were never analysed.
AFTER_AN_ANALYSIS = (
    dg.AutomationCondition.eager()
    .without(dg.AutomationCondition.in_latest_time_window())
    .without(~dg.AutomationCondition.any_deps_missing())
    .with_label("an activity of any month was analysed")
)
# Fatigue falls on days of rest: an athlete who has days gets each new day, too.
EVERY_DAY = (dg.AutomationCondition.cron_tick_passed("20 0 * * *") & ~dg.AutomationCondition.missing()).with_label(
    "a new day"
)


def training_load(plan: Plan) -> dg.AssetsDefinition:
    """Make the asset of training loads."""

    @backfilled_asset(
        plan,
        Asset.TRAINING_LOAD,
        "analysis",
        # One run for all athletes whose analyses changed: an athlete takes a few milliseconds.
        dg.BackfillPolicy.single_run(),
        Asset.ANALYSES,
        partitions_def=plan.athletes(),
        kinds={"postgres"},
        metadata=table_metadata("training_load", lineage.of_load(plan)),
        automation_condition=AFTER_AN_ANALYSIS | EVERY_DAY,
    )
    def compute_load(
        context: dg.AssetExecutionContext, strava_warehouse: WarehouseResource
    ) -> dg.MaterializeResult[None]:
        """Fitness, fatigue, form, monotony and strain per day, computed from the first changed day on."""
        from strava_pipeline.sync.training_load import update_training_load  # noqa: PLC0415  loads numerics, no other run needs them

        engine, today = strava_warehouse.engine, datetime.now(UTC).date()
        with translate_faults(attempts_of(context), patience_of(context, strava_warehouse)) as subject:
            for key in context.partition_keys:
                subject.at_athlete(int(key))
                written = update_training_load(engine, int(key), today)
                context.add_asset_metadata(NO_REQUESTS | {"written": written}, partition_key=key)
        return dg.MaterializeResult()

    return compute_load


def training_load_automation(plan: Plan) -> dg.AutomationConditionSensorDefinition:
    """Make the sensor that computes training loads; Dagster's default sensor would look at a host's assets, too."""
    return dg.AutomationConditionSensorDefinition(
        plan.names.schedule(TRAINING_LOAD_SENSOR),
        target=[plan.key(Asset.TRAINING_LOAD)],
        default_status=plan.sensor_status,
    )
