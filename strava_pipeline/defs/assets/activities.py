"""Activities of an athlete's month: summaries -> details -> streams; the operator chooses how deep to go."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

import dagster as dg

from strava_pipeline.defs.assets import lineage
from strava_pipeline.defs.assets.progress import ProgressReporter, reporting_progress
from strava_pipeline.defs.check_reports import as_listed
from strava_pipeline.defs.checks import as_listed_spec
from strava_pipeline.defs.decorators import month_asset
from strava_pipeline.defs.month_steps import working_on_months
from strava_pipeline.defs.partitions import spans_by_athlete
from strava_pipeline.defs.plan import Plan
from strava_pipeline.defs.resources import StravaResource
from strava_pipeline.defs.steps import ROW_COUNT, lane_of, table_metadata
from strava_pipeline.months import Span
from strava_pipeline.names import Asset
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.sync.context import SpanResult, SyncContext
from strava_pipeline.sync.handed_in_months import NOT_ASKED, asks_strava
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.states import ImportStep

GROUP = "activities"
# The live path writes each new activity; after so long without one, something may be wrong with it.
FRESH = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=7), fail_window=timedelta(days=21))


class ActivitiesConfig(dg.Config):
    """Options for replacing a month."""

    allow_mass_delete: bool = False


def activities(plan: Plan) -> dg.AssetsDefinition:
    """Make the asset of summaries."""

    @month_asset(
        plan,
        Asset.ACTIVITIES,
        GROUP,
        kinds={"postgres"},
        freshness_policy=FRESH,
        check_specs=[as_listed_spec(plan.names)],
        metadata=table_metadata("activities"),
    )
    def import_listed(
        context: dg.AssetExecutionContext, config: ActivitiesConfig, strava_client: StravaResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Summaries as Strava lists them: edits are applied, deleted activities go, late uploads are found."""
        yield from _import_listed(context, config, strava_client)

    return import_listed


def _import_listed(
    context: dg.AssetExecutionContext, config: ActivitiesConfig, strava: StravaResource
) -> Iterator[dg.MaterializeResult[None]]:
    listed, absent = 0, 0
    with working_on_months(context, strava.warehouse, ImportStep.SUMMARY) as months:
        sync = strava.sync(lane_of(context, strava.warehouse))
        for athlete_id, cells in spans_by_athlete(context.partition_keys):
            months.subject.at_spans(*cells)
            asked = _asked(strava, athlete_id)
            with reporting_progress(context, strava.warehouse, sync, list(cells)) as reporter:
                before = sync.monitor.requests
                imported = import_summaries(sync, list(cells), allow_mass_delete=config.allow_mass_delete)
                for result in months.done(imported):
                    rows = result.stored + result.unchanged
                    listed, absent = listed + rows, absent + result.absent
                    shown = {**_costs(reporter, before), ROW_COUNT: rows - result.absent, **asked}
                    months.log_result(cells[result.span], result, shown)
                    before = sync.monitor.requests
    yield dg.MaterializeResult(check_results=[as_listed(listed=listed, absent=absent)])


def activity_details(plan: Plan) -> dg.AssetsDefinition:
    """Make the asset of details."""

    @month_asset(
        plan,
        Asset.DETAILS,
        GROUP,
        built_on=Asset.ACTIVITIES,
        kinds={"postgres"},
        metadata=table_metadata("laps", lineage.of_part(plan)),
    )
    def fetch_details(context: dg.AssetExecutionContext, strava_client: StravaResource) -> dg.MaterializeResult[None]:
        """Details, laps, splits, best efforts and segment efforts; one request per activity."""
        return _month_by_month(context, strava_client, ImportStep.DETAIL, import_details)

    return fetch_details


def activity_streams(plan: Plan) -> dg.AssetsDefinition:
    """Make the asset of samples."""

    @month_asset(
        plan,
        Asset.STREAMS,
        GROUP,
        built_on=Asset.DETAILS,
        kinds={"postgres"},
        metadata=table_metadata("activity_streams", lineage.of_part(plan)),
    )
    def fetch_streams(context: dg.AssetExecutionContext, strava_client: StravaResource) -> dg.MaterializeResult[None]:
        """Samples of each activity; one request per activity, none for an activity entered by hand."""
        return _month_by_month(context, strava_client, ImportStep.STREAMS, import_streams)

    return fetch_streams


def _month_by_month(
    context: dg.AssetExecutionContext,
    strava: StravaResource,
    step: ImportStep,
    fetch: Callable[[SyncContext, Span], SpanResult],
) -> dg.MaterializeResult[None]:
    with working_on_months(context, strava.warehouse, step) as months:
        sync = strava.sync(lane_of(context, strava.warehouse))
        for athlete_id, cells in spans_by_athlete(context.partition_keys):
            asked = _asked(strava, athlete_id)
            with reporting_progress(context, strava.warehouse, sync, list(cells)) as reporter:
                before = sync.monitor.requests
                for key, result in months.each(cells, partial(fetch, sync)):
                    months.log_result(key, result, {**_costs(reporter, before), **asked})
                    before = sync.monitor.requests
    return dg.MaterializeResult()


def _asked(strava: StravaResource, athlete_id: int) -> dict[str, str]:
    """What a month's metadata say of an athlete of whom Strava is not asked."""
    return {} if asks_strava(strava.warehouse.engine, athlete_id) else {"asked of Strava": NOT_ASKED}


def _costs(reporter: ProgressReporter, before: int) -> dict[str, int]:
    """The requests of a month and the quota left, which is read only if the month sent requests."""
    requests = reporter.sync.monitor.requests - before
    return {"requests": requests} | ({"quota left": reporter.quota_left()} if requests else {})
