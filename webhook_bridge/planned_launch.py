"""Launches an athlete's planned runs on a running Dagster, which queues them."""

from __future__ import annotations

from collections.abc import Iterable

from strava_pipeline.planned_runs import PlannedRun
from webhook_bridge.dagster_api import launch_assets
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer


def launch_planned(dagster: DagsterServer, athlete_id: int, runs: Iterable[PlannedRun]) -> list[str]:
    """Put runs into Dagster's queue, in this order; returns the runs' ids.

    The queue starts several runs at once, up to its limits: plan them by ``plan_side_by_side``. The athlete must have
    partitions (``add_athlete``). ``DagsterUnavailable`` if Dagster refuses a run: those before it remain launched.
    Launching a plan twice makes two runs of each, of which the second asks Strava for listings only.
    """
    place = find_place(dagster)
    return [launch_assets(dagster, place, run.selection, run.tags(place.names, athlete_id)) for run in runs]
