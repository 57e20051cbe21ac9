"""An athlete's runs are put into Dagster's queue in their order, with their tags."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from strava_pipeline.months import parse_month
from strava_pipeline.names import HISTORY_ASSETS
from strava_pipeline.planned_runs import PlannedRun
from strava_pipeline.secret import Secret
from strava_pipeline_tests.placed import PLACE, PlacedLoopback
from strava_pipeline_tests.strava.loopback import Loopback, reply
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable
from webhook_bridge.planned_launch import launch_planned

RUNS = [PlannedRun(("athletes",)), PlannedRun(HISTORY_ASSETS, parse_month("2024-11"), parse_month("2025-02"))]


@pytest.fixture
def dagster() -> Iterator[Loopback]:
    with PlacedLoopback() as loopback:
        yield loopback


def server(dagster: Loopback) -> DagsterServer:
    return DagsterServer(dagster.url, Secret("by-which-the-guard-knows-us"))


def test_runs_are_launched_in_their_order(dagster: Loopback) -> None:
    launched = [{"__typename": "LaunchRunSuccess", "run": {"id": f"run-{number}"}} for number in range(2)]
    dagster.answers(*(reply({"data": {"answer": answer}}) for answer in launched))
    assert launch_planned(server(dagster), 7, RUNS) == ["run-0", "run-1"]
    sent = [json.loads(asked.body)["variables"]["params"] for asked in dagster.asked]
    assert [_assets(params) for params in sent] == [
        ["strava.athletes", "strava.gear"],
        [f"strava.{asset}" for asset in HISTORY_ASSETS],
    ]
    assert [_tags(params) for params in sent] == [run.tags(PLACE.names, 7) for run in RUNS]


def test_the_first_that_is_refused_ends_it(dagster: Loopback) -> None:
    dagster.answers(reply({"data": {"answer": {"__typename": "InvalidSubsetError", "message": "no such asset"}}}))
    with pytest.raises(DagsterUnavailable, match="no such asset"):
        launch_planned(server(dagster), 7, RUNS)
    assert len(dagster.asked) == 1


def _assets(params: dict[str, dict[str, list[dict[str, list[str]]]]]) -> list[str]:
    return [".".join(asset["path"]) for asset in params["selector"]["assetSelection"]]


def _tags(params: dict[str, dict[str, list[dict[str, str]]]]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in params["executionMetadata"]["tags"]}
