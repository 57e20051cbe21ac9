"""The one thing the bridge asks of Dagster: launch a run. GraphQL by plain requests, no Dagster needed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from strava_pipeline.errors import StravaPipelineError

TIMEOUT_SECONDS = 10
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on Error { message }
  }
}
"""


class DagsterUnavailable(StravaPipelineError):
    """Dagster did not take the run now; nothing was launched as far as we know."""


def launch_run(webserver_url: str, job: str, run_config: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Launch a job and return the run's id. ``DagsterUnavailable`` says why not."""
    params = {
        "selector": {
            "jobName": job,
            "repositoryName": "__repository__",
            "repositoryLocationName": "strava_pipeline",
        },
        "runConfigData": run_config,
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
    }
    try:
        response = requests.post(
            f"{webserver_url}/graphql",
            json={"query": _LAUNCH, "variables": {"params": params}},
            timeout=TIMEOUT_SECONDS,
        )
        response.raise_for_status()
        result = response.json()["data"]["launchRun"]
    except (requests.RequestException, KeyError, TypeError, ValueError) as error:
        raise DagsterUnavailable(f"Dagster at {webserver_url} is away: {type(error).__name__}") from None
    if result["__typename"] != "LaunchRunSuccess":
        raise DagsterUnavailable(f"Dagster refused the run: {result.get('message') or result['__typename']}")
    run_id: str = result["run"]["runId"]
    return run_id
