"""Shows in Dagster the months that were imported outside of its runs, such as by ``strava-pipeline archive import``.

Dagster keeps a note of the imports whose months it shows. A run that dies has made none: the next one shows the months
that still lack. What is shown once stays as it is.
"""

from collections.abc import Sequence

import dagster as dg
from sqlalchemy import Connection

from strava_pipeline.defs.partitions import cell
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.shown_months import ensure_partitions, month_metadata
from strava_pipeline.defs.steps import NO_REQUESTS
from strava_pipeline.months import Span
from strava_pipeline.names import Asset, Names
from strava_pipeline.warehouse.archives.outside_runs import imports_outside_runs, months_outside_runs
from strava_pipeline.warehouse.engine import retry_transaction
from strava_pipeline.warehouse.states import ImportStep

# What an archive writes of a month. Details are Strava's alone.
WRITTEN = {
    Asset.ACTIVITIES: ImportStep.SUMMARY,
    Asset.STREAMS: ImportStep.STREAMS,
    Asset.ANALYSES: ImportStep.FIGURES,
}
# Months that one run shows; the next run goes on.
MOST_MONTHS = 300


def has_months_to_show(instance: dg.DagsterInstance, connection: Connection, names: Names) -> bool:
    """Whether something was imported since the last look, of which months may lack in Dagster."""
    now = imports_outside_runs(connection)
    return bool(now) and now != _noted(instance, names)


def show_archives(context: dg.OpExecutionContext, warehouse: WarehouseResource, most: int = MOST_MONTHS) -> int:
    """Log a materialization of each month and asset that lacks one, for at most so many months; return how many.

    Nothing is shown of athletes who have disconnected.
    """
    instance, names = context.instance, warehouse.names
    now = retry_transaction(warehouse.engine, imports_outside_runs)
    if not now or now == _noted(instance, names):
        return 0
    spans = retry_transaction(warehouse.engine, months_outside_runs)
    lacking = _lacking(instance, warehouse, spans)
    for span, assets in lacking[:most]:
        rows = month_metadata(warehouse, span)
        for name in assets:
            asset = dg.AssetKey(names.asset_path(name))
            about = NO_REQUESTS | {"cause": "archive"} | rows[name]
            key = cell(span.athlete_id, span.start)
            context.log_event(dg.AssetMaterialization(asset, partition=key, metadata=about))
    if len(lacking) <= most:
        instance.run_storage.set_cursor_values({_note(names): now})
    return len(lacking[:most])


def _lacking(
    instance: dg.DagsterInstance, warehouse: WarehouseResource, spans: Sequence[Span]
) -> list[tuple[Span, list[str]]]:
    """Those of the months that lack a materialization, and of which assets; none of athletes who have disconnected."""
    here = {
        athlete_id
        for athlete_id in {span.athlete_id for span in spans}
        if ensure_partitions(instance, warehouse, athlete_id)
    }
    kept = [name for name, step in WRITTEN.items() if step in warehouse.kept.steps]
    done = {name: instance.get_materialized_partitions(dg.AssetKey(warehouse.names.asset_path(name))) for name in kept}
    found = [
        (span, [name for name in kept if str(cell(span.athlete_id, span.start)) not in done[name]])
        for span in spans
        if span.athlete_id in here
    ]
    return [(span, assets) for span, assets in found if assets]


def _noted(instance: dg.DagsterInstance, names: Names) -> str | None:
    return instance.run_storage.get_cursor_values({_note(names)}).get(_note(names))


def _note(names: Names) -> str:
    return f"{names.prefix}_pipeline/shown_archives"
