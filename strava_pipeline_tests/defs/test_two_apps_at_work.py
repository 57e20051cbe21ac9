"""Two apps in one Dagster, each with its database: what runs of one do to an athlete leaves the other alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pytest

from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.names import Asset, Names, partition_key
from strava_pipeline.sync.disconnect import disconnect
from strava_pipeline.sync.erasing import finish_erasure
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline_tests.conftest import SETTINGS, new_database, opened
from strava_pipeline_tests.defs import guest_locations
from strava_pipeline_tests.defs.guest import RIDER, Guest, month, ride, strava, webserver
from strava_pipeline_tests.inbox import store
from webhook_bridge.dagster_tasks import DagsterTasks
from webhook_bridge.dispatcher import Dispatcher

# Dagster starts processes for the output of each run.
pytestmark = pytest.mark.processes


class Apps(NamedTuple):
    """Both apps have the same athlete."""

    first: Guest
    second: Guest


@pytest.fixture
def apps(server: Server, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Apps]:
    """Two apps in two code locations, each with a database; both have imported the athlete's month."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as held:
        enter = held.enter_context
        mock = enter(strava(tmp_path / "riders", RIDER))
        instance = enter(dg.DagsterInstance.local_temp(str(tmp_path)))
        monkeypatch.setenv("STRAVA_API_URL", f"{mock}/api/v3")
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{mock}/oauth")
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", enter(webserver(instance, "first_app", "second_app")))
        ride(mock)
        guests = []
        for name, made in {"first": guest_locations.first_app, "second": guest_locations.second_app}.items():
            address = server.url(enter(new_database(server, template)), Login.PIPELINE)
            monkeypatch.setenv(f"{name.upper()}_DATABASE_URL", address)
            # Of its bridge, which reads nothing but its environment.
            own = {"STRAVA_DATABASE_URL": address, "STRAVA_DAGSTER_LOCATION": made.__name__}
            guest = Guest(Names((name,)), made.__name__, made, enter(opened(address)), instance, mock, own)
            guest.connect()
            guest.materialize(Asset.ACTIVITIES)
            guests.append(guest)
        yield Apps(*guests)


def test_each_writes_to_its_own_database(apps: Apps) -> None:
    activity = ride(apps.first.mock)
    store(apps.second.engine, activity, owner_id=RIDER)

    assert Dispatcher(apps.first.settings(), apps.first.engine).dispatch_once() == 0
    assert Dispatcher(apps.second.settings(), apps.second.engine).dispatch_once() == 1

    assert apps.second.execute_launched() == "second_webhook_sync"
    count = "SELECT count(*) FROM strava.activities"
    assert (apps.first.rows(count), apps.second.rows(count)) == ([(1,)], [(2,)])


def test_forgetting_an_athlete_in_one_leaves_the_other_alone(apps: Apps) -> None:
    first, second = apps
    instance = first.instance
    runs = {run.run_id for run in instance.get_runs() if second.key(Asset.ACTIVITIES) in (run.asset_selection or ())}
    settings = first.settings()

    disconnect(settings, first.engine, RIDER, keep_data=False, actor=Actor.COMMAND)
    finish_erasure(settings, first.engine, RIDER)
    assert DagsterTasks(settings, first.engine).run_once() == 1

    assert instance.get_dynamic_partitions("first_athletes") == []
    assert instance.get_dynamic_partitions("second_athletes") == [str(RIDER)]
    assert {run.run_id for run in instance.get_runs()} == runs != set()
    assert first.materialized(Asset.ACTIVITIES) == set()
    assert second.materialized(Asset.ACTIVITIES) == {partition_key(RIDER, month())}
    count = "SELECT count(*) FROM strava.activities"
    assert (first.rows(count), second.rows(count)) == ([(0,)], [(1,)])
    assert second.rows("SELECT state FROM ops.users") == [("active",)]
