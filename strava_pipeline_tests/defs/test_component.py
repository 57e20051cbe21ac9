"""The component from YAML gives what the code location gives."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import dagster as dg
from dagster.components.testing.utils import create_defs_folder_sandbox

from strava_pipeline.definitions import defs
from strava_pipeline.defs.component import StravaComponent


def keys(definitions: dg.Definitions) -> set[dg.AssetKey]:
    return {spec.key for spec in definitions.resolve_all_asset_specs()}


def test_a_component_in_yaml_defines_the_same_assets_and_jobs() -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=StravaComponent,
            defs_yaml_contents={"type": "strava_pipeline.defs.component.StravaComponent", "attributes": {}},
        )
        assert Path(folder).is_dir()
        with sandbox.build_all_defs() as built:
            assert keys(built) == keys(defs())
            assert {job.name for job in built.jobs or []} == {job.name for job in defs().jobs or []}


def test_dg_finds_the_component_by_the_packages_entry_point() -> None:
    named = entry_points(group="dagster_dg_cli.registry_modules")
    assert "strava_pipeline.defs.component" in {entry.value for entry in named}
