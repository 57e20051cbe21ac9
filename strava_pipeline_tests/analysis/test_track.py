from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from strava_pipeline.analysis.track import Track, track_from_streams
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.streams import Streams


def streams(**series: list[Any]) -> Streams:
    """Streams as the mapping makes them."""
    return map_streams(1, 2, {name: {"data": values} for name, values in series.items()})


def test_each_stream_has_its_samples() -> None:
    track = track_from_streams(
        streams(
            time=[0, 1],
            distance=[0.0, 3.0],
            latlng=[[48.0, -3.0], [48.1, -3.1]],
            altitude=[5.0, 6.0],
            velocity_smooth=[0.0, 3.0],
            heartrate=[100, 101],
            watts=[200, 210],
            moving=[False, True],
        )
    )
    expected = {
        "time": [0, 1],
        "distance": [0, 3],
        "latitude": [48.0, 48.1],
        "longitude": [-3.0, -3.1],
        "altitude": [5, 6],
        "speed": [0, 3],
        "heart_rate": [100, 101],
        "power": [200, 210],
        "moving": [0, 1],
    }
    for name, samples in expected.items():
        np.testing.assert_array_equal(getattr(track, name), samples)
    assert track.point_count == 2


def test_missing_samples_are_nan() -> None:
    track = track_from_streams(streams(heartrate=[100, None, 102]))
    np.testing.assert_array_equal(track.heart_rate, [100, np.nan, 102])


def test_shorter_series_are_filled_up() -> None:
    track = track_from_streams(streams(time=[0, 1, 2], heartrate=[100]))
    np.testing.assert_array_equal(track.heart_rate, [100, np.nan, np.nan])


@pytest.mark.parametrize("series", [{}, {"time": []}])
def test_without_samples_there_is_an_empty_track(series: dict[str, list[Any]]) -> None:
    assert track_from_streams(streams(**series)) == Track()
    assert track_from_streams(streams(**series)).point_count == 0
