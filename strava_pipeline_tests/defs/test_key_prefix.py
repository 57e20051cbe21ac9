"""With another prefix all goes as with the default: imports, webhooks, erasures, each under the names that it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Engine

from strava_pipeline.names import HISTORY_ASSETS, Names, partition_key
from strava_pipeline.settings import Settings
from strava_pipeline_tests.defs import guest_locations
from strava_pipeline_tests.defs.guest import RIDER, Guest, month, ride, strava, webserver
from strava_pipeline_tests.inbox import store
from strava_pipeline_tests.wishes import wish_for
from webhook_bridge.dagster_server import DagsterServer
from webhook_bridge.dagster_tasks import DagsterTasks
from webhook_bridge.dispatcher import Dispatcher
from webhook_bridge.imports import launch_imports

# Dagster starts processes for the output of each run.
pytestmark = pytest.mark.processes
Made = Callable[[], dg.Definitions]
LOCATIONS: dict[str, tuple[Made, tuple[str, ...]]] = {
    "text": (guest_locations.rides, ("rides",)),
    "list": (guest_locations.my_rides, ("my", "rides")),
}


@pytest.fixture(params=list(LOCATIONS.values()), ids=list(LOCATIONS))
def guest(
    request: pytest.FixtureRequest, settings: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Guest]:
    """A host whose prefix is not ours, with one athlete connected."""
    made, key_prefix = request.param
    with (
        strava(tmp_path / "riders", RIDER) as mock,
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        webserver(instance, made.__name__) as dagster,
    ):
        monkeypatch.setenv("STRAVA_API_URL", f"{mock}/api/v3")
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{mock}/oauth")
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", dagster)
        guest = Guest(Names(key_prefix), made.__name__, made, engine, instance, mock)
        guest.connect()
        yield guest


def test_a_webhook(guest: Guest) -> None:
    activity = ride(guest.mock)
    store(guest.engine, activity, owner_id=RIDER)

    assert Dispatcher(guest.settings(), guest.engine).dispatch_once() == 1

    assert guest.execute_launched() == f"{guest.names.prefix}_webhook_sync"
    assert guest.rows("SELECT state FROM ops.webhook_events") == [("done",)]
    assert guest.rows("SELECT activity_id FROM strava.route_analyses") == [(activity,)]


def test_an_import(guest: Guest) -> None:
    activity = ride(guest.mock)
    wish_for(guest.engine, month(), month(), athlete_id=RIDER)
    dagster, jobs = DagsterServer.from_settings(guest.settings()), set()

    # A run takes one task.
    while launch_imports(dagster, guest.engine, month()):
        jobs.add(guest.execute_launched())

    assert jobs == {f"{guest.names.prefix}_import_history"}
    assert guest.rows("SELECT activity_id FROM strava.route_analyses") == [(activity,)]
    key = partition_key(RIDER, month())
    assert [guest.materialized(asset) for asset in HISTORY_ASSETS] == [{key}] * len(HISTORY_ASSETS)


def test_a_webhook_to_an_imported_month_shows_as_a_materialization(guest: Guest) -> None:
    guest.materialize(*HISTORY_ASSETS)
    activity = ride(guest.mock)
    store(guest.engine, activity, owner_id=RIDER)

    Dispatcher(guest.settings(), guest.engine).dispatch_once()
    guest.execute_launched()

    for asset in HISTORY_ASSETS:
        newest, *_ = guest.instance.fetch_materializations(guest.key(asset), limit=1).records
        assert newest.asset_materialization is not None
        assert newest.asset_materialization.metadata["activity"].value == activity


def test_an_erasure(guest: Guest) -> None:
    ride(guest.mock)
    guest.materialize(*HISTORY_ASSETS)
    with guest.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE ops.users SET dagster_task = 'erase', state = 'revoked'")

    assert DagsterTasks(guest.settings(), guest.engine).run_once() == 1

    assert guest.instance.get_dynamic_partitions(guest.names.partition_set) == []
    assert guest.instance.get_runs() == []
    assert [guest.materialized(asset) for asset in HISTORY_ASSETS] == [set()] * len(HISTORY_ASSETS)
    hiding = [guest.instance.fetch_materializations(guest.key(asset), limit=1).records[0] for asset in HISTORY_ASSETS]
    assert {record.partition_key for record in hiding} == {None}
