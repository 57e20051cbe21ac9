"""Upkeep and retention as Dagster runs them, and a word on what was done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import Engine, insert, select, update

from strava_pipeline.defs import dead_runs
from strava_pipeline.defs.jobs.upkeep import why_no_run
from strava_pipeline.errors import RetriableStravaError
from strava_pipeline.keyring import Keyring
from strava_pipeline.names import Asset
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.quota.ledger import PostgresLedger
from strava_pipeline.warehouse.quota.strava_clock import store_clock
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.import_jobs import tick
from strava_pipeline_tests.defs.own_definitions import (
    NAMES,
    PLAN,
    key_of,
    loaded,
    retention,
    upkeep,
    upkeep_every_five_minutes,
)
from strava_pipeline_tests.erasing import OTHER, data_of, delete_some_rows, two_whole_athletes
from strava_pipeline_tests.inbox import bring_up_to_date
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.quota.ledgers import book_all

STRANGER = 2002
SCOPES = ["read", "activity:read_all"]


@pytest.fixture
def connected(location: CodeLocation, engine: Engine) -> CodeLocation:
    with engine.begin() as connection:
        for athlete_id, state in ((RIDER, "active"), (STRANGER, "revoked")):
            connection.execute(insert(users).values(athlete_id=athlete_id, scopes=SCOPES, state=state, generation=1))
    return location


def run(location: CodeLocation, job: dg.JobDefinition) -> dg.ExecuteInProcessResult:
    return job.execute_in_process(instance=location.instance, resources=location.resources(), raise_on_error=False)


def test_upkeep_goes_on_where_an_erasure_was_cut_off(location: CodeLocation, engine: Engine, keyring: Keyring) -> None:
    two_whole_athletes(engine, keyring)
    others = data_of(engine, OTHER)
    begin_erasure(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="a test")
    assert not delete_some_rows(engine, RIDER, 3).is_whole
    with engine.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == OTHER).values(state="needs_reauth"))
    assert why_no_run(location.instance, engine, PLAN) is None
    assert run(location, upkeep).success
    assert (data_of(engine, RIDER), data_of(engine, OTHER)) == ({}, others)
    assert why_no_run(location.instance, engine, PLAN) == "nothing is due"


def test_upkeep_asks_in_its_lane_and_ends_once_nothing_is_due(connected: CodeLocation, engine: Engine) -> None:
    connected.strava.add(1, datetime.now(UTC) - timedelta(days=1))
    assert why_no_run(connected.instance, engine, PLAN) is None
    assert run(connected, upkeep).success
    assert sorted(connected.strava.asked) == [
        "/athlete",
        "/athlete/activities",
        "/athlete/zones",
        f"/athletes/{RIDER}/stats",
    ]
    # Only what quota is left for goes into the lane of backfills.
    assert connected.lanes == [Lane.RECONCILE, Lane.BACKFILL]
    with engine.connect() as connection:
        found = connection.execute(select(webhook_events.c.object_id, webhook_events.c.state)).all()
    assert [tuple(row) for row in found] == [(1, "received")]
    assert why_no_run(connected.instance, engine, PLAN) == "nothing is due"


def test_a_load_that_was_behind_is_shown_as_materialized(connected: CodeLocation, engine: Engine) -> None:
    connected.strava.add(1, datetime.now(UTC) - timedelta(days=1))
    bring_up_to_date(connected.strava.sync(engine), RIDER, 1)
    (told,) = run(connected, upkeep).get_asset_materialization_events()
    assert (told.asset_key, told.partition) == (key_of(Asset.TRAINING_LOAD), str(RIDER))
    assert told.materialization.metadata["written"].value == 2
    assert run(connected, upkeep).get_asset_materialization_events() == []


def test_a_task_that_fails_leaves_the_run_green(connected: CodeLocation) -> None:
    connected.strava.faults["/athlete/activities"] = [RetriableStravaError("no connection")]
    assert run(connected, upkeep).success
    assert connected.strava.asked.count("/athlete/activities") == 1


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_a_run_to_come_or_at_work_is_not_joined_by_another(
    connected: CodeLocation, engine: Engine, status: dg.DagsterRunStatus
) -> None:
    connected.instance.create_run_for_job(loaded(upkeep), status=status, tags=upkeep.run_tags)
    assert why_no_run(connected.instance, engine, PLAN) == "the last run has not ended"


def test_a_run_whose_process_died_is_ended_and_holds_up_nobody(
    connected: CodeLocation, persistent: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, other = (persistent.create_run_for_job(loaded(upkeep), tags=tags) for tags in (upkeep.run_tags, {}))
    for begun in (dead, other):
        event = dg.DagsterEvent("PIPELINE_START", upkeep.name)
        persistent.report_dagster_event(event, begun.run_id)
    monkeypatch.setattr(dead_runs, "BETWEEN_LOOKS_SECONDS", 0.0)
    monkeypatch.setattr(dead_runs, "LOOKS", 2)

    for beat in range(3):
        persistent.add_run_tags(dead.run_id, {NAMES.beat_tag: str(beat)})
        assert tick(persistent, upkeep_every_five_minutes) == ([], "the last run has not ended")
    requests, _ = tick(persistent, upkeep_every_five_minutes)
    assert len(requests) == 1
    # A run of somebody else's job of this name is left alone.
    found = {run.run_id: run.status for run in persistent.get_runs()}
    assert found == {dead.run_id: dg.DagsterRunStatus.FAILURE, other.run_id: dg.DagsterRunStatus.STARTED}


def test_no_run_begins_while_upkeep_has_used_its_share(
    connected: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_QUOTA_SHORT_WINDOW_SECONDS", "500000000")
    monkeypatch.setenv("STRAVA_QUOTA_LONG_WINDOW_SECONDS", "1000000000")
    with engine.begin() as connection:
        store_clock(connection, StravaClock(0.0, 0.25, now(connection)))
    assert book_all(PostgresLedger(engine, RateLimits.from_settings(load_settings())), Lane.RECONCILE) > 0
    why = why_no_run(connected.instance, engine, PLAN)
    assert why is not None
    assert why.startswith("no quota is left for upkeep now: 1 athlete needs")


def test_retention_keeps_everything_unless_configured(
    connected: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, days in ((1, 5), (2, 50)):
        connected.strava.add(number, datetime.now(UTC) - timedelta(days=days))
        bring_up_to_date(connected.strava.sync(engine), RIDER, number)
    assert run(connected, retention).success
    with engine.connect() as connection:
        assert connection.execute(select(activities.c.id)).scalars().all() == [1, 2]
    monkeypatch.setenv("STRAVA_RETENTION_DAYS", "30")
    for _ in range(2):
        assert run(connected, retention).success
        with engine.connect() as connection:
            assert connection.execute(select(activities.c.id)).scalars().all() == [1]


def test_audits_are_kept_as_long_as_the_setting_says(
    connected: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as connection:
        old = datetime.now(UTC) - timedelta(days=401)
        connection.execute(insert(operator_audit).values(actor="operator", action="login", outcome="ok", at=old))
    for kept_days, left in (("0", 1), ("402", 1), ("", 0)):
        monkeypatch.setenv("STRAVA_AUDIT_RETENTION_DAYS", kept_days)
        assert run(connected, retention).success
        with engine.connect() as connection:
            found = connection.execute(select(operator_audit.c.at).where(operator_audit.c.action == "login")).all()
        assert len(found) == left
