"""Launch an athlete's planned runs on the running Dagster, which works on them when there is room."""

from __future__ import annotations

from collections.abc import Iterable

from strava_pipeline.planned_runs import PlannedRun
from webhook_bridge.dagster_api import DagsterServer, launch_assets


def launch_planned(dagster: DagsterServer, athlete_id: int, runs: Iterable[PlannedRun]) -> list[str]:
    """Put runs into Dagster's queue, which takes up the first one first; returns their ids.

    The queue starts runs beside each other, up to its limits: plan them by ``plan_side_by_side``. The athlete must
    have partitions (``add_athlete``). ``DagsterUnavailable`` if Dagster takes no more: those before it are launched.
    Launching twice makes two runs, of which the second asks Strava for listings only.
    """
    return [launch_assets(dagster, run.selection, run.tags(athlete_id)) for run in runs]
