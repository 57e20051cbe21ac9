"""Launches backfills as Dagster's UI does."""

from __future__ import annotations

from collections.abc import Iterable

from strava_pipeline.settings import Settings
from webhook_bridge import dagster_api
from webhook_bridge.dagster_api import DagsterServer

LAUNCH = """
mutation LaunchBackfill($params: LaunchBackfillParams!) {
  answer: launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { id: backfillId }
    ... on Error { message }
  }
}
"""


def launch_backfill(settings: Settings, assets: Iterable[str], partitions: Iterable[str]) -> str:
    """Launch a backfill of assets that share their partitions, without tags; returns its id."""
    params = {"assetSelection": [{"path": [asset]} for asset in assets], "partitionNames": list(partitions)}
    server = DagsterServer.from_settings(settings)
    return dagster_api._ask(server, LAUNCH, params, {"LaunchBackfillSuccess"}, lambda answer: str(answer["id"]))
