from __future__ import annotations

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strava_pipeline.files.fit.reader import read_fit
from strava_pipeline.files.recording import Damage, Recording
from strava_pipeline_tests.files.fit.oracle import assert_same_records, records_by_fitdecode

DATA = Path(__file__).parents[1] / "data" / "fit"
EXPECTED: dict[str, dict[str, Any]] = json.loads((DATA / "expected.json").read_text())
WORDS = {"running": "Run"}


def content_of(name: str) -> bytes:
    content = (DATA / name).read_bytes()
    return gzip.decompress(content) if name.endswith(".gz") else content


@pytest.fixture(params=EXPECTED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_samples_have_the_expected_figures(name: str) -> None:
    expected, recording = EXPECTED[name], read_fit(content_of(name))
    assert recording.record_count == expected["records"]
    assert len(recording.laps) == expected["laps"]
    assert recording.distance is not None
    assert recording.distance[-1] == pytest.approx(expected["last_distance"], abs=1e-9)
    positions = 0 if recording.latitude is None else np.count_nonzero(~np.isnan(recording.latitude))
    assert positions == expected["with_position"]
    heart_rates = np.empty(0) if recording.heartrate is None else recording.heartrate[~np.isnan(recording.heartrate)]
    assert (len(heart_rates), heart_rates.sum()) == (expected["hr_count"], expected["hr_sum"])


def test_samples_have_the_expected_sessions(name: str) -> None:
    expected, recording = EXPECTED[name], read_fit(content_of(name))
    sessions = [
        (session.sport, session.elapsed_s, session.timer_s, session.distance_m) for session in recording.sessions
    ]
    assert sessions == [
        (WORDS[session["sport"]], session["elapsed"], session["timer"], session["distance"])
        for session in expected["sessions"]
    ]


def test_samples_start_and_end_when_expected(name: str) -> None:
    expected, recording = EXPECTED[name], read_fit(content_of(name))
    if recording.start is None:
        assert recording.time[-1] == int(expected["last"]) - int(expected["first"])
    else:
        assert recording.start == datetime.fromisoformat(expected["first"])
        span = datetime.fromisoformat(expected["last"]) - recording.start
        assert recording.time[-1] == span.total_seconds()


def test_samples_are_as_another_decoder_reads_them(name: str) -> None:
    content = content_of(name)
    assert_same_records(read_fit(content), records_by_fitdecode(content))


def test_damage_of_samples_is_told() -> None:
    def damage_of(name: str) -> tuple[Damage, ...]:
        return read_fit(content_of(name), check=True).damage

    assert damage_of("plain_run.fit") == ()
    assert damage_of("bad_crc.fit") == (Damage.CHECKSUM,)
    assert damage_of("cut_inside_records.fit") == (Damage.CUT,)
    assert read_fit(content_of("bad_crc.fit")).damage == ()


def test_a_watch_tells_its_make_its_offset_and_its_laps() -> None:
    recording = read_fit(content_of("plain_run.fit"))
    assert (recording.device.creator, recording.local_offset_s, recording.sport) == ("Garmin Venu Sq", 7_200, "Run")
    assert sum(lap.distance_m or 0 for lap in recording.laps) == pytest.approx(3_322.95, abs=0.1)
    assert recording.laps[0].start_s == 0


def test_a_sensor_describes_its_own_fields() -> None:
    channels = {channel.name: channel for channel in read_fit(content_of("developer_fields.fit.gz")).channels}
    assert channels["Form Power"].unit == "Watts"
    assert np.nanmedian(channels["Form Power"].values) > 20


def test_a_clock_without_a_date_counts_from_the_first_record() -> None:
    recording: Recording = read_fit(content_of("compressed_timestamps.fit.gz"))
    assert recording.start is None
    assert recording.time[0] == 0
    assert (np.diff(recording.time) >= 0).all()
    assert [(pause.start_s, pause.end_s) for pause in recording.pauses] == [(681.0, 791.0)]
