"""Tracks for the tests of the analysis: of any shape for hypothesis, and plain ones to build on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from strava_pipeline.analysis.track import Track

Samples = NDArray[np.float64]


def samples(*values: float) -> Samples:
    return np.array(values, dtype=np.float64)


def tracks(values: st.SearchStrategy[float], most: int = 8) -> st.SearchStrategy[Track]:
    """Tracks of up to ``most`` samples, each series there or not."""

    def of_length(count: int) -> st.SearchStrategy[Track]:
        series = st.none() | st.lists(values, min_size=count, max_size=count).map(lambda found: samples(*found))
        return st.builds(Track, **dict.fromkeys(Track.__dataclass_fields__, series))

    return st.integers(0, most).flatmap(of_length)


plausible: Any = st.just(math.nan) | st.floats(-1e6, 1e6, allow_subnormal=False) | st.integers(-5, 5).map(float)


@st.composite
def journeys(draw: st.DrawFn) -> Track:
    """Long tracks that look like one, with faults: runs of NaN, a clock that goes back, poles, the antimeridian."""
    count = draw(st.integers(0, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    time = np.cumsum(rng.choice([0.0, 1.0, 1.0, 1.0, 5.0, 400.0, -3.0], count))
    speed = np.abs(rng.normal(draw(st.sampled_from([0.0, 3.0, 8.0, 300.0])), 2, count))
    latitude = draw(st.sampled_from([0.0, 47.0, 90.0, -90.0])) + np.cumsum(rng.normal(0, 1e-4, count))
    longitude = draw(st.sampled_from([8.0, 180.0, -180.0])) + np.cumsum(rng.normal(0, 1e-4, count))
    series = {
        "time": time,
        "distance": np.cumsum(speed),
        "latitude": np.clip(latitude, -90, 90),
        "longitude": (longitude + 180) % 360 - 180,
        "altitude": 400 + np.cumsum(rng.normal(0, draw(st.sampled_from([0.0, 0.5, 5.0])), count)),
        "speed": speed,
        "heart_rate": rng.choice([0.0, 120.0, 150.0, 180.0, 300.0], count),
        "cadence": np.full(count, 90.0),
        "power": rng.choice([0.0, 200.0, 250.0, 5_000.0], count),
        "temperature": np.full(count, 20.0),
        "moving": rng.choice([0.0, 1.0], count),
        "grade": rng.normal(0, 5, count),
    }
    kept = draw(st.sets(st.sampled_from(sorted(series))))
    found = {}
    for name in sorted(kept):
        values = series[name].copy()
        begin = draw(st.integers(0, count))
        values[begin : draw(st.integers(begin, count))] = np.nan
        found[name] = values
    return Track(**found)


def circle(radius_m: float, count: int, latitude: float = 47.0) -> tuple[Samples, Samples]:
    """Positions on a circle, once round to the left from its easternmost point."""
    angle = np.linspace(0, 2 * math.pi, count)
    degrees = math.degrees(radius_m / 6_371_008.8)
    return latitude + degrees * np.sin(angle), 8 + degrees * np.cos(angle) / math.cos(math.radians(latitude))
