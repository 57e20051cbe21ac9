"""Damaged GPX and TCX: each is read as far as it goes, or refused by the one error for that."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.gpx import read_gpx
from strava_pipeline.files.recording import Recording
from strava_pipeline.files.shaping import shape
from strava_pipeline.files.tcx import read_tcx
from strava_pipeline_tests.files.xml_documents import activity, extended, gpx, lap, sample, tcx, trackpoint, trkpt

SEED = 20_260_301
ROUNDS = 400
_ODD = (
    b"<", b">", b"&", b"</trkpt>", b"<Track>", b"</Lap>", b"<!DOCTYPE a>", b"<![CDATA[", b"]]>", b"<!--", b"&a;",
    b"1e999", b"nan", b"-1", b"\x00", b"\xff\xfe", b"\xc3", b'"', b"<?xml?>", b"9999-12-31T23:59:59Z",
    b"0001-01-01T00:00:00Z",
)  # fmt: skip


def _documents() -> list[tuple[Callable[[bytes], Recording], bytes]]:
    points = "".join(extended(second, "<gpxtpx:hr>140</gpxtpx:hr>") + trkpt(None) for second in range(8))
    laps = [lap(trackpoint(5 * number, "<Cadence>80</Cadence>"), second=5 * number) for number in range(6)]
    return [
        (read_gpx, gpx(points, points, head="<name>a &amp; b</name><type>9</type>")),
        (read_gpx, gpx(points).decode().replace("UTF-8", "UTF-16").encode("utf-16")),
        (read_tcx, tcx(activity(*laps[:3]), activity(*laps[3:], sport="Running"))),
        (read_gpx, sample("strava_gpx_hr_cad.gpx.gz")[:9_000]),
        (read_tcx, sample("leading_spaces.tcx.gz")[:9_000]),
    ]


def _mutated(document: bytes, chance: random.Random) -> bytes:
    data = bytearray(document)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + chance.randint(0, 40)] = b""
            case 1:
                data[at:at] = chance.choice(_ODD)
            case 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                del data[max(at, 1) :]
            case _:
                begin = chance.randrange(len(data) + 1)
                data[at:at] = data[begin : begin + 200]
    return bytes(data)


@pytest.mark.parametrize("which", range(len(_documents())))
def test_a_damaged_document_is_read_or_refused(which: int) -> None:
    read, document = _documents()[which]
    chance = random.Random(SEED + which)  # noqa: S311  what can be repeated is wanted
    outcomes = set()
    for turn in range(ROUNDS):
        damaged = _mutated(document, chance)
        try:
            recording = read(damaged)
        except UnreadableFile:
            outcomes.add("refused")
            continue
        except BaseException:
            print(f"document {which}, turn {turn} of seed {SEED}: {damaged!r}")  # noqa: T201  to repeat it
            raise
        _check(recording)
        outcomes.add("read")
    assert outcomes == {"read", "refused"}


def _check(recording: Recording) -> None:
    series = (recording.time, recording.latitude, recording.altitude, recording.heartrate, recording.cadence)
    assert all(len(values) == recording.record_count for values in series if values is not None)
    assert not any(np.isinf(values).any() for values in series if values is not None)
    shaped = shape(recording, start=recording.start, elapsed_s=60, distance_m=100, activity_id=1, athlete_id=1)
    assert len(shaped.streams.time or ()) == shaped.streams.point_count
