"""Which runs a backfill is made of."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.cli.backfill import ASSETS, CHOICES, DEEPER, PlannedRun, plan
from strava_pipeline.months import add_months, months_between, parse_month
from strava_pipeline.names import HISTORY_ASSETS

MONTHS = st.builds(datetime, st.integers(2008, 2029), st.integers(1, 12), st.just(1), tzinfo=st.just(UTC))


def test_listing_covers_the_whole_span_and_deeper_assets_go_by_years() -> None:
    assert list(plan(parse_month("2023-11"), parse_month("2025-02"), ASSETS)) == [
        PlannedRun(("athletes",)),
        PlannedRun(("activities",), parse_month("2023-11"), parse_month("2025-02")),
        PlannedRun(HISTORY_ASSETS[1:], parse_month("2024-03"), parse_month("2025-02")),
        PlannedRun(HISTORY_ASSETS[1:], parse_month("2023-11"), parse_month("2024-02")),
    ]


@pytest.mark.parametrize("asset", CHOICES)
def test_only_what_was_chosen_is_planned(asset: str) -> None:
    one = parse_month("2024-01")
    assert {name for run in plan(one, one, (asset,)) for name in run.assets} == {asset}


@given(MONTHS, st.integers(0, 200))
def test_every_month_is_planned_once_newest_first(first: datetime, length: int) -> None:
    last = add_months(first, length)
    runs = [run for run in plan(first, last, DEEPER) if run.first and run.last]
    parts = [list(months_between(run.first, run.last)) for run in runs if run.first and run.last]
    assert [start for part in parts for start in reversed(part)] == list(reversed(list(months_between(first, last))))
    assert all(len(part) <= 12 for part in parts)
