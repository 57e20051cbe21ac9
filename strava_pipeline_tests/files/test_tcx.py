"""What is read of TCX."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.recording import Damage, Pause, Samples
from strava_pipeline.files.tcx import read_tcx
from strava_pipeline_tests.files.xml_documents import activity, lap, sample, tcx, trackpoint


def _list(samples: Samples | None) -> list[float]:
    assert samples is not None
    return [float(value) for value in samples]


def test_stravas_own_file_is_read_behind_its_blanks() -> None:
    recording = read_tcx(sample("leading_spaces.tcx.gz"))
    assert recording.kind is FileKind.TCX
    assert recording.start == datetime(2016, 9, 11, 15, 57, 36, tzinfo=UTC)
    assert (recording.record_count, recording.time[-1]) == (300, 649)
    assert _list(recording.distance)[:3] == [0, 4.1, 7.6]
    assert _list(recording.heartrate)[:3] == [103, 103, 104]
    assert _list(recording.cadence)[:3] == [54, 54, 55]
    assert _list(recording.speed)[:3] == [0, 2.1, 1.5]
    assert recording.sport == "Run"
    (session,) = recording.sessions
    assert (session.sport, session.timer_s, session.distance_m) == ("Run", 4_070, 6_106.6)
    (counted,) = recording.laps
    assert (counted.start_s, counted.timer_s, counted.distance_m) == (0, 4_070, 6_106.6)
    assert (counted.average_heartrate_bpm, counted.max_heartrate_bpm, counted.average_cadence_rpm) == (157, 191, 67)
    # The file tells 16,200 m/s, as all of Strava's do.
    assert (counted.max_speed_mps, recording.damage) == (None, ())


def test_what_a_point_tells_is_read_whatever_the_prefix() -> None:
    inside = (
        "<Position><LatitudeDegrees>50.1</LatitudeDegrees><LongitudeDegrees>7.2</LongitudeDegrees></Position>"
        "<AltitudeMeters>100.5</AltitudeMeters><DistanceMeters>12.3</DistanceMeters>"
        "<HeartRateBpm><Value>141</Value></HeartRateBpm><Cadence>88</Cadence>"
        "<Extensions><ns3:TPX><ns3:Speed>7.5</ns3:Speed><ns3:Watts>215</ns3:Watts><ns3:Tilt>1.5</ns3:Tilt></ns3:TPX>"
        "</Extensions>"
    )
    recording = read_tcx(tcx(activity(lap(trackpoint(0, inside)))))
    told = (
        recording.latitude, recording.longitude, recording.altitude, recording.distance, recording.heartrate,
        recording.cadence, recording.speed, recording.watts,
    )  # fmt: skip
    assert [_list(series) for series in told] == [[50.1], [7.2], [100.5], [12.3], [141], [88], [7.5], [215]]
    assert [(channel.name, *channel.values) for channel in recording.channels] == [("Tilt", 1.5)]


def test_cadence_of_runs_is_read_from_the_extension() -> None:
    inside = "<Extensions><TPX><RunCadence>87</RunCadence></TPX></Extensions>"
    assert _list(read_tcx(tcx(activity(lap(trackpoint(0, inside))))).cadence) == [87]


@pytest.mark.parametrize(
    ("word", "sport"), [("Running", "Run"), ("Biking", "Ride"), ("Other", None), ("Swimming", "Swim")]
)
def test_the_sport_is_told_in_stravas_words(word: str, sport: str | None) -> None:
    recording = read_tcx(tcx(activity(lap(trackpoint(0)), sport=word)))
    assert (recording.sport, recording.sessions[0].sport) == (sport, sport)


def test_laps_follow_each_other() -> None:
    document = tcx(
        activity(
            lap(trackpoint(0) + trackpoint(50), head="<TotalTimeSeconds>55</TotalTimeSeconds>"),
            lap(trackpoint(60) + trackpoint(90), second=60, head="<TotalTimeSeconds>30.5</TotalTimeSeconds>"),
        )
    )
    recording = read_tcx(document)
    assert [(each.start_s, each.elapsed_s, each.timer_s) for each in recording.laps] == [(0, 60, 55), (60, 30.5, 30.5)]
    assert [(each.elapsed_s, each.timer_s) for each in recording.sessions] == [(90.5, 85.5)]


def test_a_lap_tells_speed_power_and_cadence() -> None:
    head = (
        "<MaximumSpeed>15.5</MaximumSpeed><Cadence>0</Cadence><Extensions><LX><AvgSpeed>8.1</AvgSpeed>"
        "<AvgRunCadence>84</AvgRunCadence><AvgWatts>199</AvgWatts></LX></Extensions>"
    )
    (counted,) = read_tcx(tcx(activity(lap(trackpoint(0), head=head)))).laps
    assert (counted.max_speed_mps, counted.average_speed_mps) == (15.5, 8.1)
    assert (counted.average_cadence_rpm, counted.average_power_w) == (84, 199)


def test_a_further_track_of_a_lap_begins_after_a_pause() -> None:
    document = tcx(
        activity(
            lap(trackpoint(0) + trackpoint(10), trackpoint(40) + trackpoint(50), trackpoint(51)),
            lap(trackpoint(60), second=60),
        )
    )
    assert read_tcx(document).pauses == (Pause(start_s=10, end_s=40),)


def test_several_activities_are_sessions() -> None:
    document = tcx(
        activity(lap(trackpoint(0) + trackpoint(10)), sport="Running"),
        activity(lap(trackpoint(20) + trackpoint(50), second=20), sport="Biking"),
    )
    recording = read_tcx(document)
    assert [(each.sport, each.elapsed_s) for each in recording.sessions] == [("Run", 10), ("Ride", 30)]
    assert recording.sessions[1].start == datetime(2026, 3, 1, 8, 0, 20, tzinfo=UTC)
    assert _list(recording.time) == [0, 10, 20, 50]


def test_a_multisport_session_gives_one_session_a_sport() -> None:
    first = activity(lap(trackpoint(0)), sport="Other")
    second = activity(lap(trackpoint(20), second=20), sport="Biking")
    document = tcx(
        "<MultiSportSession><Id>x</Id><FirstSport>" + first + "</FirstSport>"
        "<NextSport><Transition StartTime='2026-03-01T08:00:10Z'/>" + second + "</NextSport></MultiSportSession>"
    )
    recording = read_tcx(document)
    assert [each.sport for each in recording.sessions] == [None, "Ride"]
    assert recording.record_count == 2


def test_a_course_gives_no_points() -> None:
    course = f"<Courses><Course><Name>Plan</Name>{lap(trackpoint(0))}</Course></Courses>"
    document = tcx(activity(lap(trackpoint(30), second=30)))
    recording = read_tcx(document.replace(b"</Training", f"{course}</Training".encode()))
    assert (recording.record_count, len(recording.laps), recording.damage) == (1, 1, ())


def test_creator_and_notes_are_read() -> None:
    tail = (
        "<Notes>Up the hill\nand down</Notes><Creator><Name>Edge 530 with barometer</Name><UnitId>1</UnitId>"
        "<ProductID>3121</ProductID></Creator>"
    )
    recording = read_tcx(tcx(activity(lap(trackpoint(0)), tail=tail)))
    assert recording.name == "Up the hill"
    assert (recording.device.creator, recording.device.product) == ("Edge 530 with barometer", "3121")
    assert recording.device.has_barometer is True


def test_laps_without_points_tell_the_start() -> None:
    recording = read_tcx(tcx(activity(lap(second=30, head="<TotalTimeSeconds>600</TotalTimeSeconds>"))))
    assert (recording.start, recording.record_count) == (datetime(2026, 3, 1, 8, 0, 30, tzinfo=UTC), 0)
    assert recording.sessions[0].elapsed_s == 600


def test_impossible_values_are_left_out_and_told() -> None:
    document = tcx(
        activity(
            lap(
                trackpoint(0, "<HeartRateBpm><Value>900</Value></HeartRateBpm><AltitudeMeters>nan</AltitudeMeters>"),
                head="<TotalTimeSeconds>1e300</TotalTimeSeconds>",
            )
        )
    )
    recording = read_tcx(document)
    assert (recording.heartrate, recording.altitude, recording.laps[0].timer_s) == (None, None, None)
    assert recording.damage == (Damage.BAD_VALUE,)


def test_a_cut_file_keeps_what_was_read() -> None:
    document = tcx(activity(lap(trackpoint(0) + trackpoint(5) + trackpoint(9))))
    recording = read_tcx(document[: document.index(b"08:00:09") + 4])
    np.testing.assert_array_equal(recording.time, [0, 5])
    assert recording.damage == (Damage.CUT,)
    assert recording.laps[0].elapsed_s == 5


def test_another_document_is_refused() -> None:
    with pytest.raises(UnreadableFile, match="no TCX: it begins with <gpx>"):
        read_tcx(b"<gpx/>")


def test_more_points_than_are_read_are_refused() -> None:
    with pytest.raises(UnreadableFile, match="more than 1 points"):
        read_tcx(tcx(activity(lap(trackpoint(0) + trackpoint(1)))), most_records=1)


def test_an_activity_without_laps_is_a_session_without_figures() -> None:
    recording = read_tcx(tcx(activity(sport="Running")))
    assert [(each.sport, each.start, each.elapsed_s) for each in recording.sessions] == [("Run", None, None)]
