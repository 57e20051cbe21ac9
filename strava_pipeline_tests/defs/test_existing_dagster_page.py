"""docs/existing-dagster.md says what the code does: its examples work, and its tables are complete."""

from __future__ import annotations

import inspect
import re
from itertools import takewhile
from pathlib import Path

import dagster as dg
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


@dg.asset
def members() -> None:
    """An asset of somebody's own."""


@dg.asset(ins={"rides": dg.AssetIn(["strava", "activities"])}, partitions_def=dg.StaticPartitionsDefinition(["a"]))
def by_club(rides: object) -> None:
    """An asset on partitions that nothing of ours has."""


# What a host may have beside us, in the order of the page's table.
REFUSED = (
    dg.Definitions(assets=[members], jobs=[dg.define_asset_job("everything", selection="*")]),
    dg.Definitions(sensors=[dg.AutomationConditionSensorDefinition("all", target=dg.AssetSelection.all())]),
    build_strava_defs(key_prefix="other"),
    dg.Definitions(resources={"strava_client": dg.ResourceDefinition.none_resource()}),
    dg.Definitions(assets=[by_club]),
)


def chain(error: BaseException | None) -> str:
    """What an error says, and those that caused it."""
    return "" if error is None else f"{error}\n{chain(error.__cause__)}"


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_dagster_refuses_what_the_page_says(number: int) -> None:
    told = table("| what you have in the same code location | what Dagster says | what to do |")
    assert len(told) == len(REFUSED)
    said = list(told.values())[number].split("`")[1]
    with pytest.raises(dg.DagsterError) as refused:
        dg.Definitions.validate_loadable(dg.Definitions.merge(REFUSED[number], build_strava_defs()))
    assert re.search(re.escape(said).replace(r"\.\.\.", ".*"), chain(refused.value))


def test_a_job_over_all_assets_but_ours_loads() -> None:
    rows = table("| what you have in the same code location | what Dagster says | what to do |").values()
    (selection,) = (found for row in rows for found in re.findall("selection='(.*?)'`", row))
    host = dg.Definitions(assets=[members], jobs=[dg.define_asset_job("everything", selection=selection)])
    merged = dg.Definitions.merge(host, build_strava_defs())
    dg.Definitions.validate_loadable(merged)
    assert merged.resolve_job_def("everything").asset_layer.selected_asset_keys == {members.key}
