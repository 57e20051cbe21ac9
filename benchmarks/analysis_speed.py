"""Measures how long the analysis of a ride takes, and how long gpxpy takes for the figures that it knows, too.

Times are processor time of the measuring thread, the best of five medians, which other programs on the machine hardly
change. Takes about 20 s.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import gpxpy.gpx

from benchmarks.figure import show
from benchmarks.ride import made_up_ride
from strava_pipeline.analysis.athlete import Athlete
from strava_pipeline.analysis.elevation import elevation_profile, gain_and_loss
from strava_pipeline.analysis.figures import analyse
from strava_pipeline.analysis.timeline import build_timeline
from strava_pipeline.analysis.track import Track

HOUR, SIX_HOURS = 3_600, 21_600
ROUNDS = 5


def main() -> None:
    """Measure whole analyses, then the figures that gpxpy knows, too."""
    athlete = Athlete(ftp_w=250)
    hour, day = made_up_ride(HOUR), made_up_ride(SIX_HOURS)
    show("full analysis, 3,600 points", _milliseconds(lambda: analyse(hour, athlete), 60), "ms", "<= 3")
    show("full analysis, 6 h, 21,600 points", _milliseconds(lambda: analyse(day, athlete), 15), "ms", "<= 20")
    segment = _segment(hour)
    # In turn, so that other programs disturb the processor's caches for both alike.
    rounds = [(_round(lambda: _by_gpxpy(segment), 3), _round(lambda: _by_us(hour), 60)) for _ in range(ROUNDS)]
    theirs, ours = (min(milliseconds) for milliseconds in zip(*rounds, strict=True))
    show("gpxpy: length 2d and 3d, up- and downhill, moving data", theirs, "ms")
    show("the same figures here, faults found and left out", ours, "ms")
    show("gpxpy / here", theirs / ours, "x", ">= 30")
    _show_agreement(segment, hour)


def _by_gpxpy(segment: gpxpy.gpx.GPXTrackSegment) -> None:
    segment.length_2d()
    segment.length_3d()
    segment.get_uphill_downhill()
    segment.get_moving_data()


def _by_us(track: Track) -> None:
    timeline = build_timeline(
        Track(time=track.time, latitude=track.latitude, longitude=track.longitude, altitude=track.altitude)
    )
    _ = timeline.moving_time_s
    gain_and_loss(timeline, elevation_profile(timeline))


def _show_agreement(segment: gpxpy.gpx.GPXTrackSegment, track: Track) -> None:
    """Show figures of both side by side, without a target: they should mean the same."""
    figures = analyse(track).figures
    moving = segment.get_moving_data()
    show("length by gpxpy / here", (segment.length_2d() or 0) / (figures.haversine_distance_m or 1), "x")
    show("moving time by gpxpy / here", (moving.moving_time if moving else 0) / (figures.moving_time_s or 1), "x")
    show("metres up by gpxpy / here", segment.get_uphill_downhill().uphill / (figures.elevation_gain_m or 1), "x")


def _segment(track: Track) -> gpxpy.gpx.GPXTrackSegment:
    start = datetime(2026, 5, 1, 8, tzinfo=UTC)
    columns = [
        series.tolist()
        for series in (track.latitude, track.longitude, track.altitude, track.time)
        if series is not None
    ]
    return gpxpy.gpx.GPXTrackSegment(
        [
            gpxpy.gpx.GPXTrackPoint(latitude, longitude, elevation=altitude, time=start + timedelta(seconds=second))
            for latitude, longitude, altitude, second in zip(*columns, strict=True)
        ]
    )


def _milliseconds(work: Callable[[], object], calls: int) -> float:
    return min(_round(work, calls) for _ in range(ROUNDS))


def _round(work: Callable[[], object], calls: int) -> float:
    work()
    taken = []
    for _ in range(calls):
        began = time.thread_time()
        work()
        taken.append((time.thread_time() - began) * 1000)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
