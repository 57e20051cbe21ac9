"""Units are read from the comments of columns; each column that measures something has one there."""

from __future__ import annotations

import pytest
from sqlalchemy import BigInteger, Column, Double, Integer
from sqlalchemy.dialects.postgresql import ARRAY

from strava_pipeline.warehouse.schema import analysis_tables
from strava_pipeline.warehouse.schema.column_units import UNITS, unit_of
from strava_pipeline.warehouse.schema.tables import SCHEMA, metadata

ANALYSTS_COLUMNS = [column for table in metadata.tables.values() if table.schema == SCHEMA for column in table.columns]
# Ratios, scores and loads; and what is in another unit from row to row.
WITHOUT_UNIT = {
    "gear.converted_distance", "activities.suffer_score", "activities.perceived_exertion",
    "route_analyses.power_variability", "route_analyses.intensity", "route_analyses.training_stress",
    "route_analyses.training_impulse", "route_analyses.heart_rate_stress", "route_analyses.training_load",
    "zone_times.low", "zone_times.high", "route_matches.shared", "training_load.load", "training_load.fitness",
    "training_load.fatigue", "training_load.form", "training_load.week_load", "training_load.monotony",
    "training_load.strain", "recording_channels.values", "archive_figures.perceived_relative_effort",
    "archive_figures.total_grit", "archive_figures.average_flow", "archive_figures.training_load",
    "archive_figures.weather_humidity", "archive_figures.weather_moon_phase",
    "archive_figures.weather_precipitation_probability", "archive_figures.weather_cloud_cover",
    "archive_figures.weather_uv_index",
}  # fmt: skip
SUFFIXES = {
    "_m": "m", "_s": "s", "_w": "W", "_bpm": "bpm", "_rpm": "rpm", "_mps": "m/s", "_kj": "kJ", "_deg": "degrees",
    "_c": "degrees Celsius", "_percent": "percent", "_m_per_h": "m/h", "_w_per_bpm": "W per bpm",
}  # fmt: skip


@pytest.mark.parametrize(
    ("comment", "unit"),
    [
        ("length, m", "m"),
        ("time in motion, s; can exceed elapsed_time", "s"),
        ("mean cadence, rpm (runs: steps of one leg per minute)", "rpm"),
        ("longest ride, m (only beside all rides)", "m"),
        ("m above sea level", "m"),
        ("latitude and longitude of the start, degrees; empty without GPS", "degrees"),
        ("128 positions at even distances: degrees east, unwrapped", "degrees"),
        ("mean temperature, degrees Celsius", "degrees Celsius"),
        ("when it begins, seconds since the start of the activity", "s"),
        ("pace on the flat, s per km", "s per km"),
        ("lower end, bpm or W", None),
        ("the same in the athlete's unit, km or mi", None),
        ("metres climbed", None),
        ("title", None),
        ("", None),
        (None, None),
    ],
)
def test_the_unit_ends_the_meaning(comment: str | None, unit: str | None) -> None:
    assert unit_of(Column("x", Double, comment=comment)) == unit


def test_each_measured_column_has_a_unit() -> None:
    assert analysis_tables.route_analyses.c.distance_m in ANALYSTS_COLUMNS
    without = {
        f"{column.table.name}.{column.name}"
        for column in ANALYSTS_COLUMNS
        if isinstance(column.type.item_type if isinstance(column.type, ARRAY) else column.type, Double)
        and unit_of(column) is None
    }
    assert without == WITHOUT_UNIT


def test_a_unit_in_the_name_is_the_one_of_the_comment() -> None:
    named = {
        column: [unit for suffix, unit in SUFFIXES.items() if column.name.endswith(suffix)]
        for column in ANALYSTS_COLUMNS
        if column.name.endswith(tuple(SUFFIXES)) and isinstance(column.type, (Double, Integer))
    }
    assert analysis_tables.power_curve.c.duration_s in named
    assert [
        f"{column.table.name}.{column.name}" for column, units in named.items() if unit_of(column) not in units
    ] == []


def test_ids_and_texts_have_none() -> None:
    for column in ANALYSTS_COLUMNS:
        if isinstance(column.type, BigInteger) or column.name.endswith("_id"):
            assert unit_of(column) is None
    assert len(set(UNITS)) == len(UNITS)
