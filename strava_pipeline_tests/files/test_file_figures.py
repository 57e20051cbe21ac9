"""Figures of a file that comes without Strava's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from strava_pipeline.files.figures import activity_figures
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.gpx import read_gpx
from strava_pipeline.files.recording import Recording, Session
from strava_pipeline.files.tcx import read_tcx
from strava_pipeline_tests.files.xml_documents import sample

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
RIDE = Recording(
    kind=FileKind.FIT,
    start=START,
    time=np.array([0.0, 1.0, 100.0]),
    distance=np.array([0.0, 5.0, 500.04]),
    sessions=(Session(start=START, sport="Ride", elapsed_s=100.4, timer_s=90.9, distance_m=501.23, ascent_m=12),),
    local_offset_s=3_600,
)


def test_figures_of_a_fit_are_the_devices() -> None:
    assert activity_figures(RIDE) == {
        "sport_type": "Ride",
        "name": None,
        "start_date": START,
        "elapsed_time": 100,
        "moving_time": 90,
        "distance": 501.2,
        "total_elevation_gain": 12,
        "utc_offset": 3_600,
    }


def test_figures_of_other_files_are_of_their_points() -> None:
    figures = activity_figures(read_tcx(sample("leading_spaces.tcx.gz")))
    assert (figures["sport_type"], figures["elapsed_time"], figures["distance"]) == ("Run", 649, 1_275.2)
    # The device's timer ran on after the last point of this file.
    assert figures["moving_time"] == 649
    gpx = activity_figures(read_gpx(sample("strava_gpx_hr_cad.gpx.gz")))
    assert (gpx["name"], gpx["elapsed_time"], gpx["moving_time"]) == ("Morning Lap", 786, 786)


def test_figures_of_a_file_without_records_are_its_sessions() -> None:
    told = replace(RIDE, time=np.empty(0), distance=None)
    figures = activity_figures(told)
    assert (figures["start_date"], figures["elapsed_time"], figures["distance"]) == (START, 100, 501.2)


def test_a_file_that_tells_nothing_gives_no_figures() -> None:
    empty = Recording(kind=FileKind.GPX, start=None, time=np.empty(0))
    assert set(activity_figures(empty).values()) == {None}
