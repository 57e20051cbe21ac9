"""Which runs an import is made of, and how Dagster is told of their partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.cli.backfill import ASSETS, CHOICES
from strava_pipeline.months import add_months, months_between, parse_month
from strava_pipeline.names import HISTORY_ASSETS
from strava_pipeline.planned_runs import DEEPER, PlannedRun, plan_in_sequence, plan_side_by_side
from strava_pipeline_tests.defs.own_definitions import NAMES

Plan = Callable[[datetime, datetime, Sequence[str]], Iterable[PlannedRun]]
BOTH = pytest.mark.parametrize("plan", [plan_in_sequence, plan_side_by_side])

MONTHS = st.builds(datetime, st.integers(2008, 2029), st.integers(1, 12), st.just(1), tzinfo=st.just(UTC))


def test_listing_covers_the_whole_span_and_deeper_assets_go_by_years() -> None:
    assert list(plan_in_sequence(parse_month("2023-11"), parse_month("2025-02"), ASSETS)) == [
        PlannedRun(("athletes",)),
        PlannedRun(("activities",), parse_month("2023-11"), parse_month("2025-02")),
        PlannedRun(HISTORY_ASSETS[1:], parse_month("2024-03"), parse_month("2025-02")),
        PlannedRun(HISTORY_ASSETS[1:], parse_month("2023-11"), parse_month("2024-02")),
    ]


def test_runs_side_by_side_list_their_own_year() -> None:
    assert list(plan_side_by_side(parse_month("2023-11"), parse_month("2025-02"), ASSETS)) == [
        PlannedRun(("athletes",)),
        PlannedRun(HISTORY_ASSETS, parse_month("2024-03"), parse_month("2025-02")),
        PlannedRun(HISTORY_ASSETS, parse_month("2023-11"), parse_month("2024-02")),
    ]


def test_a_run_tells_dagster_whose_it_is_and_which_partitions() -> None:
    backfill = {"strava/athlete": "7", "strava/lane": "backfill", "dagster/priority": "-10"}
    assert PlannedRun(("athletes",)).tags(NAMES, 7) == backfill | {"dagster/partition": "7"}
    assert PlannedRun(("activities",), parse_month("2024-11"), parse_month("2025-02")).tags(NAMES, 7) == backfill | {
        "dagster/asset_partition_range_start": "7|2024-11-01",
        "dagster/asset_partition_range_end": "7|2025-02-01",
    }


def test_profile_and_gear_are_materialized_together() -> None:
    assert PlannedRun(("athletes",)).selection == ("athletes", "gear")
    assert PlannedRun(HISTORY_ASSETS).selection == HISTORY_ASSETS


@BOTH
@pytest.mark.parametrize("asset", CHOICES)
def test_only_what_was_chosen_is_planned(plan: Plan, asset: str) -> None:
    one = parse_month("2024-01")
    assert {name for run in plan(one, one, (asset,)) for name in run.assets} == {asset}


@BOTH
@given(first=MONTHS, length=st.integers(0, 200))
def test_every_month_is_planned_once_newest_first(plan: Plan, first: datetime, length: int) -> None:
    last = add_months(first, length)
    runs = [run for run in plan(first, last, DEEPER) if run.first and run.last]
    parts = [list(months_between(run.first, run.last)) for run in runs if run.first and run.last]
    assert [start for part in parts for start in reversed(part)] == list(reversed(list(months_between(first, last))))
    assert all(len(part) <= 12 for part in parts)
