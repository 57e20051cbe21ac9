"""Makes up a ride for measurements: all sensors, once a second, with hills, bends, a stop and a pause."""

from __future__ import annotations

import numpy as np

from strava_pipeline.analysis.track import Track

METRES_PER_DEGREE = 111_195.0


def made_up_ride(points: int, seed: int = 1) -> Track:
    """Return a ride of ``points`` samples; equal for equal arguments."""
    rng = np.random.default_rng(seed)
    time = np.arange(points, dtype=np.float64)
    time[points // 2 :] += 300
    speed = np.clip(7 + 1.5 * np.sin(time / 60) + rng.normal(0, 0.3, points), 0, None)
    speed[points // 4 : points // 4 + 60] = 0
    distance = np.cumsum(speed)
    heading = np.cumsum(rng.normal(0, 0.03, points)) + 0.4 * np.sin(time / 200)
    altitude = (
        400 + 80 * np.sin(distance / 3_000) + 10 * np.sin(distance / 450) + np.cumsum(rng.normal(0, 0.05, points))
    )
    return Track(
        time=time,
        distance=np.round(distance, 1),
        latitude=np.round(47 + np.cumsum(speed * np.cos(heading)) / METRES_PER_DEGREE, 6),
        longitude=np.round(8 + np.cumsum(speed * np.sin(heading)) / METRES_PER_DEGREE / np.cos(np.radians(47)), 6),
        altitude=np.round(altitude, 1),
        speed=np.round(speed, 1),
        heart_rate=np.round(140 + 15 * np.sin(time / 300) + rng.normal(0, 2, points)),
        cadence=np.round(85 + rng.normal(0, 5, points)),
        power=np.asarray(
            np.round(np.clip(200 + 60 * np.sin(time / 90) + rng.normal(0, 40, points), 0, None)), np.float64
        ),
        temperature=np.full(points, 20.0),
        moving=(speed > 0.5).astype(np.float64),
        grade=np.zeros(points),
    )
