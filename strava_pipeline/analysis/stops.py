"""Stops: halts of at least ten seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.averages import finite_or_none
from strava_pipeline.analysis.timeline import Timeline

# Shorter halts are kerbs and turns.
SHORTEST_STOP_S = 10.0


@dataclass(frozen=True)
class Stop:
    """A halt of ``length_s`` seconds, its start in time and distance, and its position if known."""

    start_s: float
    length_s: float
    along_m: float | None
    latitude_deg: float | None
    longitude_deg: float | None


def stops(timeline: Timeline) -> tuple[Stop, ...]:
    """Return the halts of at least ten seconds, in order."""
    if timeline.moving is None or timeline.seconds is None or timeline.moving.all():
        return ()
    edges = np.diff(timeline.moving.astype(np.int8), prepend=1, append=1)
    begins, ends = np.flatnonzero(edges < 0), np.flatnonzero(edges > 0)
    lengths = timeline.seconds[ends] - timeline.seconds[begins]
    long = lengths >= SHORTEST_STOP_S
    return tuple(
        _stop(timeline, int(begin), float(length)) for begin, length in zip(begins[long], lengths[long], strict=True)
    )


def _stop(timeline: Timeline, begin: int, length: float) -> Stop:
    track, along = timeline.track, timeline.along
    return Stop(
        start_s=float(timeline.seconds[begin]) if timeline.seconds is not None else 0.0,
        length_s=length,
        along_m=None if along is None else finite_or_none(along[begin] - along[0]),
        latitude_deg=None if track.latitude is None else finite_or_none(track.latitude[begin]),
        longitude_deg=None if track.longitude is None else finite_or_none(track.longitude[begin]),
    )
