"""One line tells how far the demo's runs are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest
from sqlalchemy import Engine

from strava_pipeline.cli.demo_progress import history_line, ride_line, runs_line
from strava_pipeline.months import month_span
from strava_pipeline.names import OWN_NAMES, Asset, Job
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.progress.job_progress import Completeness, ProgressReport, save_progress
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn

MONTH = datetime(2026, 3, 1, tzinfo=UTC)
NOTHING = "0 activities, 0 details, 0 streams; 0 requests"


@dg.job(name=OWN_NAMES.job(Job.WEBHOOK_SYNC))
def webhook_sync() -> None:
    """Stands for the one of webhooks."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_months_and_activities_are_counted(instance: dg.DagsterInstance, engine: Engine) -> None:
    assert history_line(engine, instance, [RIDER], 14) == f"0 of 14 months done; {NOTHING}; runs: 0 at work"
    strava = StravaStandIn()
    strava.add(1, MONTH)
    list(import_summaries(strava.sync(engine), [month_span(RIDER, MONTH)]))
    partition = f"{RIDER}|2026-03-01"
    instance.report_runless_asset_event(
        dg.AssetMaterialization(OWN_NAMES.asset_path(Asset.ANALYSES), partition=partition)
    )
    told = history_line(engine, instance, [RIDER], 14)
    assert told.startswith("1 of 14 months done; 1 activities, 0 details, 0 streams; ")


def test_a_run_that_waits_says_for_what(instance: dg.DagsterInstance, engine: Engine) -> None:
    report = ProgressReport(
        "a-run", month_span(RIDER, MONTH), "details", Completeness(0, 0, 0), 3, "the next quarter hour"
    )
    with engine.begin() as connection:
        save_progress(connection, report)
    assert history_line(engine, instance, [RIDER], 14).endswith("; the next quarter hour")


def test_runs_are_counted_by_what_they_are_at(instance: dg.DagsterInstance) -> None:
    instance.create_run_for_job(webhook_sync, status=dg.DagsterRunStatus.STARTED)
    assert runs_line(instance) == "runs: 1 at work"
    instance.create_run_for_job(webhook_sync, status=dg.DagsterRunStatus.STARTING)
    instance.create_run_for_job(webhook_sync, status=dg.DagsterRunStatus.SUCCESS)
    assert runs_line(instance) == "runs: 1 at work, 1 waiting for Dagster to start them"


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (dg.DagsterRunStatus.STARTING, "waiting for Dagster to start the ride's run (starting)"),
        (dg.DagsterRunStatus.NOT_STARTED, "waiting for Dagster to start the ride's run (not started)"),
        (dg.DagsterRunStatus.STARTED, "the ride's run fetches and analyses it"),
    ],
)
def test_a_ride_tells_where_it_is(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, told: str) -> None:
    assert ride_line(instance) == "waiting for the webhook to arrive, and for the bridge to launch a run"
    instance.create_run_for_job(webhook_sync, status=status)
    assert ride_line(instance) == told
