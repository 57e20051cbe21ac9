from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import fitdecode
import numpy as np
import pytest

from strava_pipeline.files.fit.reader import read_fit
from strava_pipeline.files.recording import Recording
from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline.mock_strava.fit_recording import Recorder, fit_recording
from strava_pipeline.mock_strava.plans import Plan, outings_between, track_of
from strava_pipeline.mock_strava.tracks import Track

MONTH = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))


@cache
def outings() -> list[tuple[Plan, Track]]:
    """Return one outing of each sport, and one without positions."""
    kinds = {(plan.sport_type, plan.trainer): plan for plan in outings_between(CYCLIST, *MONTH) if not plan.manual}
    found = ((plan, track_of(CYCLIST, plan)) for plan in kinds.values())
    return [(plan, track) for plan, track in found if track is not None]


def start_of(plan: Plan) -> datetime:
    return datetime.fromtimestamp(plan.start, UTC)


def read_back(plan: Plan, track: Track, recorder: Recorder) -> Recording:
    return read_fit(fit_recording(track, start_of(plan), plan.sport_type, recorder), check=True)


@pytest.mark.parametrize("is_big_endian", [False, True])
def test_outings_are_written_with_all_their_samples(*, is_big_endian: bool) -> None:
    assert len({plan.sport_type for plan, _ in outings()}) > 2
    for plan, track in outings():
        recording = read_back(plan, track, Recorder(is_big_endian=is_big_endian))
        assert (recording.start, recording.sport, recording.damage) == (start_of(plan), plan.sport_type, ())
        np.testing.assert_array_equal(recording.time, track.time)
        for ours, written, tolerance in (
            (recording.distance, track.distance, 0.005),
            (recording.speed, track.velocity, 0.0005),
            (recording.altitude, track.altitude, 0.1),
            (recording.latitude, track.latitude, 1e-7),
            (recording.longitude, track.longitude, 1e-7),
            (recording.heartrate, track.heartrate, 0),
            (recording.cadence, track.cadence, 0),
            (recording.watts, track.watts, 0),
            (recording.temp, track.temp, 0),
        ):
            if written is None:
                assert ours is None
            else:
                assert ours is not None
                np.testing.assert_allclose(ours, written, rtol=0, atol=tolerance * (1 + 1e-6))


def test_laps_and_pauses_add_up_to_the_session() -> None:
    for plan, track in outings():
        recording = read_back(plan, track, Recorder(local_offset_s=3_600))
        (session,) = recording.sessions
        paused_s = sum(pause.end_s - pause.start_s for pause in recording.pauses)
        assert session.elapsed_s == track.time[-1]
        assert session.timer_s == track.time[-1] - paused_s
        assert sum(lap.timer_s or 0 for lap in recording.laps) == session.timer_s
        assert sum(lap.distance_m or 0 for lap in recording.laps) == pytest.approx(session.distance_m, abs=0.1)
        starts = [-1.0 if lap.start_s is None else lap.start_s for lap in recording.laps]
        assert starts == sorted(set(starts))
        assert recording.local_offset_s == 3_600
    paused = [plan.sport_type for plan, track in outings() if track.steps.max() > 10]
    assert "Ride" in paused


@pytest.mark.parametrize("has_barometer", [False, True])
def test_the_recorder_is_told(*, has_barometer: bool) -> None:
    plan, track = outings()[0]
    device = read_back(plan, track, Recorder(manufacturer=289, product=2, has_barometer=has_barometer)).device
    assert (device.creator, device.has_barometer) == ("Hammerhead 2", True if has_barometer else None)


def test_another_decoder_finds_the_checksums_right() -> None:
    plan, track = outings()[0]
    content = fit_recording(replace(track, watts=None), start_of(plan) + timedelta(days=1), plan.sport_type)
    with fitdecode.FitReader(content, check_crc=fitdecode.CrcCheck.RAISE) as reader:
        frames = list(reader)
    assert [frame.crc_matched for frame in frames if frame.frame_type == fitdecode.FIT_FRAME_HEADER] == [True]
    assert sum(frame.frame_type == fitdecode.FIT_FRAME_DATA for frame in frames) > len(track.time)
