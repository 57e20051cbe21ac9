"""Somebody's Dagster takes us in by each of three ways: it does as before, and webhooks reach our job in it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
import requests
from dagster import DagsterRunStatus
from sqlalchemy import Engine

from strava_pipeline.mock_strava.athletes import cyclist_body
from strava_pipeline.names import HISTORY_ASSETS, Job, Names
from strava_pipeline.settings import load_settings
from strava_pipeline.strava import oauth
from strava_pipeline.strava.http import new_session
from strava_pipeline.sync.access import open_tokens
from strava_pipeline_tests.e2e.conftest import Installation, Mock
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.integration.guest_host import Host, Way, running_host

RIDER = 71
THEIRS = "theirs"
WAYS = {
    "location": Way({THEIRS: "host.alone", "sports": "strava_pipeline.definitions"}, "sports", ("strava",)),
    "merge": Way({THEIRS: "host.merged"}, THEIRS, ("rides",)),
    "component": Way({THEIRS: "host.definitions"}, THEIRS, ("sports", "strava")),
}


@pytest.fixture
def mock(embedded: Installation, start_mock: Callable[..., Mock], tmp_path: Path) -> Mock:
    """A Strava with an athlete who has not ridden yet."""
    home = tmp_path / "riders" / str(RIDER)
    home.mkdir(parents=True)
    (home / "athlete.json").write_text(json.dumps(cyclist_body() | {"id": RIDER, "bikes": [], "shoes": []}))
    return start_mock("--recordings", str(home.parent))


@pytest.fixture
def host(way: Way, embedded: Installation, mock: Mock, database: str, engine: Engine) -> Iterator[Host]:
    """Their Dagster, with the athlete connected to our tables."""
    embedded.environment["STRAVA_DATABASE_URL"] = database
    with patch.dict(os.environ, embedded.environment | {"STRAVA_HOME": str(embedded.home)}):
        settings = load_settings()
        _, scopes = code = oauth.parse_redirect(mock.new_code(RIDER))
        with new_session() as session:
            exchange = partial(oauth.exchange_code, settings, session, code[0])
            open_tokens(settings, engine).store_exchange(exchange, scopes)
    # The path of a socket is short.
    with (
        TemporaryDirectory(prefix="strava-guest-") as folder,
        running_host(embedded, way, Path(folder), settings, engine) as host,
    ):
        yield host


def ride(mock: Mock, *, days_ago: float = 0) -> int:
    """The athlete rides, and Strava tells nobody; returns the activity's id."""
    began = datetime.now(UTC) - timedelta(days=days_ago, hours=2)
    told = {"athlete_id": RIDER, "sport_type": "Ride", "start_date": f"{began:%Y-%m-%dT%H:%M:%SZ}", "silent": True}
    answer = requests.post(f"{mock.url}/mock/activities", json=told, timeout=PATIENCE_SECONDS)
    answer.raise_for_status()
    return int(answer.json()["id"])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_host_does_as_before_and_a_webhook_lands_in_the_location_that_has_our_job(host: Host, mock: Mock) -> None:
    activity = ride(mock)

    theirs = host.launch(THEIRS, [["activities"], ["athletes"]])
    assert host.delivers(RIDER, activity)

    assert host.ended(theirs) == DagsterRunStatus.SUCCESS, host.told(theirs)
    stored = host.value("athletes")
    assert stored["activities"] == host.value("activities")
    assert stored["activities"]["warehouse"] == "of the host"
    assert stored["process"] != stored["activities"]["process"]

    eventually(lambda: host.rows("SELECT state FROM ops.webhook_events") == [("done",)], "an event that took effect")
    job = Names(host.way.key_prefix).job(Job.WEBHOOK_SYNC)
    (ours,) = [run_id for run_id, name in host.runs_of(host.way.ours).items() if name == job]
    assert host.ended(ours) == DagsterRunStatus.SUCCESS, host.told(ours)
    assert f"activity {activity}" in host.told(ours)
    assert host.rows("SELECT id, athlete_id FROM strava.activities") == [(activity, RIDER)]
    assert host.rows("SELECT activity_id FROM strava.route_analyses") == [(activity,)]
    # Nothing runs that nobody asked for, and nothing of theirs is limited.
    assert len(host.instance.get_runs()) == 2
    assert host.instance.event_log_storage.get_concurrency_keys() == set()


@pytest.mark.parametrize("way", [WAYS["merge"]], ids=["merge"])
def test_commands_go_through_their_webserver_and_their_executor_gives_each_asset_of_ours_a_process(
    host: Host, mock: Mock
) -> None:
    activity, names = ride(mock), Names(host.way.key_prefix)
    month = f"{datetime.now(UTC) - timedelta(hours=2):%Y-%m}"
    call = host.installation.output

    call("connect", "--code", mock.new_code(RIDER))
    told = call(
        "backfill", "--athlete", str(RIDER), "--from", month, "--to", month, "--assets", ",".join(HISTORY_ASSETS)
    )

    assert host.instance.get_dynamic_partitions(names.partition_set) == [str(RIDER)]
    listing, rest = re.findall("^run (\\S+)  success  ", told, re.MULTILINE)
    assert host.runs_of(THEIRS).keys() == {listing, rest}
    steps = [step for run in (listing, rest) for step in host.processes(run)]
    assert {f"rides__{asset}" for asset in HISTORY_ASSETS} <= {name for name, _ in steps}
    assert len({process for _, process in steps}) == len(steps)
    assert host.rows("SELECT activity_id FROM strava.route_analyses") == [(activity,)]

    call("athletes", "disconnect", str(RIDER), "--yes")
    assert host.instance.get_dynamic_partitions(names.partition_set) == []
    assert host.runs_of(THEIRS) == {}
    assert host.rows("SELECT id FROM strava.activities") == []
