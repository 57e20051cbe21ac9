"""The few things asked of Dagster from outside: launch a run, launch a backfill, is a run still to come.

GraphQL by plain requests, so that nothing here needs Dagster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import requests

from strava_pipeline.errors import StravaPipelineError

Found = TypeVar("Found")

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
_RUNS = """
query Runs($params: RunsFilter!) {
  answer: runsOrError(filter: $params) {
    __typename
    ... on Runs { results { runId status } }
    ... on Error { message }
  }
}
"""
_TO_COME = {"QUEUED", "NOT_STARTED", "MANAGED", "STARTING", "STARTED"}


class DagsterUnavailable(StravaPipelineError):
    """Dagster did not take the run now; nothing was launched as far as we know."""


def launch_run(webserver_url: str, job: str, run_config: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Launch a job and return the run's id. ``DagsterUnavailable`` says why not."""
    params = {
        "selector": {"jobName": job, **LOCATION},
        "runConfigData": run_config,
        "executionMetadata": {"tags": _tag_list(tags)},
    }
    return _ask(webserver_url, _LAUNCH_RUN, params, "LaunchRunSuccess", lambda answer: str(answer["run"]["id"]))


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
    return _ask(webserver_url, _LAUNCH_BACKFILL, params, "LaunchBackfillSuccess", lambda answer: str(answer["id"]))


def runs_to_come(webserver_url: str, run_ids: Iterable[str]) -> set[str]:
    """Those of the runs that wait in the queue, or are at work. ``DagsterUnavailable`` if nobody can tell."""

    def unfinished(answer: Any) -> set[str]:
        return {run["runId"] for run in answer["results"] if run["status"] in _TO_COME}

    return _ask(webserver_url, _RUNS, {"runIds": list(run_ids)}, "Runs", unfinished)


def _ask(
    webserver_url: str, query: str, params: Mapping[str, Any], success: str, found_in: Callable[[Any], Found]
) -> Found:
    """What an answer of the wanted kind holds; ``DagsterUnavailable`` for any other answer, and for none."""
    try:
        response = requests.post(
            f"{webserver_url}/graphql",
            json={"query": query, "variables": {"params": params}},
            timeout=TIMEOUT_SECONDS,
        )
        response.raise_for_status()
        answer = response.json()["data"]["answer"]
        if answer["__typename"] == success:
            return found_in(answer)
        reason = answer.get("message") or answer["__typename"]
    except (requests.RequestException, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DagsterUnavailable(f"Dagster at {webserver_url} is away: {type(error).__name__}") from None
    raise DagsterUnavailable(f"Dagster refused: {reason}")


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
