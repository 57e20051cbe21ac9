"""A client of Dagster's GraphQL API for runs and athletes' partitions.

It sends plain HTTP requests and imports nothing of Dagster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Self, TypeVar

import requests

from strava_pipeline.athlete_runs import HIDING_DESCRIPTION, is_only_of_athlete, run_tag_filters
from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.import_runs import fate_of_run, launch_tags
from strava_pipeline.names import ALL_ASSETS, NAMES, Job
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.imports.launches import Fate, Launch
from strava_pipeline.web.operator_door import dagster_signing_key
from strava_pipeline.web.request_signature import HEADER, PATH, Signature

Found = TypeVar("Found")

TIMEOUT_SECONDS = 10
# Time limit of a query for a page, for which a person waits.
GLANCE_SECONDS = 3
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
_RUNS = """
query Runs($params: RunsFilter!) {
  answer: runsOrError(filter: $params, limit: 1000) {
    __typename
    ... on Runs { results { runId status startTime updateTime tags { key value } } }
    ... on Error { message }
  }
}
"""
_DELETE_RUN = """
mutation DeleteRun($params: String!) {
  answer: deleteRun(runId: $params) {
    __typename
    ... on Error { message }
  }
}
"""
_COVER = """
mutation Cover($params: ReportRunlessAssetEventsParams!) {
  answer: reportRunlessAssetEvents(eventParams: $params) {
    __typename
    ... on Error { message }
  }
}
"""
_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
# With these a guard in front of Dagster, ours or another, refuses a request.
_KEPT_OUT = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.MISDIRECTED_REQUEST}
# Runs deleted by one call, during which the caller holds a lock.
RUNS_AT_ONCE = 100
_ADD_ATHLETE = f"""
mutation AddAthlete($params: String!) {{
  answer: addDynamicPartition(
    repositorySelector: {{repositoryName: "{LOCATION["repositoryName"]}",
      repositoryLocationName: "{LOCATION["repositoryLocationName"]}"}}
    partitionsDefName: "{NAMES.partition_set}"
    partitionKey: $params
  ) {{
    __typename
    ... on AddDynamicPartitionSuccess {{ key: partitionKey }}
    ... on DuplicateDynamicPartitionError {{ message }}
    ... on Error {{ message }}
  }}
}}
"""
_REMOVE_ATHLETE = f"""
mutation RemoveAthlete($params: String!) {{
  answer: deleteDynamicPartitions(
    repositorySelector: {{repositoryName: "{LOCATION["repositoryName"]}",
      repositoryLocationName: "{LOCATION["repositoryLocationName"]}"}}
    partitionsDefName: "{NAMES.partition_set}"
    partitionKeys: [$params]
  ) {{
    __typename
    ... on Error {{ message }}
  }}
}}
"""
_LOCATIONS = """
query Locations {
  answer: repositoriesOrError {
    __typename
    ... on Error { message }
  }
}
"""


class DagsterUnavailable(StravaPipelineError):
    """Dagster did not answer, or refused the request; as far as we know it changed nothing."""


@dataclass(frozen=True)
class DagsterServer:
    """Dagster's URL, and the key that signs requests for the guard in front of it; Dagster alone ignores signatures."""

    url: str
    key: Secret

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The server that the settings name. ``ConfigurationError`` without ``STRAVA_TOKEN_KEYS``."""
        return cls(settings.dagster_webserver_url, dagster_signing_key(settings))


def launch_run(
    dagster: DagsterServer,
    job: str,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
    *,
    location: str | None = None,
) -> str:
    """Launch a job, of another code location if one is named; returns the run's id. ``DagsterUnavailable``."""
    elsewhere = {} if location is None else {"repositoryLocationName": location}
    return _launch(dagster, {"jobName": job, **LOCATION, **elsewhere}, run_config, tags)


def launch_assets(dagster: DagsterServer, assets: Iterable[str], tags: Mapping[str, str]) -> str:
    """Launch one run that materializes assets; ``tags`` name its partitions. Returns the run's id.

    ``DagsterUnavailable``. With an unknown partition the launch succeeds, and the run fails.
    """
    selection = [{"path": [asset]} for asset in assets]
    return _launch(dagster, {"jobName": Job.ASSETS, **LOCATION, "assetSelection": selection}, {}, tags)


def runs_to_come(dagster: DagsterServer, run_ids: Iterable[str]) -> set[str]:
    """The ids of those runs that may still take up their launch: in the queue, or begun. ``DagsterUnavailable``."""

    def to_come(run: Any) -> bool:
        return run["status"] != "CANCELING" and _fate_of(run) in {Fate.TO_COME, Fate.AT_WORK}

    def found(answer: Any) -> set[str]:
        return {run["runId"] for run in answer["results"] if to_come(run)}

    return _ask(dagster, _RUNS, {"runIds": list(run_ids)}, {"Runs"}, found)


def fate_of(dagster: DagsterServer, launch: Launch) -> Fate:
    """The fate of the last run that an import's launch became, if Dagster knows one. ``DagsterUnavailable``."""

    def last(answer: Any) -> Fate:
        return _fate_of(answer["results"][0]) if answer["results"] else Fate.UNKNOWN

    return _ask(dagster, _RUNS, {"tags": _tag_list(launch_tags(launch))}, {"Runs"}, last)


def _fate_of(run: Any) -> Fate:
    return fate_of_run(run["status"], started_at=run["startTime"], changed_at=run["updateTime"], moment=time.time())


def add_athlete(dagster: DagsterServer, athlete_id: int) -> None:
    """Create an athlete's partitions, if there are none. ``DagsterUnavailable``."""
    successes = {"AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError"}
    _ask(dagster, _ADD_ATHLETE, str(athlete_id), successes, lambda _: None)


def remove_athlete(dagster: DagsterServer, athlete_id: int) -> None:
    """Delete an athlete's partitions, if there are any. ``DagsterUnavailable``."""
    _ask(dagster, _REMOVE_ATHLETE, str(athlete_id), {"DeleteDynamicPartitionsSuccess"}, lambda _: None)


def delete_runs(dagster: DagsterServer, athlete_id: int) -> int:
    """Delete at most 100 ended runs that are an athlete's alone, with their events; returns how many are left.

    Left are runs still at work, and ended runs beyond the hundred. ``DagsterUnavailable``.
    """
    found: dict[str, str] = {}
    for tags in run_tag_filters(athlete_id):
        found |= _ask(
            dagster,
            _RUNS,
            {"tags": _tag_list(tags)},
            {"Runs"},
            lambda answer: {run["runId"]: run["status"] for run in answer["results"] if _is_alone(run, athlete_id)},
        )
    ended = [run_id for run_id, status in found.items() if status in _ENDED][:RUNS_AT_ONCE]
    for run_id in ended:
        # Another bridge, or the command, may have deleted the run meanwhile.
        _ask(dagster, _DELETE_RUN, run_id, {"DeletePipelineRunSuccess", "RunNotFoundError"}, lambda _: None)
    return len(found) - len(ended)


def cover_last_materializations(dagster: DagsterServer) -> None:
    """Report a last materialization of each asset that shows nothing of any athlete. ``DagsterUnavailable``."""
    for asset in ALL_ASSETS:
        params = {
            "eventType": "ASSET_MATERIALIZATION",
            "assetKey": {"path": [asset]},
            "description": HIDING_DESCRIPTION,
        }
        _ask(dagster, _COVER, params, {"ReportRunlessAssetEventsSuccess"}, lambda _: None)


def _launch(
    dagster: DagsterServer, selector: Mapping[str, Any], run_config: Mapping[str, Any], tags: Mapping[str, str]
) -> str:
    params = {
        "selector": selector,
        "runConfigData": run_config,
        "executionMetadata": {"tags": _tag_list(tags)},
    }
    return _ask(dagster, _LAUNCH_RUN, params, {"LaunchRunSuccess"}, lambda answer: str(answer["run"]["id"]))


def _is_alone(run: Any, athlete_id: int) -> bool:
    return is_only_of_athlete({tag["key"]: tag["value"] for tag in run["tags"]}, athlete_id)


def check_answers(dagster: DagsterServer) -> None:
    """Check that Dagster answers, for a page. ``DagsterUnavailable`` if it does not, or not soon."""
    _ask(dagster, _LOCATIONS, None, {"RepositoryConnection"}, lambda _: None, GLANCE_SECONDS)


def _ask(
    dagster: DagsterServer,
    query: str,
    params: Mapping[str, Any] | str | None,
    successes: set[str],
    found_in: Callable[[Any], Found],
    timeout_s: float = TIMEOUT_SECONDS,
) -> Found:
    """Send a query; returns what ``found_in`` finds in a successful answer. ``DagsterUnavailable`` for any other."""
    try:
        response = requests.post(
            f"{dagster.url}{PATH}",
            json={"query": query, "variables": {} if params is None else {"params": params}},
            auth=partial(_sign, dagster.key),
            timeout=timeout_s,
            # A signed request is for Dagster alone, and for one use.
            allow_redirects=False,
        )
        if response.status_code in _KEPT_OUT:
            raise DagsterUnavailable(_kept_out(dagster, response.status_code))
        response.raise_for_status()
        answer = response.json()["data"]["answer"]
        if answer["__typename"] in successes:
            return found_in(answer)
        reason = answer.get("message") or answer["__typename"]
    except (requests.RequestException, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DagsterUnavailable(f"Dagster at {dagster.url} gave no usable answer: {type(error).__name__}") from None
    raise DagsterUnavailable(f"Dagster refused: {reason}")


def _sign(key: Secret, request: requests.PreparedRequest) -> requests.PreparedRequest:
    body = request.body or b""
    request.headers[HEADER] = str(Signature.of(body if isinstance(body, bytes) else body.encode(), key))
    return request


def _kept_out(dagster: DagsterServer, status: int) -> str:
    return (
        f"Dagster at {dagster.url} does not let us in ({status}): both need the same STRAVA_TOKEN_KEYS and the right"
        " time, and the host of DAGSTER_WEBSERVER_URL must be among STRAVA_DAGSTER_HOSTS if it is not this machine's"
    )


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
