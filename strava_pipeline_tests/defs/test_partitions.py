"""Athlete x month: UTC months, and runs whose range crosses athletes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone

import dagster as dg
import pytest

from strava_pipeline.defs.partitions import cell, grid_from, register_athlete, span_of, spans_by_athlete
from strava_pipeline.months import Span, add_months
from strava_pipeline.names import MONTH
from strava_pipeline_tests.defs.own_definitions import NAMES, defs, grid_partitions


def months_of(grid: dg.MultiPartitionsDefinition) -> Sequence[str]:
    return grid.get_partitions_def_for_dimension(MONTH).get_partition_keys()


def test_a_cell_is_the_month_that_holds_a_moment() -> None:
    assert str(cell(7, datetime(2024, 2, 29, 23, 59, tzinfo=UTC))) == "7|2024-02-01"


@pytest.mark.parametrize(
    ("month", "following"), [((2024, 1), (2024, 2)), ((2024, 12), (2025, 1)), ((2025, 11), (2025, 12))]
)
def test_a_span_ends_where_the_next_month_begins(month: tuple[int, int], following: tuple[int, int]) -> None:
    start, end = datetime(*month, 1, tzinfo=UTC), datetime(*following, 1, tzinfo=UTC)
    assert add_months(start, 1) == end
    assert span_of(cell(2**40, start)) == Span(2**40, start, end)


def test_the_month_that_has_begun_is_a_partition() -> None:
    keys = months_of(grid_partitions)
    assert keys[0] == "2008-01-01"
    assert keys[-1] == f"{datetime.now(UTC):%Y-%m}-01"


def test_months_begin_with_the_one_that_holds_the_start() -> None:
    assert months_of(grid_from(NAMES, date(2019, 6, 17)))[0] == "2019-06-01"


def test_the_start_is_read_when_definitions_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []
    for start in ("2015-03-20", "2021-11-01"):
        monkeypatch.setenv("STRAVA_HISTORY_START", start)
        graph = defs().resolve_asset_graph()
        grids = {
            definition
            for key in graph.get_all_asset_keys()
            if isinstance(definition := graph.get(key).partitions_def, dg.MultiPartitionsDefinition)
        }
        assert len(grids) == 1
        starts.append(months_of(grids.pop())[0])
    assert starts == ["2015-03-01", "2021-11-01"]


def test_a_runs_keys_are_grouped_by_athlete_with_months_newest_first() -> None:
    keys = ["9|2024-01-01", "10|2024-02-01", "9|2024-03-01", "10|2023-12-01"]
    grouped = [(athlete, [str(key) for key in cells.values()]) for athlete, cells in spans_by_athlete(keys)]
    assert grouped == [
        (10, ["10|2024-02-01", "10|2023-12-01"]),
        (9, ["9|2024-03-01", "9|2024-01-01"]),
    ]


def test_an_athlete_is_registered_once() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            register_athlete(instance, NAMES, 7)
        assert list(instance.get_dynamic_partitions(NAMES.partition_set)) == ["7"]
        keys = grid_partitions.get_partition_keys(dynamic_partitions_store=instance)
        assert len(keys) == len(months_of(grid_partitions))
        assert "7|2024-02-01" in keys


def test_a_cell_of_a_start_in_another_zone_must_be_given_in_utc() -> None:
    # Everything stored is in UTC; a month is named by what it is given.
    local = datetime(2024, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert str(cell(7, local.astimezone(UTC))) == "7|2024-02-01"
