"""Which runs a backfill is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.cli.backfill import ASSETS, CHOICES, DEEPER, PlannedRun, plan

MONTH = st.integers(2008 * 12, 2030 * 12 - 1)


def text(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:]) - 1


def test_listing_covers_the_whole_span_and_deeper_assets_go_by_years() -> None:
    assert list(plan("2023-11", "2025-02", ASSETS)) == [
        PlannedRun(("athletes",)),
        PlannedRun(("activities",), "2023-11", "2025-02"),
        PlannedRun(DEEPER, "2024-03", "2025-02"),
        PlannedRun(DEEPER, "2023-11", "2024-02"),
    ]


@pytest.mark.parametrize("asset", CHOICES)
def test_only_what_was_chosen_is_planned(asset: str) -> None:
    assert {name for run in plan("2024-01", "2024-01", (asset,)) for name in run.assets} == {asset}


@given(MONTH, st.integers(0, 200))
def test_every_month_is_planned_once_newest_first(first: int, length: int) -> None:
    runs = [run for run in plan(text(first), text(first + length), DEEPER) if run.first and run.last]
    months = [month for run in runs for month in range(number(str(run.last)), number(str(run.first)) - 1, -1)]
    assert months == list(range(first + length, first - 1, -1))
    assert all(number(str(run.last)) - number(str(run.first)) < 12 for run in runs)
