"""docs/metrics.md lists each metric as it is declared, once, and says how those of several bridges are joined."""

from __future__ import annotations

from pathlib import Path

from strava_pipeline.watch.table_families import QUICK, SLOW
from webhook_bridge.counters import Counters
from webhook_bridge.metrics import STATE
from webhook_bridge.metrics_reference import metrics_reference

PAGE = Path(__file__).parents[2] / "docs/metrics.md"


def test_the_page_is_that_of_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == metrics_reference(), "make docs writes it anew"


def test_each_metric_has_a_row_below_how_it_is_joined() -> None:
    _, tables, bridge, state = metrics_reference().split("\n## ")
    assert "by `max`" in tables
    assert [family.full_name for family in (*QUICK, *SLOW) if f"| `{family.full_name}` |" not in tables] == []
    assert "the `sum`" in bridge
    assert bridge.count("\n| `strava_pipeline_") == len(list(Counters().collect()))
    assert [family.full_name for family in STATE if f"| `{family.full_name}` |" not in state] == []


def test_no_name_is_used_twice() -> None:
    names = [line.split("`")[1] for line in metrics_reference().splitlines() if line.startswith("| `")]
    assert len(names) == len(set(names))
