"""How Dagster's UI shows asset checks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import dagster as dg
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from strava_pipeline.defs.checks import CHECKS_OF, as_listed_spec
from strava_pipeline.names import Asset
from strava_pipeline_tests.defs.own_definitions import NAMES, key_of


def keys_of(assets: Iterable[str]) -> set[dg.AssetCheckKey]:
    """The checks of assets."""
    chosen = set(assets)
    found = {dg.AssetCheckKey(key_of(name), check.__name__) for name in chosen for check in CHECKS_OF.get(name, ())}
    return found | ({as_listed_spec(NAMES).key} if Asset.ACTIVITIES in chosen else set())


def last_told(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> AssetCheckExecutionRecord | None:
    return instance.get_latest_asset_check_evaluation_record(key)


def evaluated(instance: dg.DagsterInstance, assets: Iterable[str]) -> dict[dg.AssetCheckKey, bool]:
    """Checks that the UI shows with a result, and whether they passed: by the function that its query calls.

    It resolves ``executionForLatestMaterialization`` of GraphQL; a check without it reads "Not evaluated".
    """
    found = {}
    for key in keys_of(assets):
        last = last_told(instance, key)
        if last is not None and asyncio.run(last.targets_latest_materialization(LoadingContextForTest(instance))):
            assert last.evaluation is not None
            found[key] = last.evaluation.passed
    return found
