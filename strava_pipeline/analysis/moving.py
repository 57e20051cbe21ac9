"""The rule that decides when an athlete moves; all moving times and stops follow from it."""

from __future__ import annotations

import numpy as np

from strava_pipeline.analysis.track import Flags, Samples, Track

# A slower sample without Strava's flag counts as standing.
STANDING_MPS = 0.5


def moving_steps(
    track: Track, seconds: Samples | None, speed: Samples | None, along: Samples | None, gaps: Flags | None
) -> Flags | None:
    """Return whether the athlete moved in each step, shape (n - 1,); ``None`` without times, or without any sign of it.

    Strava's flag decides where the recording has one. Else a step is in motion from :data:`STANDING_MPS` on: by its
    speed, and in a gap by the distance covered.
    """
    if seconds is None:
        return None
    if track.moving is not None and np.isfinite(track.moving).any():
        return np.asarray(track.moving[1:] > 0)
    if speed is None:
        return None if along is None else np.ones(len(seconds) - 1, dtype=np.bool_)
    moving = np.asarray(speed[1:] >= STANDING_MPS)
    if gaps is not None and along is not None:
        begins = gaps.nonzero()[0]
        ends = begins + 1
        moving[begins] = along[ends] - along[begins] >= STANDING_MPS * (seconds[ends] - seconds[begins])
    return moving
