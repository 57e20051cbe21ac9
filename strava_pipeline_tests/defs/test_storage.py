"""Dagster's storage as our ``dagster.yaml`` configures it: no session of the server can hold up its events."""

from __future__ import annotations

from queue import Queue

import dagster as dg
import psycopg
from sqlalchemy import make_url

from strava_pipeline_tests.eventually import PATIENCE_SECONDS

KEY = dg.AssetKey("ridden")


@dg.asset
def ridden() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"metres": 7})


@dg.asset_check(asset=ridden)
def whole() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


def test_a_run_and_its_events_are_stored_and_no_session_is_notified(
    instance: dg.DagsterInstance, dagster_database: str
) -> None:
    address = make_url(dagster_database).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as listener:
        listener.execute("LISTEN run_events")
        done = dg.materialize([ridden, whole], instance=instance)
        assert list(listener.notifies(timeout=0)) == []
        listener.execute("SELECT 1")
        assert list(listener.notifies(timeout=0)) == []
    assert done.success
    stored = instance.get_latest_materialization_event(KEY)
    assert stored is not None
    assert stored.asset_materialization is not None
    assert stored.asset_materialization.metadata["metres"].value == 7
    found = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(KEY, "whole"), limit=1)
    assert [record.run_id for record in found] == [done.run_id]


def test_whoever_watches_a_run_is_told_its_events(instance: dg.DagsterInstance) -> None:
    done = dg.materialize([ridden, whole], instance=instance)
    told: Queue[str] = Queue()

    def tell(entry: dg.EventLogEntry, _: str) -> None:
        told.put(entry.run_id)

    instance.watch_event_logs(done.run_id, None, tell)
    assert told.get(timeout=PATIENCE_SECONDS) == done.run_id
    instance.end_watch_event_logs(done.run_id, tell)


def test_it_goes_to_other_processes_as_it_is(instance: dg.DagsterInstance) -> None:
    with dg.DagsterInstance.from_ref(instance.get_ref()) as theirs:
        assert type(theirs.event_log_storage) is type(instance.event_log_storage)
