"""The component from YAML gives what the code location gives, and its attributes are the parameters of that."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping
from datetime import date
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_args

import dagster as dg
import pytest
import yaml
from dagster.components import build_defs_for_component
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.core.package_entry import discover_entry_point_package_objects
from dagster.components.testing.utils import create_defs_folder_sandbox
from dagster_shared.serdes.objects import EnvRegistryKey

import strava_pipeline
from strava_pipeline import StravaComponent, build_strava_defs
from strava_pipeline.defs.component_scaffolder import AssetName
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.names import ALL_ASSETS, ASSET_TAG

TYPE = "strava_pipeline.StravaComponent"


def built(attributes: Mapping[str, Any], component: type[StravaComponent] = StravaComponent) -> dg.Definitions:
    """The definitions of a component with these attributes."""
    return build_defs_for_component(component.resolve_from_yaml(yaml.safe_dump(dict(attributes))))


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    """The assets' specs by key, but for metadata, in which components tell where an asset was declared."""
    found = definitions.resolve_all_asset_specs()
    return {spec.key.to_user_string(): spec.replace_attributes(metadata={}) for spec in found}


def test_a_component_in_yaml_defines_what_the_code_location_defines() -> None:
    with create_defs_folder_sandbox() as sandbox:
        contents = {"type": TYPE, "attributes": {}}
        folder = sandbox.scaffold_component(component_cls=StravaComponent, defs_yaml_contents=contents)
        assert Path(folder).is_dir()
        with sandbox.build_all_defs() as loaded:
            expected = build_strava_defs()
            assert specs(loaded) == specs(expected)
            assert {job.name for job in loaded.jobs or []} == {job.name for job in expected.jobs or []}
            assert set(loaded.resources or {}) == set(expected.resources or {})


def test_each_parameter_of_the_definitions_is_an_attribute_with_the_same_default_and_a_description() -> None:
    parameters = inspect.signature(build_strava_defs).parameters
    fields = StravaComponent.model_fields
    assert list(fields) == list(parameters)
    for name, parameter in parameters.items():
        assert fields[name].default == parameter.default
    described = StravaComponent.model().model_json_schema()["properties"]
    assert all(described[name]["description"].endswith(".") for name in parameters)


def test_attributes_reach_the_definitions() -> None:
    attributes = {
        "key_prefix": ["sports", "strava"],
        "group_name": "fitness",
        "owners": ["team:fitness"],
        "tags": {"domain": "sports"},
        "assets": ["activities", "activity_details"],
        "history_start": "2024-03-15",
        "backfill_policy": {"type": "multi_run", "max_partitions_per_run": 6},
        "schedules": "running",
        "pool": "strava",
    }
    definitions = built(attributes)
    found = specs(definitions)
    assert set(found) == {"sports/strava/activities", "sports/strava/activity_details"}
    activities = found["sports/strava/activities"]
    assert (activities.group_name, list(activities.owners)) == ("fitness", ["team:fitness"])
    assert activities.tags["domain"] == "sports"
    grid = strava_pipeline.athlete_month_partitions("sports/strava", date(2024, 3, 1))
    assert activities.partitions_def == grid
    asset = definitions.resolve_assets_def(activities.key)
    assert asset.backfill_policy == dg.BackfillPolicy.multi_run(6)
    assert asset.op.pool == "strava"
    statuses = {schedule.default_status for schedule in definitions.schedules or []}
    assert statuses == {dg.DefaultScheduleStatus.RUNNING}


def test_templates_that_give_digits_are_taken_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUP", "2024")
    monkeypatch.setenv("APP", "4711")
    definitions = built(
        {"group_name": "{{ env.GROUP }}", "settings": {"client_id": "{{ env.APP }}", "quota_scope": "{{ env.UNSET }}"}}
    )
    assert {spec.group_name for spec in specs(definitions).values()} == {"2024"}
    warehouse = (definitions.resources or {})["strava_warehouse"]
    assert warehouse.settings == {"client_id": "4711"}
    assert warehouse.load_settings().client_id == "4711"


@pytest.mark.parametrize("given", ["client-secret", "{{ env.SECRET }}"])
def test_a_secret_as_an_attribute_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("SECRET", "client-secret")
    with pytest.raises(ConfigurationError, match=r"client_secret is secret .* give \{env: ") as refused:
        built({"settings": {"client_secret": given}})
    assert "client-secret" not in str(refused.value)


def test_a_translation_in_yaml_knows_the_spec_and_the_name_of_each_asset() -> None:
    told = "{{ asset }}, before in {{ spec.group_name }}"
    found = specs(built({"translation": {"description": told, "tags": {"tier": "gold"}}}))
    activities = found["strava/activities"]
    assert activities.description == "activities, before in strava_activities"
    assert (activities.tags["tier"], activities.tags[ASSET_TAG]) == ("gold", "activities")


def test_a_translation_of_the_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"the translation of strava/.* changes key"):
        built({"translation": {"key": "mine/{{ asset }}"}})


class Grouped(StravaComponent):
    """A component of a project that knows better which group an asset is in."""

    def get_asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        return super().get_asset_spec(spec).replace_attributes(group_name=f"by_{spec.tags[ASSET_TAG]}")


def test_a_subclass_decides_about_each_spec() -> None:
    found = specs(built({"translation": {"description": "mine"}}, Grouped))
    assert {(spec.group_name, spec.description) for spec in found.values()} == {
        (f"by_{name}", "mine") for name in ALL_ASSETS
    }


def test_an_asset_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    assert get_args(AssetName) == ALL_ASSETS
    with pytest.raises(Exception, match="Input should be 'athletes', 'gear'"):
        built({"assets": ["rides"]})


@pytest.mark.parametrize(
    "attributes",
    [
        {"client_secret": "canary"},
        {"settings": "canary"},
        {"settings": {"client_secret": "canary"}},
        {"settings": {"client_secret": ["canary"]}},
        {"settings": {"client_secret": {"env": ["canary"]}}},
        {"settings": {"database_url": {"env": "postgresql://rider:canary@db/strava"}}},
    ],
    ids=str,
)
def test_a_secret_in_the_wrong_place_ends_the_load_and_stands_in_no_error(attributes: dict[str, Any]) -> None:
    with create_defs_folder_sandbox() as sandbox:
        sandbox.scaffold_component(StravaComponent, defs_yaml_contents={"type": TYPE, "attributes": attributes})
        with pytest.raises(ComponentTreeException) as caught, sandbox.build_all_defs():
            pass
    told = "".join(traceback.format_exception(caught.value))
    assert "canary" not in told
    assert next(iter(attributes)) in told


def test_dg_finds_the_component_at_the_packages_top() -> None:
    assert "strava_pipeline" in {entry.value for entry in entry_points(group="dagster_dg_cli.registry_modules")}
    found = discover_entry_point_package_objects()
    ours = {key: found[key] for key in found if key.namespace.startswith("strava_pipeline")}
    assert ours == {EnvRegistryKey(namespace="strava_pipeline", name="StravaComponent"): StravaComponent}


def test_a_scaffolded_component_has_the_given_parameters_as_attributes() -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=StravaComponent,
            scaffold_params={"key_prefix": "sport", "assets": ["activities"], "history_start": "2024-03-01"},
        )
        written = yaml.safe_load((Path(folder) / "defs.yaml").read_text(encoding="utf-8"))
        assert written["attributes"] == {"key_prefix": "sport", "assets": ["activities"], "history_start": "2024-03-01"}
        with sandbox.build_all_defs() as loaded:
            assert set(specs(loaded)) == {"sport/activities"}


def test_the_packages_top_offers_what_a_project_needs() -> None:
    assert set(strava_pipeline.__all__) <= set(dir(strava_pipeline))
    for name in strava_pipeline.__all__:
        assert getattr(strava_pipeline, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'strava_pipeline' has no attribute 'StravaResource'"):
        strava_pipeline.StravaResource  # noqa: B018  reading it is the point
