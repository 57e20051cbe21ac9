"""deploy/prometheus/alerts.yml is that of the rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from strava_pipeline.watch.prometheus_rules import OWN, PROMETHEUS_ALERTS, SCRAPE_JOB, rules_file
from strava_pipeline.watch.rules import RULES

FOLDER = Path(__file__).parents[2] / "deploy/prometheus"


def test_the_file_is_that_of_the_rules() -> None:
    assert (FOLDER / "alerts.yml").read_text(encoding="utf-8") == rules_file(), "make docs writes it anew"


def test_each_rule_has_one_alert_of_its_severity() -> None:
    names = [alert.name for alert in PROMETHEUS_ALERTS]
    assert len(names) == len(set(names)) == len(RULES) + len(OWN)
    for rule, alert in zip(RULES, PROMETHEUS_ALERTS, strict=False):
        assert f'"{rule.name}"' in alert.expression
        assert alert.severity == rule.severity
        assert rule.what_to_do in alert.description
        assert alert.anchor == rule.anchor


@pytest.mark.parametrize("alert", OWN, ids=lambda alert: alert.name)
def test_each_alert_says_what_to_do(alert: object) -> None:
    assert "What to do: " in str(alert)


def test_the_sample_scrapes_the_job_that_the_alerts_name() -> None:
    sample = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
    assert f"job_name: {SCRAPE_JOB}\n" in sample
    assert "credentials_file" in sample


def test_the_docs_explain_each_alert_that_only_prometheus_finds() -> None:
    page = (FOLDER.parents[1] / "docs/operations.md").read_text(encoding="utf-8")
    assert [alert.name for alert in OWN if f"`{alert.name}`" not in page] == []
    assert [alert.anchor for alert in PROMETHEUS_ALERTS if alert.anchor and f"\n### {alert.anchor}\n" not in page] == []
