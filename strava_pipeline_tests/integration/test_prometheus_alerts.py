"""The alerts of Prometheus, as Prometheus itself reads them: each fires and clears, and reaches an Alertmanager."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema.alert_tables import alerts
from strava_pipeline.warehouse.schema.quota_tables import outages
from strava_pipeline.watch.prometheus_rules import OWN, PROMETHEUS_ALERTS, SCRAPE_JOB, PrometheusAlert, alert_name
from strava_pipeline.watch.rules import DOCS, RULES
from strava_pipeline_tests.alertmanager import alertmanager
from strava_pipeline_tests.bridge_process import bridge_process
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.monitoring_program import promtool
from strava_pipeline_tests.prometheus_server import Scraped, prometheus_server
from strava_pipeline_tests.strava.loopback import Loopback

FOLDER = Path(__file__).parents[2] / "deploy/prometheus"
RULES_FILE = FOLDER / "alerts.yml"
TOKEN = "metrics-token-of-a-test"
BRIDGE = f'job="{SCRAPE_JOB}", instance="bridge:8080"'
WELL = {
    f"up{{{BRIDGE}}}": "1x60",
    f"strava_pipeline_database_up{{{BRIDGE}}}": "1x60",
    f'strava_pipeline_thread_running{{thread="dispatcher", {BRIDGE}}}': "1x60",
    f"strava_pipeline_reading_timestamp_seconds{{{BRIDGE}}}": "0+60x60",
} | {
    f'strava_pipeline_alert_subjects{{rule="{rule.name}", severity="{rule.severity}", {BRIDGE}}}': "0x60"
    for rule in RULES
}
OF_BRIDGE = {"job": SCRAPE_JOB, "instance": "bridge:8080"}
# By alert of Prometheus' own: the series that differ from those above, and the labels of what fires.
FAULTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "StravaPipelineBridgeDown": ({"up": "1x9 0x50"}, OF_BRIDGE),
    "StravaPipelineNotScraped": ({"up": "1x9 stale"}, {"job": SCRAPE_JOB}),
    "StravaPipelineTablesUnread": ({"strava_pipeline_database_up": "1x9 0x50"}, {"job": SCRAPE_JOB}),
    "StravaPipelineMetricsAbsent": ({"strava_pipeline_alert_subjects": "0x9 stale"}, {"job": SCRAPE_JOB}),
    "StravaPipelineReadingStopped": ({"strava_pipeline_reading_timestamp_seconds": "0+60x9 540x50"}, OF_BRIDGE),
    "StravaPipelineThreadEnded": (
        {"strava_pipeline_thread_running": "1x9 0x50"},
        OF_BRIDGE | {"thread": "dispatcher"},
    ),
}


def run_tests(folder: Path, *tests: dict[str, Any]) -> None:
    """Let promtool test the rules; a test is JSON, which is YAML, too."""
    path = folder / "alerts_test.json"
    path.write_text(json.dumps({"rule_files": [str(RULES_FILE)], "evaluation_interval": "1m", "tests": list(tests)}))
    promtool("test", "rules", str(path))


def series(changed: dict[str, str]) -> list[dict[str, str]]:
    """All series, with the values of the metrics that changed."""
    return [{"series": name, "values": changed.get(name.partition("{")[0], values)} for name, values in WELL.items()]


def expected(alert: PrometheusAlert, labels: dict[str, str], **filled: str) -> dict[str, Any]:
    told = {"summary": alert.summary, "description": alert.description}
    for name, value in filled.items():
        told = {key: text.replace(name_of(name), value) for key, text in told.items()}
    if alert.anchor:
        told["runbook"] = f"{DOCS}#{alert.anchor}"
    return {"exp_labels": labels | {"severity": alert.severity}, "exp_annotations": told}


def name_of(field: str) -> str:
    """A field of an annotation's template."""
    return {"value": "{{ $value }}", "ago": "{{ $value | humanizeDuration }}"}.get(field, f"{{{{ $labels.{field} }}}}")


def asked(alert: PrometheusAlert, minute: int, *found: dict[str, Any]) -> dict[str, Any]:
    return {"eval_time": f"{minute}m", "alertname": alert.name, "exp_alerts": list(found)}


def test_the_files_are_valid(tmp_path: Path) -> None:
    promtool("check", "rules", str(RULES_FILE))
    for name in ("prometheus.yml", "alerts.yml"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "strava-metrics-token").write_text(TOKEN)
    promtool("check", "config", str(tmp_path / "prometheus.yml"))


def test_each_rule_of_the_bridge_fires_once_however_many_bridges_tell_it_and_clears(tmp_path: Path) -> None:
    tests = []
    for rule in RULES:
        (alert,) = (each for each in PROMETHEUS_ALERTS if each.name == alert_name(rule))
        labels = f'rule="{rule.name}", severity="{rule.severity}", job="{SCRAPE_JOB}"'
        name = "strava_pipeline_alert_subjects"
        told = {f'{name}{{instance="{bridge}", {labels}}}': "0x4 2x4 0x9" for bridge in ("one", "two")}
        fires = expected(alert, {"rule": rule.name, "job": SCRAPE_JOB}, value="2")
        tests.append(
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in told.items()],
                "alert_rule_test": [asked(alert, 4), asked(alert, 6, fires), asked(alert, 12)],
            }
        )
    run_tests(tmp_path, *tests)


def test_with_all_well_nothing_fires_but_the_watchdog(tmp_path: Path) -> None:
    quiet = [asked(alert, 30) for alert in PROMETHEUS_ALERTS if alert.name != "Watchdog"]
    watchdog = asked(OWN[-1], 30, expected(OWN[-1], {}))
    run_tests(tmp_path, {"interval": "1m", "input_series": series({}), "alert_rule_test": [*quiet, watchdog]})


def test_what_no_bridge_can_tell_is_noticed(tmp_path: Path) -> None:
    assert set(FAULTS) == {alert.name for alert in OWN[:-1]}
    tests = []
    for alert in OWN[:-1]:
        changed, labels = FAULTS[alert.name]
        fires = expected(alert, labels, **(labels | {"ago": "21m 0s"}))
        tests.append(
            {
                "interval": "1m",
                "input_series": series(changed),
                "alert_rule_test": [asked(alert, 8), asked(alert, 30, fires)],
            }
        )
    run_tests(tmp_path, *tests)


@pytest.fixture
def url(settings: Settings, engine: Engine, tmp_path: Path) -> Iterator[str]:
    """The address of a bridge that finds Strava away."""
    with engine.begin() as connection:
        since = connection.execute(select(func.now())).scalar_one() - timedelta(hours=1)
        service = {"service": "api", "unanswered": 9, "several": True, "hosts": []}
        connection.execute(
            insert(outages).values(**service, first_sent_at=since, away_since=since, probe_at=since, pause_s=60.0)
        )
        alert = {"rule": "strava_away", "athlete_id": 0, "state": "firing", "detail": "Strava does not answer"}
        connection.execute(insert(alerts).values(**alert, since=since, changed_at=since, fired_at=since))
    with bridge_process(tmp_path, {"STRAVA_METRICS_TOKEN": TOKEN}) as url:
        yield url


def test_an_alert_of_a_bridge_reaches_alertmanager_and_whom_it_tells(url: str, tmp_path: Path) -> None:
    with Loopback() as told, alertmanager(tmp_path, f"{told.url}/told") as manager:
        scraped = Scraped(
            [url.removeprefix("http://")], TOKEN, every="500ms", rules=[RULES_FILE], alertmanagers=[manager.address]
        )
        with prometheus_server(tmp_path, scraped) as prometheus:
            both = {"StravaPipelineStravaAway", "Watchdog"}
            eventually(lambda: both <= set(manager.alerts()), "both alerts at Alertmanager")
            assert set(manager.alerts()) == both
            away = manager.alerts()["StravaPipelineStravaAway"]
            assert away["labels"] == {
                "alertname": "StravaPipelineStravaAway",
                "job": SCRAPE_JOB,
                "rule": "strava_away",
                "severity": "critical",
            }
            assert away["annotations"]["runbook"] == "docs/operations.md#strava-away"
            eventually(lambda: any(b"strava_away" in each.body for each in told.asked), "the message to the receiver")
            (subjects,) = prometheus.query("strava_pipeline_alert_subjects > 0")
            assert (subjects.labels["rule"], subjects.value) == ("strava_away", 1)
