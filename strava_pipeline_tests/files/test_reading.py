"""Each kind of recording is read by its reader."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.reading import read_recording
from strava_pipeline.files.recording import Damage
from strava_pipeline.files.shaping import Source, shape
from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline.mock_strava.fit_recording import fit_recording
from strava_pipeline.mock_strava.plans import outings_between, track_of
from strava_pipeline_tests.files.xml_documents import sample

FIT = Path(__file__).parent / "data" / "fit"
MARCH = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
# A FIT tells altitudes in steps of 0.2 m; a position may be rounded to the other side.
TOLERANCES = {
    "time": 0, "distance": 0, "latitude": 1.1e-6, "longitude": 1.1e-6, "altitude": 0.11, "heartrate": 0, "cadence": 0,
    "watts": 0, "temp": 0,
}  # fmt: skip


def test_xml_is_read_by_its_kind() -> None:
    gpx = read_recording(FileKind.GPX, sample("strava_gpx_hr_cad.gpx.gz"))
    tcx = read_recording(FileKind.TCX, sample("leading_spaces.tcx.gz"))
    assert [(each.kind, each.record_count) for each in (gpx, tcx)] == [(FileKind.GPX, 400), (FileKind.TCX, 300)]


def _fit(name: str) -> bytes:
    data = (FIT / name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


def test_a_fit_is_read_and_its_checksums_where_that_is_asked() -> None:
    assert read_recording(FileKind.FIT, _fit("bad_crc.fit")).damage == ()
    assert read_recording(FileKind.FIT, _fit("bad_crc.fit"), check=True).damage == (Damage.CHECKSUM,)


def test_streams_of_a_fit_fit_its_row_in_the_archive() -> None:
    recording = read_recording(FileKind.FIT, _fit("plain_run.fit"))
    start = datetime(2022, 5, 29, 15, 53, 35, tzinfo=UTC)
    shaped = shape(recording, start=start, elapsed_s=1_428, distance_m=3_322.95, activity_id=1, athlete_id=1)
    streams = shaped.streams
    assert (streams.point_count, shaped.is_cropped, shaped.start) == (326, False, start)
    assert streams.time is not None
    assert streams.distance is not None
    assert (streams.time[0], streams.time[-1], streams.distance[-1]) == (0, 1_428, 3_323.0)


def test_outings_that_are_written_as_fit_come_back_as_the_streams_that_are_served() -> None:
    plans = [plan for plan in outings_between(CYCLIST, *MARCH) if not plan.manual][:6]
    for plan in plans:
        track = track_of(CYCLIST, plan)
        assert track is not None
        start = datetime.fromtimestamp(plan.start, UTC)
        recording = read_recording(FileKind.FIT, fit_recording(track, start, plan.sport_type))
        streams = shape(
            recording,
            start=start,
            elapsed_s=int(track.time[-1]),
            distance_m=float(track.distance[-1]),
            activity_id=1,
            athlete_id=1,
        ).streams
        for name, tolerance in TOLERANCES.items():
            served, shaped = getattr(track, name), getattr(streams, name)
            assert (served is None) == (shaped is None), name
            if served is not None:
                np.testing.assert_allclose(shaped, served, rtol=0, atol=tolerance, err_msg=name)


def test_a_fit_whose_clock_has_no_date_begins_at_the_rows_start() -> None:
    recording = read_recording(FileKind.FIT, _fit("compressed_timestamps.fit.gz"))
    start = datetime(2012, 5, 29, 8, tzinfo=UTC)
    shaped = shape(recording, start=start, elapsed_s=3_880, distance_m=10_248, activity_id=1, athlete_id=1)
    assert (shaped.start, shaped.streams.point_count) == (start, 755)
    assert shaped.streams.time is not None
    assert (shaped.streams.time[0], shaped.streams.time[-1]) == (0, 3_880)
    # One record of 755 has no heart rate.
    assert shaped.streams.heartrate is not None
    assert None not in shaped.streams.heartrate
    assert shaped.sources["heartrate"] is Source.FILLED


@pytest.mark.parametrize("kind", FileKind)
def test_what_is_of_another_kind_is_refused(kind: FileKind) -> None:
    with pytest.raises(UnreadableFile):
        read_recording(kind, b"id,date,name\n")


@pytest.mark.parametrize(
    ("kind", "name"), [(FileKind.GPX, "strava_gpx_hr_cad.gpx.gz"), (FileKind.TCX, "leading_spaces.tcx.gz")]
)
def test_the_bound_on_records_holds_for_each_kind(kind: FileKind, name: str) -> None:
    with pytest.raises(UnreadableFile, match="more than 10 points"):
        read_recording(kind, sample(name), most_records=10)
