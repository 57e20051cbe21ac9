"""Recordings are read in a process of their own, and no file does harm beyond itself."""

from __future__ import annotations

import gzip
import os
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.files.archive.limits import ArchiveLimits
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.recording import Damage, recording_id
from strava_pipeline.sync.archive_readers import IN_FLIGHT, ReaderProcess, ReadHere, read_all
from strava_pipeline.sync.archive_reading import Answer, Asked, Known, Outline, Read, Terms, Unread

FIT = Path(__file__).parents[1] / "files" / "data" / "fit"
RUN = (FIT / "plain_run.fit").read_bytes()
ATHLETE = 7
_MIB = 2**20
TERMS = Terms(athlete_id=ATHLETE)


def asked(name: str, raw: bytes, activity_id: int = 1) -> Asked:
    return Asked(name, raw, Outline(activity_id))


def read_here(raw: bytes, terms: Terms = TERMS) -> Answer:
    return ReadHere(terms).read(asked("a.fit", raw)).result()


@pytest.fixture
def process() -> Iterator[ReaderProcess]:
    with ReaderProcess(TERMS) as reader:
        yield reader


def test_a_recording_is_read_with_its_streams_and_figures() -> None:
    found = read_here(RUN)
    assert isinstance(found, Read)
    assert found.kind is FileKind.FIT
    assert found.recording_id == recording_id(RUN)
    assert 0 < found.recording_id < 2**63
    assert gzip.decompress(found.packed) == RUN
    assert found.shaped.streams.point_count == 326
    assert found.shaped.streams.athlete_id == ATHLETE
    assert found.figures["distance"] == pytest.approx(3322.95, abs=0.1)


def test_a_file_has_one_id_however_it_is_packed() -> None:
    packed = gzip.compress(RUN)
    found = read_here(packed)
    assert isinstance(found, Read)
    assert found.recording_id == recording_id(RUN)
    assert found.packed == packed


def test_an_activity_of_a_file_alone_has_the_files_id() -> None:
    found = ReadHere(TERMS).read(Asked("a.fit", RUN, Outline())).result()
    assert isinstance(found, Read)
    assert found.shaped.streams.activity_id == -found.recording_id


def test_what_is_known_is_not_read_again() -> None:
    terms = Terms(athlete_id=ATHLETE, known=frozenset({recording_id(RUN)}))
    assert read_here(gzip.compress(RUN), terms) == Known(recording_id(RUN))


def test_damage_of_the_gzip_is_told_with_that_of_the_file() -> None:
    found = read_here(gzip.compress(RUN)[:-2000])
    assert isinstance(found, Read)
    assert {Damage.CUT_GZIP, Damage.CUT} <= set(found.recording.damage)


@pytest.mark.parametrize(
    ("raw", "why"), [(b"", "empty"), (b"PK\x03\x04", "a zip"), (RUN[:14], "no records"), (b"<gpx/>", "no points")]
)
def test_a_file_that_cannot_be_read_says_why(raw: bytes, why: str) -> None:
    found = read_here(raw)
    assert isinstance(found, Unread)
    assert why in found.fault
    assert "a.fit" in found.fault


@pytest.mark.processes
def test_a_process_reads_as_this_one_does(process: ReaderProcess) -> None:
    far, near = process.read(asked("a.fit", RUN)).result(), read_here(RUN)
    assert isinstance(far, Read)
    assert isinstance(near, Read)
    assert (far.shaped.streams, far.figures, far.packed) == (near.shaped.streams, near.figures, near.packed)


@pytest.mark.processes
def test_the_process_sees_no_setting_and_no_secret(process: ReaderProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_CLIENT_SECRET", "canary")
    process.read(asked("a.fit", RUN)).result()
    assert not any(name.startswith("STRAVA_") for name in psutil.Process(child()).environ())


@pytest.mark.processes
def test_a_file_that_takes_too_long_is_left_out_and_the_next_is_read() -> None:
    terms = Terms(athlete_id=ATHLETE, limits=ArchiveLimits(reading_seconds=0.001))
    with ReaderProcess(terms) as reader:
        slow = reader.read(asked("slow.gpx", b"<gpx>" + b"<a>b</a>" * 10**6)).result()
        reader._terms = TERMS
        assert isinstance(reader.read(asked("a.fit", RUN)).result(), Read)
    assert isinstance(slow, Unread)
    assert slow.is_passing
    assert slow.fault == "slow.gpx took longer than 0.001 s to read"


@pytest.mark.processes
def test_a_file_that_takes_too_much_memory_is_left_out_and_the_next_is_read() -> None:
    terms = Terms(athlete_id=ATHLETE, limits=ArchiveLimits(reading_bytes=64 * 2**20))
    large = gzip.compress(os.urandom(2**20) + bytes(90 * 2**20))
    with ReaderProcess(terms) as reader:
        found = reader.read(asked("large.fit.gz", large)).result()
        assert isinstance(found, Unread)
        assert "64 MiB" in found.fault
        assert not found.is_passing
        assert isinstance(reader.read(asked("a.fit", RUN)).result(), Read)


@pytest.mark.processes
def test_a_file_whose_reader_is_killed_can_be_tried_again_and_the_next_is_read(process: ReaderProcess) -> None:
    process.read(asked("a.fit", RUN)).result()
    psutil.Process(child()).kill()
    found = process.read(asked("crash.fit", RUN)).result()
    told = "crash.fit was not read, as its reader was ended"
    assert found == Unread(told, recording_id(RUN), is_passing=True)
    assert isinstance(process.read(asked("a.fit", RUN)).result(), Read)


@pytest.mark.processes
def test_a_large_file_is_in_memory_once_while_it_is_sent(process: ReaderProcess) -> None:
    process.read(asked("a.fit", RUN)).result()
    large = asked("large.fit", bytes(32 * _MIB))
    tracemalloc.start()
    try:
        assert isinstance(process.read(large).result(), Unread)
        assert tracemalloc.get_traced_memory()[1] < 8 * _MIB
    finally:
        tracemalloc.stop()


@pytest.mark.processes
def test_no_reader_is_left_behind() -> None:
    with ReaderProcess(TERMS) as reader:
        reader.read(asked("a.fit", RUN)).result()
        reading = psutil.Process(child())
        reader.read(asked("slow.gpx", b"<gpx>" + b"<a>b</a>" * 10**6))
    assert not reading.is_running()


@pytest.mark.processes
def test_a_reader_that_does_not_start_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with ReaderProcess(TERMS) as reader, pytest.raises(StravaPipelineError, match="does not start"):
        reader.read(asked("a.fit", RUN)).result()


def test_files_come_in_their_order_and_few_are_in_memory() -> None:
    taken, given = 0, 0

    def wanted() -> Iterator[tuple[int, Asked]]:
        nonlocal taken
        for number in range(5):
            taken += 1
            yield number, asked(str(number), RUN)

    for number, found in read_all(ReadHere(TERMS), wanted()):
        assert number == given
        assert isinstance(found, Read)
        given += 1
        assert taken - given < IN_FLIGHT
    assert given == 5


def child() -> int:
    """The process that reads."""
    (found,) = [each.pid for each in psutil.Process().children() if "archive_reader" in " ".join(each.cmdline())]
    return int(found)
