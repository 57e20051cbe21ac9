"""The tests' Prometheus scrapes what it is told to, with its token, and answers queries."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from strava_pipeline_tests.prometheus_server import Scraped, prometheus_server
from strava_pipeline_tests.strava.loopback import Asked, Loopback, Reply

PLAIN = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


def test_it_scrapes_with_a_token_and_answers_queries(tmp_path: Path) -> None:
    counts = itertools.count(10)

    def page(_: Asked) -> Reply:
        return Reply(200, f"# TYPE seen_total counter\nseen_total {next(counts)}\n".encode(), PLAIN)

    with Loopback() as served:
        served.answer = page
        scraped = Scraped([f"127.0.0.1:{served.port}"], token="a-token", every="200ms")
        with prometheus_server(tmp_path, scraped) as prometheus:
            prometheus.wait_for_scrapes(2)
            assert [each["health"] for each in prometheus.targets()] == ["up"]
            (seen,) = prometheus.query("rate(seen_total[1m])")
            assert seen.labels["job"] == "strava-pipeline"
            assert seen.value > 0
            assert prometheus.query("up == 0") == []
            assert prometheus.alerts() == []
            with pytest.raises(AssertionError, match="parse error"):
                prometheus.query("rate(seen_total")
    assert set(served.bearers) == {"a-token"}
