"""Training load, partitioned by athlete; computed automatically after new analyses of any month."""

from datetime import UTC, datetime

import dagster as dg

from strava_pipeline.defs.assets import lineage
from strava_pipeline.defs.assets.analysis import route_analyses
from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.partitions import athletes_partitions
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.steps import NO_REQUESTS, backfilled_asset, patience_of, table_metadata, translate_faults

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


@backfilled_asset(
    # One run for all athletes whose analyses changed: an athlete takes a few milliseconds.
    dg.BackfillPolicy.single_run(),
    partitions_def=athletes_partitions,
    group_name="analysis",
    deps=[route_analyses],
    kinds={"postgres"},
    metadata=table_metadata("training_load", lineage.of_load()),
    automation_condition=AFTER_AN_ANALYSIS | EVERY_DAY,
)
def training_load(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult[None]:
    """Fitness, fatigue, form, monotony and strain per day, computed from the first changed day on."""
    from strava_pipeline.sync.training_load import update_training_load  # noqa: PLC0415  loads numerics, no other run needs them

    today = datetime.now(UTC).date()
    with translate_faults(attempts_of(context), patience_of(context, warehouse.engine)) as subject:
        for key in context.partition_keys:
            subject.at_athlete(int(key))
            written = update_training_load(warehouse.engine, int(key), today)
            context.add_asset_metadata(NO_REQUESTS | {"written": written}, partition_key=key)
    return dg.MaterializeResult()


# Dagster's default sensor is stopped until an operator starts it.
training_load_automation = dg.AutomationConditionSensorDefinition(
    "training_load_automation", target=[training_load], default_status=dg.DefaultSensorStatus.RUNNING
)
