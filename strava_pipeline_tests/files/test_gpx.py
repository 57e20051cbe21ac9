"""What is read of GPX."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.gpx import read_gpx
from strava_pipeline.files.recording import Damage, Samples
from strava_pipeline_tests.files.xml_documents import EXTENSION_V1, EXTENSION_V2, extended, gpx, sample, trkpt


def _list(samples: Samples | None) -> list[float]:
    assert samples is not None
    return [float(value) for value in samples]


def test_a_run_of_stravas_app_is_read() -> None:
    recording = read_gpx(sample("strava_gpx_hr_cad.gpx.gz"))
    assert recording.kind is FileKind.GPX
    assert recording.start == datetime(2017, 3, 19, 16, 49, 30, tzinfo=UTC)
    assert (recording.record_count, recording.time[-1]) == (400, 786)
    assert (recording.sport, recording.name, recording.device.creator) == ("Run", "Morning Lap", "StravaGPX Android")
    assert recording.device.has_barometer is None
    assert _list(recording.heartrate)[:3] == [76, 78, 80]
    assert _list(recording.cadence)[:3] == [45, 53, 55]
    assert _list(recording.altitude)[:3] == [216.8, 216.5, 216.5]
    assert (recording.distance, recording.watts, recording.damage) == (None, None, ())


def test_points_keep_their_place_where_only_some_have_a_time() -> None:
    recording = read_gpx(sample("no_times.gpx"))
    assert recording.record_count == 296
    assert np.isfinite(recording.time).sum() == 5
    assert recording.name == "ACTIVE LOG"


@pytest.mark.parametrize("namespace", [EXTENSION_V1, EXTENSION_V2, "urn:another"])
@pytest.mark.parametrize("prefix", ["gpxtpx", "ns3", "tp1"])
def test_extensions_are_known_by_name_whatever_prefix_and_version(prefix: str, namespace: str) -> None:
    names = {"hr": 140, "cad": 85, "atemp": 21, "speed": 4.5}
    inside = "".join(f"<{prefix}:{name}>{value}</{prefix}:{name}>" for name, value in names.items())
    recording = read_gpx(gpx(extended(0, inside, prefix=prefix), namespaces=f'xmlns:{prefix}="{namespace}"'))
    assert _list(recording.heartrate) == [140]
    assert _list(recording.cadence) == [85]
    assert _list(recording.temp) == [21]
    assert _list(recording.speed) == [4.5]


def test_power_is_read_below_extensions_and_as_power_in_watts() -> None:
    plain = trkpt(0, inside="<extensions><power>210</power></extensions>")
    garmin = trkpt(
        1, inside="<extensions><p:PowerExtension><p:PowerInWatts>220</p:PowerInWatts></p:PowerExtension></extensions>"
    )
    assert _list(read_gpx(gpx(plain + garmin)).watts) == [210, 220]


def test_a_prefix_that_nobody_declared_is_read() -> None:
    recording = read_gpx(gpx(extended(0, "<gpxtpx:hr>140</gpxtpx:hr>")))
    assert (_list(recording.heartrate), recording.damage) == ([140], ())


def test_other_numbers_below_extensions_are_channels() -> None:
    first = trkpt(0, inside="<extensions><x:wtemp>14.5</x:wtemp><x:sensor>abc</x:sensor></extensions>")
    recording = read_gpx(gpx(first + trkpt(1)))
    assert [channel.name for channel in recording.channels] == ["wtemp"]
    np.testing.assert_array_equal(recording.channels[0].values, [14.5, np.nan])
    assert recording.damage == ()


def test_all_segments_are_read_and_gaps_are_no_pauses() -> None:
    recording = read_gpx(gpx(trkpt(0) + trkpt(1), trkpt(600)))
    assert _list(recording.time) == [0, 1, 600]
    assert recording.pauses == ()


def test_all_tracks_are_read() -> None:
    document = gpx(trkpt(0), head="<name>One</name>").replace(
        b"</gpx>", f"<trk><name>Two</name><trkseg>{trkpt(5)}</trkseg></trk></gpx>".encode()
    )
    recording = read_gpx(document)
    assert (_list(recording.time), recording.name) == ([0, 5], "One")


def test_without_any_time_all_times_are_nan() -> None:
    recording = read_gpx(gpx(trkpt(None) + trkpt(None)))
    assert recording.start is None
    assert np.isnan(recording.time).all()
    assert recording.record_count == 2


def test_a_route_gives_no_points() -> None:
    recording = read_gpx(b'<gpx><rte><name>Plan</name><rtept lat="1" lon="2"/></rte></gpx>')
    assert (recording.record_count, recording.start) == (0, None)


def test_a_point_without_position_keeps_what_else_it_tells() -> None:
    recording = read_gpx(gpx(trkpt(0) + f"<trkpt><time>{'2026-03-01T08:00:01Z'}</time><ele>5</ele></trkpt>"))
    np.testing.assert_array_equal(recording.latitude, [50, np.nan])
    np.testing.assert_array_equal(recording.altitude, [np.nan, 5])


@pytest.mark.parametrize(
    ("word", "sport"),
    [
        ("1", "Ride"),
        ("9", "Run"),
        ("10", "Walk"),
        ("running", "Run"),
        ("Trail Running", "TrailRun"),
        ("cycling", "Ride"),
        ("mountain_biking", "MountainBikeRide"),
        ("VirtualRide", "VirtualRide"),
        ("knitting", None),
        ("77", None),
    ],
)
def test_the_type_is_told_in_stravas_words(word: str, sport: str | None) -> None:
    assert read_gpx(gpx(trkpt(0), head=f"<type>{word}</type>")).sport == sport


def test_a_creator_tells_of_a_barometer() -> None:
    assert read_gpx(gpx(trkpt(0), creator="Edge 530 with Barometer")).device.has_barometer is True
    assert read_gpx(gpx(trkpt(0), creator="Edge 530")).device.has_barometer is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-01T08:00:10Z", 10),
        ("2026-03-01T08:00:10", 10),
        ("2026-03-01T08:00:10.250Z", 10.25),
        ("2026-03-01T08:00:10.1234567Z", 10.123456),
        ("2026-03-01T10:00:10+02:00", 10),
        ("2026-03-01 08:00:10Z", 10),
    ],
)
def test_times_are_read_with_and_without_fraction_and_offset(text: str, seconds: float) -> None:
    document = gpx(trkpt(0) + trkpt(None, inside=f"<time>{text}</time>"))
    assert read_gpx(document).time[1] == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00Z", "1989-12-31T00:00:00Z", "9999-01-01T00:00:00Z", "2026-03-01"])
def test_a_clock_without_a_date_tells_no_time(text: str) -> None:
    recording = read_gpx(gpx(trkpt(None, inside=f"<time>{text}</time>") + trkpt(0)))
    np.testing.assert_array_equal(recording.time, [np.nan, 0])
    assert recording.damage == (Damage.BAD_VALUE,)


@pytest.mark.parametrize("text", ["1e999", "nan", "inf", "-infinity", "1_0", "0x10", "abc", "1e5"])
def test_what_is_no_possible_number_is_left_out(text: str) -> None:
    recording = read_gpx(gpx(trkpt(0, inside=f"<ele>{text}</ele>") + trkpt(1, inside="<ele>5</ele>")))
    np.testing.assert_array_equal(recording.altitude, [np.nan, 5])
    assert recording.damage == (Damage.BAD_VALUE,)


def test_half_a_position_is_none() -> None:
    recording = read_gpx(gpx(trkpt(0, lat="100") + trkpt(1)))
    np.testing.assert_array_equal(recording.longitude, [np.nan, 7])
    assert recording.damage == (Damage.BAD_VALUE,)


def test_a_cut_file_keeps_the_points_that_are_whole() -> None:
    document = gpx(trkpt(0, inside="<ele>10</ele>") + trkpt(1, inside="<ele>216.8</ele>"))
    recording = read_gpx(document[: document.index(b"216.8") + 3])
    assert _list(recording.altitude) == [10]
    assert recording.damage == (Damage.CUT,)


def test_a_point_within_a_point_is_read_for_itself() -> None:
    document = gpx(trkpt(0, inside="<ele>1</ele>").removesuffix("</trkpt>") + trkpt(1, inside="<ele>2</ele>"))
    recording = read_gpx(document)
    assert _list(recording.altitude) == [2]
    assert recording.damage == (Damage.CUT,)


def test_more_points_than_are_read_are_refused() -> None:
    document = gpx(trkpt(0) + trkpt(1) + trkpt(2))
    assert read_gpx(document, most_records=3).record_count == 3
    with pytest.raises(UnreadableFile, match="more than 2 points"):
        read_gpx(document, most_records=2)


def test_names_are_one_printable_line() -> None:
    assert read_gpx(gpx(trkpt(0), head="<name> A\n  ride\u202e </name>")).name == "A ride"
    long = read_gpx(gpx(trkpt(0), head=f"<name>{'x' * 1_000}</name>")).name
    assert long is not None
    assert len(long) == 255
