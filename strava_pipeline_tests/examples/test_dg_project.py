"""The example's asset, which runs for each month of ours that changes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "dg-project"
MAY = "1001|2026-05-01"


def test_it_follows_a_change_of_an_older_month(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE / "src")
    asset = import_module("club.defs.longest_activities").longest_activities
    ours = dg.AssetSpec(["strava", "activities"], partitions_def=asset.partitions_def)
    club = dg.Definitions(assets=[asset, ours])
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("strava_athletes", ["1001"])
        before = dg.evaluate_automation_conditions(club, instance)
        instance.report_runless_asset_event(dg.AssetMaterialization(ours.key, partition=MAY))
        after = dg.evaluate_automation_conditions(club, instance, cursor=before.cursor)
    assert after.get_requested_partitions(dg.AssetKey("longest_activities")) == {MAY}
