"""Damaged FIT files: whatever the bytes, a recording or the one error, soon."""

from __future__ import annotations

import gzip
import random
import time
from pathlib import Path

import numpy as np

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.fit.reader import read_fit
from strava_pipeline_tests.files.fit.made_up import steady_file

DATA = Path(__file__).parents[1] / "data" / "fit"
INPUTS, SEED = 2_000, 20
MOST_S = 10.0
# Bytes that mean something at the places where they are put: headers of messages, counts, types, none.
TELLING = (0x00, 0x01, 0x0E, 0x40, 0x60, 0x7F, 0x80, 0xE3, 0xFD, 0xFF)


def originals() -> list[bytes]:
    samples = [
        gzip.decompress((DATA / "compressed_timestamps.fit.gz").read_bytes()),
        gzip.decompress((DATA / "developer_fields.fit.gz").read_bytes())[:12_000],
        (DATA / "plain_run.fit").read_bytes(),
    ]
    return [*samples, steady_file(40).to_bytes(), samples[2] + steady_file(40, is_big_endian=True).to_bytes()]


def damaged(rng: random.Random, contents: list[bytes]) -> bytes:
    """Return a file that is cut, spliced with another one, or of which some bytes are others."""
    content = bytearray(rng.choice(contents))
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        # Most definitions stand at the beginning.
        at = rng.randrange(min(len(content), rng.choice((60, 400, len(content)))))
        content[at] = rng.choice(TELLING) if rng.random() < 0.5 else rng.randrange(256)
    kind = rng.randrange(4)
    if kind == 0:
        return bytes(content[: rng.randrange(len(content))])
    if kind == 1:
        other = rng.choice(contents)
        return bytes(content[: rng.randrange(len(content))]) + other[rng.randrange(len(other)) :]
    if kind == 2:
        begin = rng.randrange(len(content))
        del content[begin : begin + rng.randrange(1, 200)]
    return bytes(content)


def test_damaged_files_give_a_recording_or_the_one_error() -> None:
    rng, contents = random.Random(SEED), originals()  # noqa: S311 - chance that can be repeated is what is wanted
    read, slowest, refusals = 0, 0.0, set()
    for number in range(INPUTS):
        content = damaged(rng, contents)
        began = time.process_time()
        try:
            recording = read_fit(content, check=number % 8 == 0)
        except UnreadableFile as refused:
            refusals.add(str(refused))
        else:
            read += 1
            samples = [recording.latitude, recording.altitude, recording.distance, recording.heartrate]
            series = [values for values in samples if values is not None]
            assert all(len(values) == recording.record_count for values in series)
            assert not any(np.isinf(values).any() for values in series)
            assert all(len(channel.values) == recording.record_count for channel in recording.channels)
        slowest = max(slowest, time.process_time() - began)
    assert slowest < MOST_S
    assert not any("\n" in refusal for refusal in refusals)
    assert read > INPUTS / 2
