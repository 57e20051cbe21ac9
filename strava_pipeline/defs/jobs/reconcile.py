"""Every six hours: finds changes that no webhook announced, and puts them into the inbox."""

from collections.abc import Iterator

import dagster as dg

from strava_pipeline.defs.resources import StravaResource, WarehouseResource
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.names import NAMES
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.reconcile import reconcile_athlete
from strava_pipeline.warehouse.tokens.grants import active_athletes


@dg.op(out=dg.DynamicOut(int))
def athletes_to_reconcile(
    context: dg.OpExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.DynamicOutput[int]]:
    """One step per connected athlete."""
    with translate_faults(context.retry_number), warehouse.engine.connect() as connection:
        athletes = active_athletes(connection)
    for athlete_id in athletes:
        yield dg.DynamicOutput(athlete_id, mapping_key=f"athlete_{athlete_id}")


@dg.op(pool=NAMES.upkeep_pool)
def reconcile_one(context: dg.OpExecutionContext, athlete_id: int, strava: StravaResource) -> None:
    """List the athlete's last week; differences from the tables become events in the inbox."""
    with translate_faults(context.retry_number) as subject:
        subject.at_athlete(athlete_id)
        added = reconcile_athlete(strava.sync(Lane.RECONCILE), athlete_id, load_settings().webhook_subscription_id or 0)
    missed = ", ".join(f"{count} {aspect}" for aspect, count in sorted(added.items()))
    context.log.info("athlete %d: %s", athlete_id, f"Strava never told of {missed}" if missed else "nothing was missed")


@dg.job(executor_def=dg.in_process_executor, tags={NAMES.lane_tag: Lane.RECONCILE.value})
def reconcile() -> None:
    """Finds activities that were created, changed or deleted without a webhook."""
    athletes_to_reconcile().map(reconcile_one)


every_six_hours = dg.ScheduleDefinition(
    name="reconcile_every_six_hours",
    job=reconcile,
    # Not at a full hour, when everybody's jobs start.
    cron_schedule="17 */6 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
