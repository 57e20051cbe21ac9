"""Measures how fast FIT files are read here, scaled and with all their messages, and by fitdecode.

Times are processor time of the measuring thread, the best of three rounds in turn. Takes about half a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import fitdecode
import numpy as np

from benchmarks.figure import show
from strava_pipeline.files.fit.reader import read_fit
from strava_pipeline.mock_strava.fit_recording import Recorder, fit_recording
from strava_pipeline.mock_strava.tracks import Track

FILES, RECORDS = 30, 4_000
ROUNDS = 3
START = datetime(2026, 5, 1, 8, tzinfo=UTC)


def main() -> None:
    """Read the same files by both."""
    contents = [_made_up_file(seed) for seed in range(FILES)]
    rounds = [(_seconds(_by_fitdecode, contents), _seconds(_by_us, contents)) for _ in range(ROUNDS)]
    theirs, ours = (FILES * RECORDS / min(seconds) for seconds in zip(*rounds, strict=True))
    show(f"fitdecode, {FILES} files of {RECORDS:,} records", theirs, "/s")
    show("the same files here", ours, "/s")
    show("here / fitdecode", ours / theirs, "x", ">= 30")


def _by_us(contents: Sequence[bytes]) -> int:
    return sum(read_fit(content).record_count for content in contents)


def _by_fitdecode(contents: Sequence[bytes]) -> int:
    count = 0
    for content in contents:
        with fitdecode.FitReader(content, check_crc=fitdecode.CrcCheck.DISABLED) as reader:
            count += sum(
                frame.frame_type == fitdecode.FIT_FRAME_DATA and frame.global_mesg_num == 20 for frame in reader
            )
    return count


def _seconds(work: Callable[[Sequence[bytes]], int], contents: Sequence[bytes]) -> float:
    began = time.thread_time()
    count = work(contents)
    seconds = time.thread_time() - began
    if count != FILES * RECORDS:
        raise SystemExit(f"{count:,} records were read of {FILES * RECORDS:,}")
    return seconds


def _made_up_file(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    # A few pauses, which the device tells of between the records.
    time_s = np.arange(RECORDS) + 60 * np.searchsorted(np.sort(rng.integers(1, RECORDS, 5)), np.arange(RECORDS))
    speed = np.abs(rng.normal(8, 1, RECORDS))
    distance = np.cumsum(speed)
    track = Track(
        time=time_s,
        distance=distance,
        velocity=speed,
        moving=np.ones(RECORDS, np.bool_),
        latitude=47 + distance / 111_000,
        longitude=8 + distance / 80_000,
        altitude=500 + 50 * np.sin(distance / 2_000),
        heartrate=rng.integers(110, 170, RECORDS),
        cadence=rng.integers(70, 100, RECORDS),
        watts=rng.integers(0, 400, RECORDS),
        temp=rng.integers(10, 25, RECORDS),
    )
    return fit_recording(track, START, "Ride", Recorder(is_big_endian=seed % 10 == 9))


if __name__ == "__main__":
    main()
