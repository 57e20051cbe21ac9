"""docs/operations.md: it explains each alert as its rule stands."""

from __future__ import annotations

import re
from pathlib import Path

from strava_pipeline.watch.rules import RULES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "operations.md"


def test_each_alert_has_a_section_that_begins_with_when_it_fires() -> None:
    _, _, alerts = PAGE.read_text().partition("\n## The alerts\n")
    alerts = alerts.partition("\n## ")[0]
    found = re.findall(r"^### (\S+)\n\n((?:.+\n)+)", alerts, re.MULTILINE)

    begun = [(anchor, " ".join(paragraph.split())) for anchor, paragraph in found]
    assert begun == [(rule.anchor, f"{rule.severity.capitalize()}: {rule.threshold}.") for rule in RULES]


def test_each_metric_it_names_is_one_of_the_metrics() -> None:
    table = PAGE.read_text().partition("\n## What is watched\n")[2].partition("\n## ")[0]
    named = {name if name.startswith("s") else f"strava_pipeline{name}" for name in re.findall(r"`(\w*_\w+)", table)}
    known = set(re.findall(r"strava_pipeline_\w+", (ROOT / "docs" / "metrics.md").read_text()))
    assert len(named) > 25
    assert named <= known, named - known
