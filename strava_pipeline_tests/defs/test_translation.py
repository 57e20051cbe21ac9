"""What a host may change of our assets' specs, and what stays whatever its translation says."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from strava_pipeline.defs.code_location import build_strava_defs
from strava_pipeline.defs.plan import IO_MANAGER, Translation
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.names import ALL_ASSETS, Names

NAMES = Names(("club", "strava"))


def translated(translation: Translation) -> dict[str, dg.AssetSpec]:
    defs = build_strava_defs(key_prefix=NAMES.key_prefix, translation=translation)
    return {spec.key.path[-1]: spec for spec in defs.resolve_all_asset_specs()}


def test_a_spec_is_as_the_host_wants_it() -> None:
    def translation(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.merge_attributes(tags={"tier": "gold"}, kinds={"warehouse"}).replace_attributes(
            description=f"ours: {spec.key.path[-1]}", owners=["data@example.org"], group_name="sports"
        )

    specs = translated(translation)
    assert set(specs) == set(ALL_ASSETS)
    for name, spec in specs.items():
        assert (spec.description, spec.group_name, list(spec.owners)) == (
            f"ours: {name}",
            "sports",
            ["data@example.org"],
        )
        assert spec.tags["tier"] == "gold"
        assert NAMES.asset_tags(name).items() <= spec.tags.items()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"key": ["elsewhere"]}, "changes key"),
        ({"partitions_def": dg.DailyPartitionsDefinition("2026-01-01")}, "changes partitions_def"),
        ({"tags": {}}, "changes tags of ours"),
    ],
    ids=["key", "partitions", "tags"],
)
def test_a_translation_that_hides_assets_from_us_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        translated(lambda spec: spec.replace_attributes(**change))


def test_a_translation_that_fails_is_named_with_its_asset() -> None:
    def translation(spec: dg.AssetSpec) -> dg.AssetSpec:
        raise KeyError(spec.key.path[-1])

    told = r"\Athe translation of club/strava/athletes failed: KeyError: 'athletes'\Z"
    with pytest.raises(ConfigurationError, match=told) as failed:
        translated(translation)
    assert isinstance(failed.value.__cause__, KeyError)


@pytest.mark.parametrize("given", [None, {"group_name": "sports"}], ids=["nothing", "attributes"])
def test_a_translation_that_returns_no_spec_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"the translation of club/strava/athletes gives .*AssetSpec\Z"):
        translated(lambda _: given)


@pytest.mark.parametrize("metadata", [None, {"from": "the host"}], ids=["ours", "of the host"])
def test_no_asset_uses_the_hosts_io_manager(metadata: dict[str, Any] | None) -> None:
    def translation(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec if metadata is None else spec.replace_attributes(metadata=metadata)

    made = build_strava_defs(translation=translation)
    managers = {
        definition.io_manager_key
        for asset in made.assets or ()
        if isinstance(asset, dg.AssetsDefinition)
        for name, definition in asset.node_def.output_dict.items()
        if name in asset.keys_by_output_name
    }
    assert managers == {IO_MANAGER}
