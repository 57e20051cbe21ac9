"""Deletes Dagster's runs of an athlete who is disconnected, in Dagster's storage: no webserver is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strava_pipeline.athlete_runs import HIDING_DESCRIPTION, goes_with_athlete, run_tag_filters
from strava_pipeline.names import Names

if TYPE_CHECKING:
    from dagster import DagsterInstance


def delete_runs(instance: DagsterInstance, names: Names, athlete_id: int) -> int:
    """Delete the ended runs that are an athlete's alone, with their events; returns how many are still at work.

    Each asset gets a last materialization that shows nothing of any athlete.
    """
    import dagster as dg

    from strava_pipeline.defs.our_runs import assets_of, our_assets

    found = {
        run.run_id: run
        for tags in run_tag_filters(names, athlete_id)
        for run in instance.get_runs(dg.RunsFilter(tags=tags))
        if goes_with_athlete(names, athlete_id, assets_of(run), run.tags, is_own=True)
    }
    ended = [run_id for run_id, run in found.items() if run.is_finished]
    for run_id in ended:
        # Events first: if this process died in between, events without a run would not be found again.
        instance.event_log_storage.delete_events(run_id)
        instance.delete_run(run_id)
    for asset in sorted(our_assets(names)):
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, description=HIDING_DESCRIPTION))
    return len(found) - len(ended)
