"""A real Prometheus on this machine, which scrapes what a test serves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.monitoring_program import monitoring_program
from strava_pipeline_tests.ports import free_port

JOB = "strava-pipeline"


@dataclass(frozen=True)
class Scraped:
    """What Prometheus is to do: whom to scrape (``host:port``), by which token, how often, which rules, whom to tell.

    ``alertmanagers``: ``host:port`` each. ``every`` is a duration as Prometheus writes it.
    """

    targets: Sequence[str]
    token: str | None = None
    every: str = "1s"
    rules: Sequence[Path] = ()
    alertmanagers: Sequence[str] = ()
    path: str = "/metrics"

    def configuration(self) -> dict[str, Any]:
        """The file that Prometheus reads; it is JSON, which is YAML, too."""
        job: dict[str, Any] = {
            "job_name": JOB,
            "metrics_path": self.path,
            "static_configs": [{"targets": list(self.targets)}],
        }
        if self.token is not None:
            job["authorization"] = {"credentials": self.token}
        return {
            "global": {"scrape_interval": self.every, "scrape_timeout": self.every, "evaluation_interval": self.every},
            "rule_files": [str(path) for path in self.rules],
            "scrape_configs": [job],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(self.alertmanagers)}]}]},
        }


@dataclass(frozen=True)
class Prometheus:
    """A server that runs; ``url`` is its address."""

    url: str

    def query(self, expression: str) -> list[Series]:
        """The series that an expression gives now. ``AssertionError`` with Prometheus' words if it is wrong."""
        found = self._get("query", query=expression)
        if found["resultType"] == "scalar":
            return [Series({}, float(found["result"][1]))]
        return [Series(each["metric"], float(each["value"][1])) for each in found["result"]]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts of its rules that are pending or firing."""
        alerts: list[dict[str, Any]] = self._get("alerts")["alerts"]
        return alerts

    def targets(self) -> list[dict[str, Any]]:
        """Whom it scrapes, each with its ``health`` and ``lastError``."""
        targets: list[dict[str, Any]] = self._get("targets")["activeTargets"]
        return targets

    def wait_for_scrapes(self, count: int = 2) -> None:
        """Wait until each target was scraped so many times from now on; two make a rate."""
        before = self._scrapes()

        def is_done() -> bool:
            now = self._scrapes()
            return len(now) == len(self.targets()) > 0 and all(
                made >= before.get(instance, 0) + count for instance, made in now.items()
            )

        eventually(is_done, f"{count} scrapes of each target")

    def _scrapes(self) -> dict[str, float]:
        return {each.labels["instance"]: each.value for each in self.query("sum_over_time(up[1h])")}

    def _get(self, what: str, **given: str) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/api/v1/{what}", params=given, timeout=PATIENCE_SECONDS).json()
        assert answer["status"] == "success", f"{given}: {answer.get('error')}"
        data: dict[str, Any] = answer["data"]
        return data


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels, and its value now."""

    labels: dict[str, str] = field(hash=False)
    value: float


@contextmanager
def prometheus_server(folder: Path, scraped: Scraped) -> Iterator[Prometheus]:
    """Start Prometheus with its data in ``folder``, ready to be asked; it is ended afterwards."""
    configuration = folder / "prometheus.json"
    configuration.write_text(json.dumps(scraped.configuration()), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    arguments = [
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    server = Prometheus(f"http://{address}")
    with monitoring_program("prometheus", arguments, server.url, folder):
        yield server
