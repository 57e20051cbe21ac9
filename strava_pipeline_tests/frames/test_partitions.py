"""The rows of an asset's partitions as frames: which rows, of which table, and what is there without any."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, insert

from strava_pipeline import frames
from strava_pipeline.frames import typed
from strava_pipeline.frames.partitions import ROWS, rows_of
from strava_pipeline.names import ALL_ASSETS, Asset, partition_key
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.analysis_tables import training_load

RIDER, OTHER = 1001, 2**60 + 1
ASKED = datetime(2026, 11, 1, tzinfo=UTC)
MAY, JUNE, JULY = (datetime(2026, month, 1, tzinfo=UTC) for month in (5, 6, 7))
LAST_OF_MAY = JUNE - timedelta(seconds=1)


def activity(number: int, athlete: int, start: datetime) -> dict[str, Any]:
    given = {"resource_state": 2, "name": "a ride", "type": "Ride", "sport_type": "Ride", "fetched_at": ASKED}
    return {"id": number, "athlete_id": athlete, "start_date": start, **given}


@pytest.fixture
def stored(engine: Engine) -> Engine:
    """Two athletes with activities on both sides of a month's ends; the later ones have the smaller ids."""
    with engine.begin() as connection:
        for athlete in (RIDER, OTHER):
            connection.execute(insert(tables.athletes).values(id=athlete, fetched_at=ASKED))
            connection.execute(insert(tables.gear).values(id=f"b{athlete}", athlete_id=athlete, fetched_at=ASKED))
            for day in (2, 1):
                row = {"athlete_id": athlete, "day": date(2026, 6, day), "activity_count": 1, "computed_at": ASKED}
                connection.execute(insert(training_load).values(row))
        for number, athlete, start in (
            (19, RIDER, LAST_OF_MAY),
            (18, RIDER, JUNE),
            (17, RIDER, JULY - timedelta(microseconds=1)),
            (16, RIDER, JULY),
            (25, OTHER, JUNE + timedelta(days=3)),
        ):
            connection.execute(insert(tables.activities).values(activity(number, athlete, start)))
            of = {"activity_id": number, "athlete_id": athlete}
            for lap in (2, 1):
                connection.execute(insert(tables.laps).values(id=number * 10 + lap, name=f"Lap {lap}", **of))
            series = {"point_count": 2, "time": [0, 5], "heartrate": [99.0, None], "moving": [True, None]}
            connection.execute(insert(tables.activity_streams).values(fetched_at=ASKED, **of, **series))
    return engine


def months(athlete: int, *starts: datetime) -> list[str]:
    return [partition_key(athlete, start) for start in starts]


def test_a_month_has_the_activities_that_started_in_it_oldest_first(stored: Engine) -> None:
    frame = rows_of(Asset.ACTIVITIES).read(stored, months(RIDER, JUNE))
    assert frame["id"].tolist() == [18, 17]
    every = frames.activities(stored)
    pd.testing.assert_frame_equal(frame, every[every["id"].isin([17, 18])].reset_index(drop=True))
    assert frame.attrs == every.attrs


def test_months_that_follow_each_other_or_do_not_have_each_row_once(stored: Engine) -> None:
    activities = rows_of(Asset.ACTIVITIES)
    assert activities.read(stored, months(RIDER, JULY, MAY, JUNE))["id"].tolist() == [19, 18, 17, 16]
    assert activities.read(stored, months(RIDER, JULY, MAY))["id"].tolist() == [19, 16]
    both = [*months(RIDER, MAY, JUNE), *months(OTHER, JUNE)]
    assert activities.read(stored, both)["id"].tolist() == [19, 18, 25, 17]


def test_all_rows_are_read_without_partitions(stored: Engine) -> None:
    assert rows_of(Asset.ACTIVITIES).read(stored, None)["id"].tolist() == [19, 18, 25, 17, 16]
    assert len(rows_of(Asset.TRAINING_LOAD).read(stored, None)) == 4


def test_rows_of_parts_follow_the_start_of_their_activity(stored: Engine) -> None:
    laps = rows_of(Asset.DETAILS).read(stored, months(RIDER, MAY, JUNE))
    assert laps["id"].tolist() == [191, 192, 181, 182, 171, 172]
    assert laps.attrs["units"]["average_speed"] == "m/s"


def test_samples_come_from_the_view_with_dtypes_and_units(stored: Engine) -> None:
    points = rows_of(Asset.LAKE).read(stored, months(RIDER, JUNE))
    assert points[["activity_id", "point_index"]].to_numpy().tolist() == [[18, 0], [18, 1], [17, 0], [17, 1]]
    assert points["heartrate"].tolist() == [99.0, pd.NA, 99.0, pd.NA]
    kinds = ("activity_id", "point_index", "time", "heartrate", "moving")
    assert [str(points.dtypes[name]) for name in kinds] == ["Int64", "Int64", "Int64", "Float64", "boolean"]
    assert points.attrs["units"]["altitude"] == "m"


def test_an_athlete_has_their_own_rows(stored: Engine) -> None:
    assert rows_of(Asset.ATHLETES).read(stored, [str(OTHER)])["id"].tolist() == [OTHER]
    assert rows_of(Asset.GEAR).read(stored, [str(RIDER)])["id"].tolist() == [f"b{RIDER}"]
    days = rows_of(Asset.TRAINING_LOAD).read(stored, [str(RIDER), str(OTHER)])
    assert days["day"].dt.day.tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize("asset", ALL_ASSETS)
def test_every_table_of_an_asset_is_read_and_empty_ones_keep_columns_and_dtypes(stored: Engine, asset: str) -> None:
    nobody = (
        "9"
        if asset in (Asset.ATHLETES, Asset.GEAR, Asset.TRAINING_LOAD, Asset.ARCHIVE_FILES)
        else partition_key(9, JUNE)
    )
    for rows in ROWS[asset]:
        every, empty = rows.read(stored, None), rows.read(stored, [nobody])
        assert len(empty) == len(rows.read(stored, [])) == 0
        assert list(empty.columns) == [column.name for column in rows.columns]
        pd.testing.assert_series_equal(empty.dtypes, every.dtypes)


def test_rows_of_several_parts_make_one_frame(stored: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows_of(Asset.LAKE).read(stored, None)
    monkeypatch.setattr(typed, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(typed, "ROWS_OF_A_PART", 4)
    in_parts = rows_of(Asset.LAKE).read(stored, None)
    assert len(whole) == 10
    pd.testing.assert_frame_equal(in_parts, whole)
    assert in_parts.attrs == whole.attrs


def test_columns_may_be_named(stored: Engine) -> None:
    frame = rows_of(Asset.ACTIVITIES).read(stored, months(RIDER, JULY), ("name", "id"))
    assert frame.to_dict("records") == [{"name": "a ride", "id": 16}]
    with pytest.raises(ValueError, match="table activities has no column 'speed'"):
        rows_of(Asset.ACTIVITIES).read(stored, None, ["speed"])


def test_another_table_of_the_asset_may_be_named() -> None:
    assert rows_of(Asset.DETAILS, "splits").name == "splits"
    with pytest.raises(ValueError, match=r"asset activity_details writes laps, .*photos, and no table 'climbs'"):
        rows_of(Asset.DETAILS, "climbs")
