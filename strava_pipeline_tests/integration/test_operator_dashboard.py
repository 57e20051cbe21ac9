"""Each query of the operator's dashboard finds something in a Prometheus that scraped a bridge with work to do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, insert

from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.months import Span
from strava_pipeline.warehouse.metric_totals import PeriodicJob, note_success
from strava_pipeline.warehouse.progress.job_progress import Completeness, ProgressReport, save_progress
from strava_pipeline.warehouse.schema.alert_tables import alerts
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.quota_tables import api_calls
from strava_pipeline_tests.bridge_process import bridge_process
from strava_pipeline_tests.conftest import SETTINGS, new_database, opened
from strava_pipeline_tests.deploy.grafana import OPERATOR, Target, promql_of
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.prometheus_server import JOB, Prometheus, Scraped, prometheus_server
from strava_pipeline_tests.strava.loopback import Loopback
from strava_pipeline_tests.webhook_bridge.dagster_stand_in import DagsterStandIn
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, RIDER, delivery, signed

TOKEN = "a-token-for-metrics"
EMPTY_WHEN_WELL = {"Alerts that are on", "Imports may be complete in"}
READ = "strava_pipeline_reading_timestamp_seconds"


@dataclass(frozen=True)
class Scraping:
    """A bridge, its tables, and the Prometheus that scrapes it; ``at_first``: what panels showed before all else."""

    bridge_url: str
    engine: Engine
    prometheus: Prometheus
    at_first: dict[str, list[float]] = field(default_factory=dict)

    def found(self, target: Target) -> list[float]:
        """The values that a panel shows now, without those that are no number."""
        expression = promql_of(target.query["expr"], {"job": JOB}, rate_interval="1m", over="5m")
        return [each.value for each in self.prometheus.query(expression) if not math.isnan(each.value)]

    def wait_for_readings(self, count: int) -> None:
        """Wait until the bridge has read its tables so many times from now on, and was scraped after that."""
        for _ in range(count):
            before = self._read_at()
            eventually(lambda seen=before: self._read_at() > seen, "another reading of the tables")  # type: ignore[misc]
        self.prometheus.wait_for_scrapes(1)

    def _read_at(self) -> float:
        return max((each.value for each in self.prometheus.query(READ)), default=0.0)


@pytest.fixture(scope="module")
def well(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraping]:
    """An installation in which all is well, and nothing has happened yet."""
    folder = tmp_path_factory.mktemp("prometheus")
    with new_database(server, template) as name, opened(server.url(name, Login.PIPELINE)) as engine:
        with engine.begin() as connection:
            connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1))
        with Loopback() as dagster:
            dagster.answer = DagsterStandIn().answer
            given = {
                "STRAVA_DATABASE_URL": server.url(name, Login.PIPELINE),
                "STRAVA_METRICS_TOKEN": TOKEN,
                "STRAVA_HOME": str(folder),
                "DAGSTER_WEBSERVER_URL": dagster.url,
            }
            with bridge_process(folder, SETTINGS | given) as url:
                target = url.removeprefix("http://")
                with prometheus_server(folder, Scraped([target], token=TOKEN)) as prometheus:
                    scraping = Scraping(url, engine, prometheus)
                    scraping.wait_for_readings(1)
                    for each in OPERATOR.targets:
                        scraping.at_first[str(each)] = scraping.found(each)
                    yield scraping


@pytest.fixture(scope="module")
def busy(well: Scraping) -> Scraping:
    """The same with calls, deliveries, events, an import under way, and an alert."""
    now = datetime.now(UTC)
    _deliver(well.bridge_url)
    with well.engine.begin() as connection:
        connection.execute(insert(api_calls), list(_calls(now)))
        connection.execute(insert(webhook_events), list(_events(now)))
        connection.execute(insert(alerts).values(_alert(now)))
        save_progress(connection, _progress(now))
    note_success(well.engine, PeriodicJob.UPKEEP)
    well.wait_for_readings(2)
    return well


@pytest.mark.parametrize("target", [each for each in OPERATOR.targets if each.panel in EMPTY_WHEN_WELL], ids=str)
def test_a_panel_of_what_is_wrong_is_empty_when_all_is_well(well: Scraping, target: Target) -> None:
    assert well.at_first[str(target)] == []


@pytest.mark.parametrize("target", OPERATOR.targets, ids=str)
def test_a_panel_finds_something(busy: Scraping, target: Target) -> None:
    assert busy.found(target)


def test_the_installation_can_be_chosen(busy: Scraping) -> None:
    offered = OPERATOR.variables["job"]["definition"]
    assert offered == "label_values(strava_pipeline_build_info, job)"
    assert [each.labels["job"] for each in busy.prometheus.query("strava_pipeline_build_info")] == [JOB]


def test_figures_are_those_that_were_put_in(busy: Scraping) -> None:
    shown = {str(target): busy.found(target) for target in OPERATOR.targets}
    assert shown["Is it up A"] == shown["Is it up B"] == shown["Is it up C"] == [1]
    assert shown["Work A"] == [1]  # athlete
    assert shown["Delivery success rate A"] == [pytest.approx(0.75)]
    assert shown["Success rate of calls A"] == [pytest.approx(0.9)]
    assert shown["Alerts that are on A"] == [1]


def _deliver(url: str) -> None:
    """Deliveries that are stored, one of them twice, and one without a signature."""
    for number in (1, 2, 3, 3):
        body = delivery(object_id=number)
        assert requests.post(url + PATH, body, headers=signed(body), timeout=PATIENCE_SECONDS).ok
    assert not requests.post(url + PATH, delivery(), timeout=PATIENCE_SECONDS).ok


def _calls(now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(20):
        yield {
            "lane": ("live", "reconcile", "backfill")[number % 3], "endpoint": "/activities/{id}", "athlete_id": RIDER,
            "reserved_at": now, "settled_at": now, "status": 503 if number % 10 == 0 else 200, "duration_ms": 200,
        }  # fmt: skip


def _events(now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(8):
        yield {
            "event_key": f"done-{number}", "source": "reconcile" if number < 2 else "webhook", "subscription_id": 1,
            "object_type": "activity", "object_id": number, "aspect_type": "create", "owner_id": RIDER,
            "event_time": now - timedelta(seconds=9), "updates": {}, "signed": True, "state": "done",
            "received_at": now - timedelta(seconds=8), "finished_at": now,
        }  # fmt: skip


def _alert(now: datetime) -> dict[str, Any]:
    times = {"since": now, "changed_at": now, "fired_at": now}
    return {"rule": "upkeep_late", "athlete_id": 0, "state": "firing", "detail": "for a test"} | times


def _progress(now: datetime) -> ProgressReport:
    return ProgressReport(
        run_id="run", span=Span(RIDER, now - timedelta(days=30), now), step="activity_streams",
        done=Completeness(12, 12, 5), requests=9, waiting_for=None, waiting_until=None,
        estimated_end=now + timedelta(hours=2),
    )  # fmt: skip
