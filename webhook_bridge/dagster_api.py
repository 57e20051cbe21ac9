"""The few things asked of Dagster from outside: launch a run, launch a backfill.

GraphQL by plain requests, so that nothing here needs Dagster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import requests

from strava_pipeline.errors import StravaPipelineError

TIMEOUT_SECONDS = 10
LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "strava_pipeline"}
_LAUNCH_RUN = """
mutation LaunchRun($params: ExecutionParams!) {
  answer: launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { id } }
    ... on Error { message }
  }
}
"""
_LAUNCH_BACKFILL = """
mutation LaunchBackfill($params: LaunchBackfillParams!) {
  answer: launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { id: backfillId }
    ... on Error { message }
  }
}
"""


class DagsterUnavailable(StravaPipelineError):
    """Dagster did not take the run now; nothing was launched as far as we know."""


def launch_run(webserver_url: str, job: str, run_config: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Launch a job and return the run's id. ``DagsterUnavailable`` says why not."""
    params = {
        "selector": {"jobName": job, **LOCATION},
        "runConfigData": run_config,
        "executionMetadata": {"tags": _tag_list(tags)},
    }
    answer = _launch(webserver_url, _LAUNCH_RUN, params, success="LaunchRunSuccess")
    run_id: str = answer["run"]["id"]
    return run_id


def launch_backfill(
    webserver_url: str, assets: Iterable[str], partitions: Iterable[str], tags: Mapping[str, str]
) -> str:
    """Launch a backfill of assets that share their partitions, as Dagster's UI does; returns its id.

    ``DagsterUnavailable`` says why not, an unknown partition included.
    """
    params = {
        "assetSelection": [{"path": [asset]} for asset in assets],
        "partitionNames": list(partitions),
        "tags": _tag_list(tags),
    }
    answer = _launch(webserver_url, _LAUNCH_BACKFILL, params, success="LaunchBackfillSuccess")
    backfill_id: str = answer["id"]
    return backfill_id


def _launch(webserver_url: str, query: str, params: Mapping[str, Any], *, success: str) -> dict[str, Any]:
    try:
        response = requests.post(
            f"{webserver_url}/graphql",
            json={"query": query, "variables": {"params": params}},
            timeout=TIMEOUT_SECONDS,
        )
        response.raise_for_status()
        answer: dict[str, Any] = response.json()["data"]["answer"]
        kind = answer["__typename"]
    except (requests.RequestException, KeyError, TypeError, ValueError) as error:
        raise DagsterUnavailable(f"Dagster at {webserver_url} is away: {type(error).__name__}") from None
    if kind != success:
        raise DagsterUnavailable(f"Dagster refused: {answer.get('message') or kind}")
    return answer


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
