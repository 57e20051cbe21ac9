"""docs/existing-dagster.md says what the code does: its examples work, and its tables are complete."""

from __future__ import annotations

import inspect
import re
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from dagster._core.code_pointer import CodePointer
from dagster._core.definitions.reconstruct import initialize_repository_def_from_pointer
from dagster._core.workspace.autodiscovery import loadable_targets_from_python_file
from dagster.components import build_defs_for_component

from strava_pipeline import StravaComponent, build_strava_defs
from strava_pipeline.cli import COMMANDS
from strava_pipeline.frames.partitions import ROWS
from strava_pipeline.names import ALL_ASSETS, Names

PAGE = (Path(__file__).parents[2] / "docs" / "existing-dagster.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def table(header: str) -> dict[str, str]:
    """The rows of the table with this header: the first cell, without backticks, and the others."""
    below = PAGE.split(f"{header}\n")[1].splitlines()[1:]
    rows = (line.strip().strip("|").split("|", 1) for line in takewhile(str.strip, below))
    return {first.strip().strip("`"): rest for first, rest in rows}


def test_each_parameter_is_explained() -> None:
    assert list(table("| parameter | default | |")) == list(inspect.signature(build_strava_defs).parameters)


def test_the_tables_of_each_asset_are_listed() -> None:
    listed = {asset: re.findall("`(.*?)`", tables) for asset, tables in table("| asset | tables |").items()}
    assert listed == {asset: [rows.name for rows in ROWS[asset]] for asset in ALL_ASSETS}


def test_names_are_those_of_the_default_prefix() -> None:
    names, told = Names(), table("| what | names |")
    definitions = build_strava_defs()
    assert re.findall("`(.*?)`", told["assets"]) == [names.asset_key(asset) for asset in ALL_ASSETS]
    assert re.findall("`(.*?)`", told["resources"]) == list(definitions.resources or {})
    assert re.findall("`(.*?)`", told["pools"]) == [names.pool, names.newest_pool, names.upkeep_pool]
    assert set(re.findall("`(.*?)`", told["groups"])) == {
        spec.group_name for spec in definitions.resolve_all_asset_specs()
    }


def test_the_yaml_makes_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_CLIENT_ID", "4711")
    monkeypatch.setenv("STRAVA_CLIENT_SECRET", "client-secret")
    (_, component) = blocks("yaml")
    declared = yaml.safe_load(component)
    assert declared["type"] == "strava_pipeline.StravaComponent"
    loaded = StravaComponent.resolve_from_yaml(yaml.safe_dump(declared["attributes"]))
    specs = {spec.key.path[-1]: spec for spec in build_defs_for_component(loaded).resolve_all_asset_specs()}
    assert specs["activity_details"].description == "Strava: activity details"
    assert specs["activity_details"].group_name == "fitness"


def test_each_command_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"strava-pipeline ([a-z][a-z-]+)", PAGE))
    assert {"mock-strava", "webhook"} <= named
    assert named <= COMMANDS.keys()


# What a code location of somebody's own has below assets that take our rows as inputs.
WITH_OURS = """
from strava_pipeline import build_strava_defs

defs = dg.Definitions.merge(dg.Definitions(assets=dg.load_assets_from_current_module()), build_strava_defs())
"""


def location(file: Path, code: str) -> set[str]:
    """The keys of the assets that Dagster finds in a file with this code, which is a code location."""
    file.write_text(code, encoding="utf-8")
    (target,) = loadable_targets_from_python_file(str(file))
    pointer = CodePointer.from_python_file(str(file), target.attribute, None)
    return {key.to_user_string() for key in initialize_repository_def_from_pointer(pointer).assets_defs_by_key}


def test_each_python_example_is_loaded_by_dagster(tmp_path: Path) -> None:
    merged, inputs, automated, elsewhere = blocks("python")
    ours = {Names().asset_key(asset) for asset in ALL_ASSETS}
    assert location(tmp_path / "merged.py", merged) == ours
    assert location(tmp_path / "inputs.py", inputs + WITH_OURS) == ours | {"kilometres", "splits_of_an_athlete"}
    assert location(tmp_path / "automated.py", automated + WITH_OURS) == ours | {"my_figures"}
    assert location(tmp_path / "elsewhere.py", elsewhere) == {"longest_climb"}
