"""Launches backfills as Dagster's UI does."""

from __future__ import annotations

from collections.abc import Iterable

from strava_pipeline.settings import Settings
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer, ask

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
    server = DagsterServer.from_settings(settings)
    names = find_place(server).names
    selection = [{"path": names.asset_path(asset)} for asset in assets]
    params = {"assetSelection": selection, "partitionNames": list(partitions)}
    return ask(server, LAUNCH, params, {"LaunchBackfillSuccess"}, lambda answer: str(answer["id"]))
