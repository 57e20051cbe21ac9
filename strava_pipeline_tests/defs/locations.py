"""Code locations as Dagster loads them: a deployment of our own, two apps as guests, and one without us."""

from __future__ import annotations

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget

from strava_pipeline.defs.code_location import build_strava_defs, definitions_of, own_plan


@dg.definitions
def own() -> dg.Definitions:
    """A deployment of our own."""
    return definitions_of(own_plan())


@dg.definitions
def cycling() -> dg.Definitions:
    """A guest beside assets and a job of the host."""

    @dg.asset
    def activities() -> None: ...

    @dg.op
    def nothing() -> None: ...

    @dg.job
    def retention() -> None:
        nothing()

    host = dg.Definitions(assets=[activities], jobs=[retention])
    return dg.Definitions.merge(host, build_strava_defs(key_prefix="company/cycling"))


@dg.definitions
def running() -> dg.Definitions:
    """A guest of fewer assets, which deletes its old runs."""
    kept = ["athletes", "gear", "activities"]
    return build_strava_defs(key_prefix="running", assets=kept, delete_runs=True, schedules="running")


@dg.definitions
def does_not_load() -> dg.Definitions:
    """As after a mistake in the host's code."""
    raise ModuleNotFoundError("No module named 'pandsa'")


def loaded(**locations: str) -> InProcessWorkspaceLoadTarget:
    """A workspace: the name of each location, and which function above makes it."""
    return InProcessWorkspaceLoadTarget(
        [
            InProcessCodeLocationOrigin(
                LoadableTargetOrigin(module_name=__name__, attribute=attribute), location_name=location
            )
            for location, attribute in locations.items()
        ]
    )
