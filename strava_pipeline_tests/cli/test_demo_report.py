"""The demo's report names the athletes of each run."""

from __future__ import annotations

import pytest

from strava_pipeline.cli.demo_report import _whose


@pytest.mark.parametrize(
    ("tags", "athletes"),
    [
        ({"strava/athlete": "7", "dagster/partition": "7"}, "7"),
        (
            {
                "strava/athlete": "7",
                "dagster/asset_partition_range_start": "7|2026-01-01",
                "dagster/asset_partition_range_end": "7|2026-03-01",
            },
            "7",
        ),
        ({"dagster/partition": "7"}, "7"),
        ({"dagster/asset_partition_range_start": "7", "dagster/asset_partition_range_end": "9"}, "7, 9"),
        ({"dagster/priority": "10"}, ""),
    ],
)
def test_a_run_is_of_those_whom_its_tags_name(tags: dict[str, str], athletes: str) -> None:
    assert _whose(tags) == athletes
