"""What the bridge asks of Dagster: launches, runs and athletes' partitions, by GraphQL.

It imports nothing of Dagster. Names are plain ones, without the prefix that ours have there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from strava_pipeline.athlete_runs import HIDING_DESCRIPTION, goes_with_athlete, run_tag_filters
from strava_pipeline.import_runs import fate_of_run, launch_tags
from strava_pipeline.names import Job
from strava_pipeline.proxies import through
from strava_pipeline.warehouse.imports.launches import Fate, Launch
from strava_pipeline.watch.alert_checks import ALERTS, AlertCheck
from strava_pipeline.web.request_signature import CHECK_PATH
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import GLANCE_SECONDS, DagsterServer, DagsterUnavailable, ask, post
from webhook_bridge.place import Place

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
query Runs($params: RunsFilter!, $cursor: String, $limit: Int) {
  answer: runsOrError(filter: $params, cursor: $cursor, limit: $limit) {
    __typename
    ... on Runs { results { runId status startTime updateTime tags { key value }
      assetSelection { path } assetCheckSelection { assetKey { path } } } }
    ... on Error { message }
  }
}
"""
_QUEUED_RUNS = """
query QueuedRuns {
  answer: runsOrError(filter: {statuses: [QUEUED]}, limit: 1) {
    __typename
    ... on Runs { count }
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
# Those that code locations define, and those of which Dagster has events.
_KNOWN_ASSETS = """
query KnownAssets($params: [String!]) {
  answer: assetsOrError(prefix: $params) {
    __typename
    ... on AssetConnection { nodes { key { path } definition { id } } }
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
# Runs deleted by one call, during which the caller holds a lock.
RUNS_AT_ONCE = 100
# Runs that one query brings. A host may have any number with an athlete's tags, and ours among the oldest.
PAGE = 1000
_ADD_ATHLETE = """
mutation AddAthlete($params: String!, $repository: RepositorySelector!, $set: String!) {
  answer: addDynamicPartition(repositorySelector: $repository, partitionsDefName: $set, partitionKey: $params) {
    __typename
    ... on AddDynamicPartitionSuccess { key: partitionKey }
    ... on DuplicateDynamicPartitionError { message }
    ... on Error { message }
  }
}
"""
_REMOVE_ATHLETE = """
mutation RemoveAthlete($params: String!, $repository: RepositorySelector!, $set: String!) {
  answer: deleteDynamicPartitions(repositorySelector: $repository, partitionsDefName: $set, partitionKeys: [$params]) {
    __typename
    ... on Error { message }
  }
}
"""
_LOCATIONS = """
query Locations {
  answer: repositoriesOrError {
    __typename
    ... on Error { message }
  }
}
"""
# Has the location's code server plan a run, as a launch does.
_PLAN = """
query Plan($params: PipelineSelector!, $config: RunConfigData!) {
  answer: executionPlanOrError(pipeline: $params, mode: "default", runConfigData: $config) {
    __typename
    ... on Error { message }
  }
}
"""
_PERMISSIONS = """
query Permissions($params: String!) {
  answer: workspaceLocationEntryOrError(name: $params) {
    __typename
    ... on WorkspaceLocationEntry { permissions { permission value } }
    ... on Error { message }
  }
}
"""
_MAY_LAUNCH = "launch_pipeline_execution"
_DAEMONS = """
query Daemons {
  answer: instance {
    __typename
    daemonHealth { allDaemonStatuses { daemonType required healthy lastHeartbeatTime } }
  }
}
"""


@dataclass(frozen=True)
class DaemonState:
    """One of the daemons that Dagster needs: its ``kind``, and its last sign of life (epoch s), if any."""

    kind: str
    is_healthy: bool
    beat_at: float | None


def launch_run(
    dagster: DagsterServer, place: Place, job: str, run_config: Mapping[str, Any], tags: Mapping[str, str]
) -> str:
    """Launch a job, whose ops the config names as the place does; returns the run's id. ``DagsterUnavailable``."""
    return _launch(dagster, place, job, {}, run_config, tags)


def launch_assets(dagster: DagsterServer, place: Place, assets: Iterable[str], tags: Mapping[str, str]) -> str:
    """Launch one run that materializes assets; ``tags`` name its partitions. Returns the run's id.

    ``DagsterUnavailable``. With an unknown partition the launch succeeds, and the run fails.
    """
    selection = [{"path": place.names.asset_path(asset)} for asset in assets]
    return _launch(dagster, place, Job.ASSETS, {"assetSelection": selection}, {}, tags)


def try_launch(dagster: DagsterServer, place: Place, job: str, run_config: Mapping[str, Any]) -> None:
    """Ask for all that a launch of a job needs, and launch nothing. ``DagsterUnavailable`` says what is amiss."""
    selector = {"pipelineName": place.names.job(job), **place.selector}
    ask(dagster, _PLAN, selector, {"ExecutionPlan"}, lambda _: None, GLANCE_SECONDS, more={"config": run_config})

    def may_launch(answer: Any) -> bool:
        given = {each["permission"]: each["value"] for each in answer["permissions"]}
        return bool(given.get(_MAY_LAUNCH, True))

    if not ask(dagster, _PERMISSIONS, place.location, {"WorkspaceLocationEntry"}, may_launch, GLANCE_SECONDS):
        raise DagsterUnavailable(
            f"Dagster's webserver at {dagster.url} lets nobody launch runs: start it without --read-only, or set"
            " DAGSTER_WEBSERVER_URL to another one of the same Dagster"
        )


def runs_to_come(dagster: DagsterServer, run_ids: Iterable[str]) -> set[str]:
    """The ids of those runs that may still take up their launch: in the queue, or begun. ``DagsterUnavailable``."""

    def to_come(run: Any) -> bool:
        return run["status"] != "CANCELING" and _fate_of(run) in {Fate.TO_COME, Fate.AT_WORK}

    def found(answer: Any) -> set[str]:
        return {run["runId"] for run in answer["results"] if to_come(run)}

    return ask(dagster, _RUNS, {"runIds": list(run_ids)}, {"Runs"}, found)


def fate_of(dagster: DagsterServer, launch: Launch) -> Fate:
    """The fate of the last run that an import's launch became, if Dagster knows one. ``DagsterUnavailable``."""
    return fate_of_tags(dagster, launch_tags(find_place(dagster).names, launch))


def fate_of_tags(dagster: DagsterServer, tags: Mapping[str, str]) -> Fate:
    """The fate of the last run with these tags, if Dagster knows one. ``DagsterUnavailable``."""

    def last(answer: Any) -> Fate:
        return _fate_of(answer["results"][0]) if answer["results"] else Fate.UNKNOWN

    return ask(dagster, _RUNS, {"tags": _tag_list(tags)}, {"Runs"}, last)


def _fate_of(run: Any) -> Fate:
    return fate_of_run(run["status"], started_at=run["startTime"], changed_at=run["updateTime"], moment=time.time())


def add_athlete(dagster: DagsterServer, athlete_id: int) -> None:
    """Create an athlete's partitions, if there are none. ``DagsterUnavailable``."""
    successes = {"AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError"}
    ask(dagster, _ADD_ATHLETE, str(athlete_id), successes, lambda _: None, more=_partitions(find_place(dagster)))


def remove_athlete(dagster: DagsterServer, athlete_id: int) -> None:
    """Delete an athlete's partitions, if there are any. ``DagsterUnavailable``."""
    successes = {"DeleteDynamicPartitionsSuccess"}
    ask(dagster, _REMOVE_ATHLETE, str(athlete_id), successes, lambda _: None, more=_partitions(find_place(dagster)))


def _partitions(place: Place) -> dict[str, Any]:
    return {"repository": place.selector, "set": place.names.partition_set}


def delete_runs(dagster: DagsterServer, athlete_id: int) -> int:
    """Delete at most 100 ended runs of ours that are an athlete's alone, with their events; returns how many are left.

    Left are runs still at work, and ended runs beyond the hundred. ``DagsterUnavailable``.
    """
    place = find_place(dagster)
    found = {
        run["runId"]: run["status"]
        for tags in run_tag_filters(place.names, athlete_id)
        for run in _runs_with(dagster, tags)
        if _goes(run, place, athlete_id)
    }
    ended = [run_id for run_id, status in found.items() if status in _ENDED][:RUNS_AT_ONCE]
    for run_id in ended:
        # Another bridge, or the command, may have deleted the run meanwhile.
        ask(dagster, _DELETE_RUN, run_id, {"DeletePipelineRunSuccess", "RunNotFoundError"}, lambda _: None)
    return len(found) - len(ended)


def _runs_with(dagster: DagsterServer, tags: Mapping[str, str]) -> Iterator[Any]:
    """All runs with these tags, the last one first."""
    params, cursor = {"tags": _tag_list(tags)}, None
    while True:
        more = {"cursor": cursor, "limit": PAGE}
        page: list[Any] = ask(dagster, _RUNS, params, {"Runs"}, lambda answer: list(answer["results"]), more=more)
        yield from page
        if len(page) < PAGE:
            return
        cursor = page[-1]["runId"]


def tags_of_run(run: Any) -> dict[str, str]:
    """Return the tags of a run, as Dagster's GraphQL tells of it."""
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def assets_of_run(run: Any) -> set[str]:
    """Return the keys of the assets that a run makes or checks, their parts joined by slashes."""
    checked = (check["assetKey"] for check in run["assetCheckSelection"] or ())
    return {"/".join(key["path"]) for key in (*(run["assetSelection"] or ()), *checked)}


def cover_last_materializations(dagster: DagsterServer) -> None:
    """Report a last materialization of each asset that shows nothing of any athlete. ``DagsterUnavailable``.

    Of an asset that was left out meanwhile Dagster still shows the last one.
    """
    place = find_place(dagster)
    for asset in sorted(place.assets | _assets_of_before(dagster, place)):
        params = {
            "eventType": "ASSET_MATERIALIZATION",
            "assetKey": {"path": place.names.asset_path(asset)},
            "description": HIDING_DESCRIPTION,
        }
        ask(dagster, _COVER, params, {"ReportRunlessAssetEventsSuccess"}, lambda _: None)


def _assets_of_before(dagster: DagsterServer, place: Place) -> set[str]:
    """The plain names of assets of ours that no code location defines any more."""

    def found(answer: Any) -> set[str]:
        keys = ("/".join(node["key"]["path"]) for node in answer["nodes"] if node["definition"] is None)
        return {asset for asset in map(place.names.asset_of, keys) if asset is not None}

    return ask(dagster, _KNOWN_ASSETS, list(place.names.key_prefix), {"AssetConnection"}, found)


def _launch(
    dagster: DagsterServer,
    place: Place,
    job: str,
    selection: Mapping[str, Any],
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
) -> str:
    params = {
        "selector": {"jobName": place.names.job(job), **place.selector, **selection},
        "runConfigData": run_config,
        "executionMetadata": {"tags": _tag_list(tags)},
    }
    try:
        run_id = ask(dagster, _LAUNCH_RUN, params, {"LaunchRunSuccess"}, lambda answer: str(answer["run"]["id"]))
    except DagsterUnavailable:
        dagster.count_launch(job, False)
        raise
    dagster.count_launch(job, True)
    return run_id


def _goes(run: Any, place: Place, athlete_id: int) -> bool:
    return goes_with_athlete(place.names, athlete_id, assets_of_run(run), tags_of_run(run), is_own=place.is_own)


def check_answers(dagster: DagsterServer) -> None:
    """Check that Dagster answers, for a page. ``DagsterUnavailable`` if it does not, or not soon."""
    ask(dagster, _LOCATIONS, None, {"RepositoryConnection"}, lambda _: None, GLANCE_SECONDS)


def required_daemons(dagster: DagsterServer) -> list[DaemonState]:
    """Return the state of each daemon that Dagster needs. ``DagsterUnavailable``."""

    def found(answer: Any) -> list[DaemonState]:
        return [
            DaemonState(each["daemonType"], bool(each["healthy"]), each["lastHeartbeatTime"])
            for each in answer["daemonHealth"]["allDaemonStatuses"]
            if each["required"]
        ]

    return ask(dagster, _DAEMONS, None, {"Instance"}, found, GLANCE_SECONDS)


def queued_runs(dagster: DagsterServer) -> int:
    """How many runs wait in Dagster's queue, everybody's. ``DagsterUnavailable`` if it does not answer soon."""
    return ask(dagster, _QUEUED_RUNS, None, {"Runs"}, lambda answer: int(answer["count"]), GLANCE_SECONDS)


def report_check(dagster: DagsterServer, check: AlertCheck) -> None:
    """Report what a check of alerts says, as an event without a run. ``DagsterUnavailable``.

    Nothing is reported of an asset that was left out.
    """
    place = find_place(dagster)
    if check.asset not in place.assets:
        return
    body = {
        "asset_key": place.names.asset_path(check.asset),
        "check_name": check.name,
        "passed": check.passed,
        "severity": check.dagsters_severity,
        "metadata": {} if check.passed else {ALERTS: check.told},
    }
    try:
        post(dagster, CHECK_PATH, body)
    except requests.RequestException as error:
        told = f"{type(error).__name__}{through(dagster.url)}"
        raise DagsterUnavailable(f"Dagster at {dagster.url} took no check: {told}") from None


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
