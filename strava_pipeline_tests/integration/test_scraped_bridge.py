"""A real Prometheus scrapes a bridge as it is served, and promtool accepts what it reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from strava_pipeline.settings import Settings
from strava_pipeline_tests.bridge_process import bridge_process
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.monitoring_program import promtool
from strava_pipeline_tests.prometheus_server import Scraped, prometheus_server
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, delivery

TOKEN = "metrics-token-of-a-test"


@pytest.fixture
def url(settings: Settings, tmp_path: Path) -> Iterator[str]:
    with bridge_process(tmp_path, {"STRAVA_METRICS_TOKEN": TOKEN}) as url:
        yield url


def test_prometheus_scrapes_the_bridge_and_promtool_accepts_its_metrics(url: str, tmp_path: Path) -> None:
    scraped = Scraped([url.removeprefix("http://")], token=TOKEN, every="200ms")
    with prometheus_server(tmp_path, scraped) as prometheus:
        prometheus.wait_for_scrapes(2)
        # Those of the tables as well.
        eventually(lambda: prometheus.query("strava_pipeline_athletes == 0"), "metrics of the tables")
        eventually(lambda: prometheus.query("strava_pipeline_import_months_left"), "those that are read once a minute")
        assert requests.post(f"{url}{PATH}", data=delivery(), timeout=PATIENCE_SECONDS).status_code == 401
        prometheus.wait_for_scrapes(3)
        assert [each["health"] for each in prometheus.targets()] == ["up"]
        rejected = prometheus.query("sum by (reason) (strava_pipeline_deliveries_rejected_total > 0)")
        assert [(found.labels, found.value) for found in rejected] == [({"reason": "signature_missing"}, 1)]
        # Labels begin at 0, so the first of a kind is an increase.
        (risen,) = prometheus.query("increase(strava_pipeline_deliveries_rejected_total[1m]) > 0")
        assert risen.labels["reason"] == "signature_missing"
    text = requests.get(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE_SECONDS).text
    promtool("check", "metrics", given=text)
