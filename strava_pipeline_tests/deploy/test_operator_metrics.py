"""The operator's dashboard shows every metric that docs/metrics.md lists, but for a few, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from strava_pipeline_tests.deploy.grafana import OPERATOR

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
LISTED = dict(re.findall(r"^\| `(strava_pipeline_\w+)` \| (\w+) \|", PAGE, re.MULTILINE))
NAME = re.compile(r"strava_pipeline_\w+")
# Told by another metric as well, or of interest only once a panel shows that something is wrong.
LEFT_OUT = {
    f"strava_pipeline_{name}"
    for name in (
        "app_inactive_since_timestamp_seconds",
        "build_info",
        "deliveries_received_total",
        "erasures",
        "quota_scopes",
        "quota_window_end_timestamp_seconds",
        "strava_away_since_timestamp_seconds",
    )
}


def shown() -> set[str]:
    """The metrics that are asked for; of histograms without the ends of their series' names."""
    names = {name for target in OPERATOR.targets for name in NAME.findall(target.query["expr"])}
    ends = {name: re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    return {ends[name] if LISTED.get(ends[name]) == "histogram" else name for name in names}


def test_only_metrics_that_there_are_are_asked_for() -> None:
    assert shown() - LISTED.keys() == set()


def test_every_metric_is_shown_but_for_a_few() -> None:
    assert LISTED.keys() - shown() == LEFT_OUT
