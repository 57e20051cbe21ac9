"""Which of Dagster's runs are ours, as Dagster's objects tell it."""

from __future__ import annotations

import dagster as dg

from strava_pipeline.names import ALL_ASSETS, PREFIX_TAG, Names
from strava_pipeline.our_runs import is_our_run


def our_assets(names: Names) -> frozenset[dg.AssetKey]:
    """Return the keys of all assets of ours."""
    return frozenset(dg.AssetKey(names.asset_path(asset)) for asset in ALL_ASSETS)


def earlier_assets() -> frozenset[dg.AssetKey]:
    """Return the keys that our assets had in earlier releases, in a deployment of our own."""
    return frozenset(map(dg.AssetKey, ALL_ASSETS))


def is_ours(run: dg.DagsterRun, names: Names, *, is_own: bool) -> bool:
    """Whether all assets of a run are ours or, where it names none, its job is.

    ``is_own``: whether the deployment is our own, where runs of earlier releases are ours, too.
    """
    return is_our_run(names, assets_of(run), run.tags, is_own=is_own)


def assets_of(run: dg.DagsterRun) -> set[str]:
    """Return the keys of the assets that a run makes or checks, their parts joined by slashes."""
    checked = {check.asset_key for check in run.asset_check_selection or ()}
    return {asset.to_user_string() for asset in checked | set(run.asset_selection or ())}


def is_in_one_process(run: dg.DagsterRun, names: Names, *, is_own: bool) -> bool:
    """Whether a run is ours, and one process executes all of it.

    Our jobs bring their executor with them; assets have that of the code location, which is ours in a deployment of
    our own only.
    """
    return run.tags.get(PREFIX_TAG) == names.tag_value or (is_own and is_ours(run, names, is_own=True))
