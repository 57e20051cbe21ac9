"""Column lineage: it names columns that are there, and every stream without which a figure would be another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from strava_pipeline.analysis.athlete import Athlete
from strava_pipeline.analysis.figures import analyse
from strava_pipeline.analysis.track import _STREAMS, Samples, Track
from strava_pipeline.names import ASSET_TAG
from strava_pipeline.sync.activity_analysis import _figure_row
from strava_pipeline_tests.analysis.tracks import circle
from strava_pipeline_tests.defs.own_definitions import NAMES, defs

SPECS = {spec.tags[ASSET_TAG]: spec for spec in defs().resolve_all_asset_specs()}
LINEAGE = {
    name: spec.metadata["dagster/column_lineage"].deps_by_column
    for name, spec in SPECS.items()
    if "dagster/column_lineage" in spec.metadata
}
SAMPLES = 1_200
# When, and by which formulas: of no column.
STAMPS = {"analysed_at", "analysis_version"}


def columns(asset: str) -> set[str]:
    return {column.name for column in SPECS[asset].metadata["dagster/column_schema"].columns}


def ride() -> Track:
    """Twenty minutes with every sensor, hills, a stop and a pause of the recording."""
    rng = np.random.default_rng(5)
    time = np.arange(SAMPLES, dtype=np.float64)
    time[SAMPLES // 2 :] += 300
    speed = 7 + np.sin(time / 60)
    speed[300:360] = 0
    distance = np.cumsum(speed)
    latitude, longitude = circle(float(distance[-1]) / 6.28, SAMPLES)
    return Track(
        time=time,
        distance=distance,
        latitude=latitude,
        longitude=longitude,
        altitude=400 + 40 * np.sin(distance / 900) + rng.normal(0, 0.1, SAMPLES),
        speed=speed,
        heart_rate=np.round(140 + 15 * np.sin(time / 200)),
        cadence=np.round(85 + rng.normal(0, 5, SAMPLES)),
        power=np.round(200 + 60 * np.sin(time / 90)),
        temperature=20 + np.round(time / 400),
        moving=(speed > 0).astype(np.float64),
        grade=np.zeros(SAMPLES),
    )


def figures(track: Track) -> dict[str, Any]:
    return _figure_row(analyse(track, Athlete(ftp_w=250)), track)


@pytest.mark.parametrize("asset", sorted(LINEAGE))
def test_lineage_names_columns_that_are_there(asset: str) -> None:
    assert set(LINEAGE[asset]) <= columns(asset)
    for deps in LINEAGE[asset].values():
        for dep in deps:
            assert dep.column_name in columns(str(NAMES.asset_of(dep.asset_key.to_user_string())))


def test_what_is_computed_from_other_tables_tells_from_which_columns() -> None:
    assert set(LINEAGE) == {
        "activity_details", "activity_streams", "route_analyses", "training_load", "activity_points_parquet",
    }  # fmt: skip
    assert set(LINEAGE["route_analyses"]) == columns("route_analyses") - STAMPS
    assert set(LINEAGE["training_load"]) == columns("training_load") - {"computed_at"}


@pytest.mark.parametrize("series", sorted(_STREAMS))
def test_a_figure_that_a_stream_changes_names_it(series: str) -> None:
    track = ride()
    values: Samples = getattr(track, series)
    holes = np.where(np.arange(SAMPLES) % 100 == 7, np.nan, values)
    known = figures(track)
    changed = {
        name
        for variant in (None, values * 1.01, holes)
        for name, value in figures(replace(track, **{series: variant})).items()
        if value != known[name]
    }
    for figure in changed:
        sources = {dep.column_name for dep in LINEAGE["route_analyses"][figure]}
        assert _STREAMS[series] in sources, f"{figure} also comes from {_STREAMS[series]}"
