"""A real Alertmanager on this machine, to which a Prometheus may send alerts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.monitoring_program import monitoring_program
from strava_pipeline_tests.ports import free_port


@dataclass(frozen=True)
class Alertmanager:
    """A server that runs at ``address``, host and port."""

    address: str

    def alerts(self) -> dict[str, dict[str, Any]]:
        """The alerts that it has received and that are on, by name."""
        answer = requests.get(
            f"http://{self.address}/api/v2/alerts", params={"active": "true"}, timeout=PATIENCE_SECONDS
        )
        return {each["labels"]["alertname"]: each for each in answer.json()}


@contextmanager
def alertmanager(folder: Path, webhook: str) -> Iterator[Alertmanager]:
    """Start an Alertmanager with its data in ``folder`` that posts what it receives to ``webhook`` at once."""
    route = {"receiver": "webhook", "group_wait": "0s", "group_by": ["alertname"]}
    receivers = [{"name": "webhook", "webhook_configs": [{"url": webhook}]}]
    configuration = folder / "alertmanager.json"
    configuration.write_text(json.dumps({"route": route, "receivers": receivers}), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    arguments = [
        f"--config.file={configuration}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with monitoring_program("prometheus-alertmanager", arguments, f"http://{address}", folder):
        yield Alertmanager(address)
