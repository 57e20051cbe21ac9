"""The choice of assets: what may be kept together, and one line that says what is wrong."""

from __future__ import annotations

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.kept_assets import BUILT_ON, check_kept, kept_of
from strava_pipeline.names import ALL_ASSETS
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.states import ImportStep, UpkeepKind

HISTORY = ("activities", "activity_details", "activity_streams")


@pytest.mark.parametrize(
    "names",
    [
        ("activities",),
        ("athletes", "gear"),
        HISTORY,
        (*HISTORY, "activity_points_parquet"),
        (*HISTORY, "route_analyses", "training_load"),
        ALL_ASSETS,
    ],
)
def test_assets_are_kept_with_what_they_are_built_on(names: tuple[str, ...]) -> None:
    assert check_kept(names) == set(names)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), "none is chosen"),
        (("activities", "rides"), "'rides': no such asset; choose from athletes, gear, activities"),
        ("activities", "'activities' is a text: give a list of names"),
        (("athletes",), "athletes needs gear: add gear, or leave out athletes"),
        (("gear",), "gear needs athletes"),
        (("activity_details",), "activity_details needs activities"),
        (("activities", "activity_streams"), "activity_streams needs activity_details"),
        (("activities", "activity_details", "route_analyses"), "route_analyses needs activity_streams"),
        (("activities", "activity_details", "activity_points_parquet"), "activity_points_parquet needs activity_stre"),
        ((*HISTORY, "training_load"), "training_load needs route_analyses"),
    ],
)
def test_any_other_choice_is_refused_in_one_line(names: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        check_kept(names)
    assert "\n" not in str(refused.value)


def test_every_asset_but_the_first_is_built_on_one() -> None:
    assert set(ALL_ASSETS) - set(BUILT_ON) == {"activities"}


def test_all_assets_are_everything() -> None:
    assert kept_of(ALL_ASSETS) == EVERYTHING
    assert EVERYTHING.upkeep == set(UpkeepKind)


def test_assets_become_steps_profiles_and_loads() -> None:
    assert kept_of(HISTORY) == Kept(
        frozenset({ImportStep.SUMMARY, ImportStep.DETAIL, ImportStep.STREAMS}), profiles=False, loads=False
    )
    assert kept_of(["athletes", "gear"]) == Kept(frozenset(), profiles=True, loads=False)
    assert kept_of([*HISTORY, "route_analyses", "training_load"]).loads


def test_upkeep_compares_only_what_is_kept() -> None:
    assert kept_of(["athletes", "gear"]).upkeep == {UpkeepKind.PROFILE, UpkeepKind.GEAR}
    assert kept_of(["activities"]).upkeep == {UpkeepKind.RECENT, UpkeepKind.HISTORY}
    assert kept_of(HISTORY).upkeep == {UpkeepKind.RECENT, UpkeepKind.HISTORY, UpkeepKind.DETAILS}
