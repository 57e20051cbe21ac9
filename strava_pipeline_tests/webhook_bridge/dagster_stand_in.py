"""A loopback stand-in of Dagster's GraphQL that takes launches and tells of runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from strava_pipeline_tests.strava.loopback import Asked, Reply, reply


@dataclass
class DagsterStandIn:
    """Takes launches, or answers with what ``refusal`` holds: a status and a body."""

    launches: list[dict[str, Any]] = field(default_factory=list)
    refusal: tuple[int, bytes] | None = None
    # What became of runs, when asked for them; the others are still to come.
    runs: dict[str, str] = field(default_factory=dict)
    # When they began (epoch, s).
    began: float | None = None
    asked: int = 0
    # Runs in the queue.
    queued: int = 0
    # What happens while an answer is being made.
    meanwhile: Callable[[], None] = lambda: None

    def answer(self, asked: Asked) -> Reply:
        body = json.loads(asked.body)
        self.asked += 1
        self.meanwhile()
        if self.refusal is not None:
            status, refusal = self.refusal
            return Reply(status, refusal)
        if "QueuedRuns" in body["query"]:
            return reply({"data": {"answer": {"__typename": "Runs", "count": self.queued}}})
        if "runIds" in body["variables"]["params"]:
            names = body["variables"]["params"]["runIds"]
            times = {"startTime": self.began, "updateTime": self.began}
            found = [{"runId": name, "status": self.runs.get(name, "QUEUED")} | times for name in names]
            return reply({"data": {"answer": {"__typename": "Runs", "results": found}}})
        self.launches.append(body["variables"]["params"])
        run = {"__typename": "LaunchRunSuccess", "run": {"id": f"run-{len(self.launches)}"}}
        return reply({"data": {"answer": run}})

    def fences(self) -> list[int]:
        """The claims in all runs that were launched."""
        configs = [launch["runConfigData"]["ops"]["strava_claimed_objects"]["config"] for launch in self.launches]
        return [fence for config in configs for fence in config["fences"]]

    def tags(self) -> dict[str, str]:
        """The tags of the last run."""
        return {tag["key"]: tag["value"] for tag in self.launches[-1]["executionMetadata"]["tags"]}
