"""One activity out of Strava into a file, by the real command."""

from __future__ import annotations

import gpxpy

from strava_pipeline_tests.e2e import recordings
from strava_pipeline_tests.e2e.conftest import Installation

ATHLETE = str(recordings.ATHLETE_ID)
MONTH = ("--from", "2025-10", "--to", "2025-10")


def test_a_stored_activity_is_exported_without_saying_whose_it_is(connected: Installation) -> None:
    ride = str(recordings.MARATHON_ID)
    refused = connected.call("export-gpx", ride)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"strava-pipeline: activity {ride} is not in the tables: say whose it is with --athlete\n"
    )
    exported = connected.output("export-gpx", ride, "--athlete", ATHLETE)
    (track,) = gpxpy.parse(exported).tracks
    assert track.name == "Marathon 🏅"
    assert [(point.latitude, point.longitude) for point in track.segments[0].points] == [
        (64.1, -21.9),
        (64.1003, -21.9),
        (64.1006, -21.9),
    ]
    assert [f"{point.time:%H:%M:%S}" for point in track.segments[0].points] == ["20:00:00", "20:00:10", "20:00:20"]

    connected.output("backfill", "--athlete", ATHLETE, *MONTH, "--assets", "activities")
    assert connected.output("export-gpx", ride) == exported


def test_an_activity_without_positions_is_refused_in_one_line(connected: Installation) -> None:
    refused = connected.call("export-gpx", "48000001", "--athlete", ATHLETE)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "strava-pipeline: activity 48000001 has no GPS positions: there is nothing to export\n"
    gone = connected.call("export-gpx", "12345", "--athlete", ATHLETE)
    assert gone.returncode == 1
    assert "404" in gone.stderr
    assert len(gone.stderr.splitlines()) == 1
