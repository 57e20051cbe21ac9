"""One-line progress texts of the demo: months, activities and requests so far, and what the demo waits for."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from strava_pipeline.names import HISTORY_ASSETS, OWN_NAMES, Job
from strava_pipeline.warehouse.progress.import_progress import import_progress
from strava_pipeline.warehouse.progress.job_progress import backfill_progress
from strava_pipeline.warehouse.quota.api_calls import count_calls

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRunStatus
    from sqlalchemy import Engine


def history_line(engine: Engine, instance: DagsterInstance, athlete_ids: Collection[int], months: int) -> str:
    """A line that counts what is imported of the athletes' history; ``months``: the number of partitions in all."""
    from dagster import AssetKey

    done = len(instance.get_materialized_partitions(AssetKey(OWN_NAMES.asset_path(HISTORY_ASSETS[-1]))))
    with engine.connect() as connection:
        stored = import_progress(connection, athlete_ids).values()
        requests = count_calls(connection).sent
        waiting = {run.waiting_for for run in backfill_progress(connection) if run.waiting_for}
    listed, detailed, streamed = (
        sum(getattr(each, part) for each in stored) for part in ("listed", "detailed", "streamed")
    )
    return (
        f"{done} of {months} months done; {listed} activities, {detailed} details, {streamed} streams;"
        f" {requests} requests; {', '.join(sorted(waiting)) or runs_line(instance)}"
    )


def runs_line(instance: DagsterInstance) -> str:
    """A line that counts Dagster's runs at work, and those that wait to be started."""
    from dagster import DagsterRunStatus as Status

    at_work = _count(instance, [Status.STARTED, Status.CANCELING])
    to_start = _count(instance, [Status.NOT_STARTED, Status.QUEUED, Status.STARTING])
    waiting = f", {to_start} waiting for Dagster to start them" if to_start else ""
    return f"runs: {at_work} at work{waiting}"


def ride_line(instance: DagsterInstance) -> str:
    """A line that says whether the new ride waits for its webhook, waits for its run, or is being fetched."""
    from dagster import RunsFilter

    runs = instance.get_runs(RunsFilter(job_name=OWN_NAMES.job(Job.WEBHOOK_SYNC)), limit=1)
    if not runs:
        return "waiting for the webhook to arrive, and for the bridge to launch a run"
    if runs[0].status.value in {"STARTED", "SUCCESS"}:
        return "the ride's run fetches and analyses it"
    return f"waiting for Dagster to start the ride's run ({runs[0].status.value.lower().replace('_', ' ')})"


def _count(instance: DagsterInstance, statuses: list[DagsterRunStatus]) -> int:
    from dagster import RunsFilter

    return instance.get_runs_count(RunsFilter(statuses=statuses))
