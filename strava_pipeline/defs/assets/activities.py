"""Activities of an athlete's month: summaries -> details -> streams; the operator chooses how deep to go."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

import dagster as dg

from strava_pipeline.defs.assets import lineage
from strava_pipeline.defs.assets.progress import ProgressReporter, reporting_progress
from strava_pipeline.defs.month_steps import working_on_months
from strava_pipeline.defs.partitions import grid_partitions, spans_by_athlete
from strava_pipeline.defs.resources import StravaResource
from strava_pipeline.defs.steps import backfilled_asset, lane_of, table_metadata
from strava_pipeline.months import Span
from strava_pipeline.names import NAMES, Asset
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.sync.context import SpanResult, SyncContext
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.states import ImportStep

GROUP = "activities"
# A run covers up to a year of an athlete.
YEARLY = dg.BackfillPolicy.multi_run(max_partitions_per_run=12)
# The live path writes each new activity; after so long without one, something may be wrong with it.
FRESH = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=7), fail_window=timedelta(days=21))

AS_LISTED = dg.AssetCheckSpec(
    "as_listed", asset=Asset.ACTIVITIES, description="Every activity that Strava lists is stored, or known to be gone."
)


class ActivitiesConfig(dg.Config):
    """Options for replacing a month."""

    allow_mass_delete: bool = False


@backfilled_asset(
    YEARLY,
    partitions_def=grid_partitions,
    pool=NAMES.pool,
    group_name=GROUP,
    kinds={"postgres"},
    freshness_policy=FRESH,
    check_specs=[AS_LISTED],
    metadata=table_metadata("activities"),
)
def activities(
    context: dg.AssetExecutionContext, config: ActivitiesConfig, strava: StravaResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Summaries as Strava lists them: edits are applied, deleted activities go, late uploads are found."""
    listed, absent = 0, 0
    with working_on_months(context, strava.warehouse.engine, ImportStep.SUMMARY) as months:
        sync = strava.sync(lane_of(context))
        for _, cells in spans_by_athlete(context.partition_keys):
            months.subject.at_spans(*cells)
            with reporting_progress(context, sync, list(cells)) as reporter:
                before = sync.monitor.requests
                imported = import_summaries(sync, list(cells), allow_mass_delete=config.allow_mass_delete)
                for result in months.done(imported):
                    rows = result.stored + result.unchanged
                    listed, absent = listed + rows, absent + result.absent
                    shown = _costs(reporter, before) | {"dagster/partition_row_count": rows - result.absent}
                    months.log_result(cells[result.span], result, shown)
                    before = sync.monitor.requests
    complete = dg.AssetCheckResult(
        check_name=AS_LISTED.name, passed=not absent, metadata={"listed": listed, "absent": absent}
    )
    yield dg.MaterializeResult(check_results=[complete])


@backfilled_asset(
    YEARLY,
    partitions_def=grid_partitions,
    pool=NAMES.pool,
    group_name=GROUP,
    deps=[activities],
    kinds={"postgres"},
    metadata=table_metadata("laps", lineage.of_part()),
)
def activity_details(context: dg.AssetExecutionContext, strava: StravaResource) -> dg.MaterializeResult[None]:
    """Details, laps, splits, best efforts and segment efforts; one request per activity."""
    return _month_by_month(context, strava, ImportStep.DETAIL, import_details)


@backfilled_asset(
    YEARLY,
    partitions_def=grid_partitions,
    pool=NAMES.pool,
    group_name=GROUP,
    deps=[activity_details],
    kinds={"postgres"},
    metadata=table_metadata("activity_streams", lineage.of_part()),
)
def activity_streams(context: dg.AssetExecutionContext, strava: StravaResource) -> dg.MaterializeResult[None]:
    """Samples of each activity; one request per activity, none for an activity entered by hand."""
    return _month_by_month(context, strava, ImportStep.STREAMS, import_streams)


def _month_by_month(
    context: dg.AssetExecutionContext,
    strava: StravaResource,
    step: ImportStep,
    fetch: Callable[[SyncContext, Span], SpanResult],
) -> dg.MaterializeResult[None]:
    with working_on_months(context, strava.warehouse.engine, step) as months:
        sync = strava.sync(lane_of(context))
        for _, cells in spans_by_athlete(context.partition_keys):
            with reporting_progress(context, sync, list(cells)) as reporter:
                before = sync.monitor.requests
                for key, result in months.each(cells, partial(fetch, sync)):
                    months.log_result(key, result, _costs(reporter, before))
                    before = sync.monitor.requests
    return dg.MaterializeResult()


def _costs(reporter: ProgressReporter, before: int) -> dict[str, int]:
    """The requests of a month and the quota left, which is read only if the month sent requests."""
    requests = reporter.sync.monitor.requests - before
    return {"requests": requests} | ({"quota left": reporter.quota_left()} if requests else {})
