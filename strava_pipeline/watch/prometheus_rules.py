"""Makes deploy/prometheus/alerts.yml from the rules: what a bridge finds, as alerts of Prometheus.

``python -m strava_pipeline.watch.prometheus_rules > deploy/prometheus/alerts.yml`` writes the file anew.

The bridges decide when an alert is on; Prometheus passes it on, and notices what no bridge can tell: that none answers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from strava_pipeline.watch.rules import DOCS, RULES, Rule

# The job of the scrape configuration beside the file.
SCRAPE_JOB = "strava-pipeline"
# Two scrapes may fail, or come while a bridge restarts.
SOON, LATER = "2m", "5m"
HEADER = f"""\
# Alerts of Prometheus about strava-pipeline, made from its rules (make docs).
#
# The first group has one alert for each rule: the bridges decide when it is on. The second one notices what no bridge
# can tell; its job is that of prometheus.yml, {SCRAPE_JOB}. Watchdog always fires: let whoever receives your alerts
# notice when it no longer comes.
#
# An alert that is silenced by `strava-pipeline alerts silence` fires here all the same: silence it in Alertmanager.
"""


@dataclass(frozen=True)
class PrometheusAlert:
    """One alert of Prometheus; ``lasts``: how long its expression must hold, as Prometheus writes a duration."""

    name: str
    expression: str
    severity: str
    summary: str
    description: str
    lasts: str = ""
    anchor: str = ""


def alert_name(rule: Rule) -> str:
    """The alert's name in Prometheus: ``StravaPipelineStravaAway``."""
    return "StravaPipeline" + "".join(word.capitalize() for word in rule.name.split("_"))


def _of_rule(rule: Rule) -> PrometheusAlert:
    subjects = f'strava_pipeline_alert_subjects{{rule="{rule.name}"}}'
    whom = ": {{ $value }}" if rule.per_athlete else ""
    return PrometheusAlert(
        alert_name(rule),
        # All bridges tell the same.
        f"max without (instance) ({subjects}) > 0",
        rule.severity,
        f"{rule.summary}{whom}",
        f"It fires when {rule.threshold}. What to do: {rule.what_to_do}",
        anchor=rule.anchor,
    )


OWN = (
    PrometheusAlert(
        "StravaPipelineBridgeDown",
        f'up{{job="{SCRAPE_JOB}"}} == 0',
        "critical",
        "The bridge at {{ $labels.instance }} does not answer",
        "Prometheus cannot read its /metrics. What to do: see whether the bridge runs, its log, and whether"
        " STRAVA_METRICS_TOKEN is the token that Prometheus has. While no bridge answers, Strava's deliveries are lost"
        " after three tries.",
        SOON,
        "bridge-down",
    ),
    PrometheusAlert(
        "StravaPipelineNotScraped",
        f'absent(up{{job="{SCRAPE_JOB}"}})',
        "critical",
        "Prometheus scrapes no bridge",
        f"Prometheus has no target of the job {SCRAPE_JOB}. What to do: see its scrape configuration.",
        LATER,
        "bridge-down",
    ),
    PrometheusAlert(
        "StravaPipelineTablesUnread",
        "max without (instance) (strava_pipeline_database_up) == 0",
        "critical",
        "No bridge can read the tables",
        "Metrics of the tables are left out, and with them the alerts that bridges find. What to do: start Postgres, or"
        " see its log.",
        SOON,
        "database-away",
    ),
    PrometheusAlert(
        "StravaPipelineMetricsAbsent",
        f'absent(strava_pipeline_alert_subjects{{job="{SCRAPE_JOB}"}})',
        "warning",
        "No bridge tells which alerts are on",
        "So none of the other alerts can fire. What to do: see whether a bridge runs, and its log.",
        LATER,
        "bridge-down",
    ),
    PrometheusAlert(
        "StravaPipelineReadingStopped",
        "time() - strava_pipeline_reading_timestamp_seconds > 120",
        "warning",
        "The bridge at {{ $labels.instance }} reads nothing any more",
        "Its figures are those of {{ $value | humanizeDuration }} ago. What to do: restart it, and see its log.",
        SOON,
        "bridge-down",
    ),
    PrometheusAlert(
        "StravaPipelineThreadEnded",
        "strava_pipeline_thread_running == 0",
        "critical",
        "The thread {{ $labels.thread }} of the bridge at {{ $labels.instance }} has ended",
        "What to do: restart the bridge; its log says why the thread ended. /health/live answers 503 until then.",
        SOON,
        "bridge-down",
    ),
    PrometheusAlert(
        "Watchdog",
        "vector(1)",
        "none",
        "Alerts reach you",
        "It always fires. What to do: nothing, as long as it comes.",
    ),
)
PROMETHEUS_ALERTS = (*map(_of_rule, RULES), *OWN)


def rules_file() -> str:
    """Return the whole file, in YAML."""
    return "\n".join(
        [
            HEADER,
            "groups:",
            *_group("strava-pipeline", map(_of_rule, RULES)),
            *_group("strava-pipeline-bridges", iter(OWN)),
            "",
        ]
    )


def _group(name: str, alerts: Iterator[PrometheusAlert]) -> Iterator[str]:
    yield f"  - name: {name}"
    yield "    rules:"
    for alert in alerts:
        yield f"      - alert: {alert.name}"
        yield f"        expr: {_quoted(alert.expression)}"
        if alert.lasts:
            yield f"        for: {alert.lasts}"
        yield f"        labels: {{severity: {alert.severity}}}"
        yield "        annotations:"
        yield f"          summary: {_quoted(alert.summary)}"
        yield f"          description: {_quoted(alert.description)}"
        if alert.anchor:
            yield f"          runbook: {DOCS}#{alert.anchor}"


def _quoted(text: str) -> str:
    """A text as YAML writes it."""
    return json.dumps(text, ensure_ascii=False) if "'" in text else f"'{text}'"


if __name__ == "__main__":
    sys.stdout.write(rules_file())
