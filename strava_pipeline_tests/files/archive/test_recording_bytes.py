from __future__ import annotations

import gzip
import random
import zlib

import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.limits import ArchiveLimits
from strava_pipeline.files.archive.recording_bytes import recording_bytes
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.recording import Damage

FIT = b"\x0e\x10\xd9\x07\x64\x00\x00\x00.FIT\x00\x00" + bytes(range(256)) * 40
GPX = b'<?xml version="1.0" encoding="UTF-8"?>\n<gpx creator="StravaGPX"><trk/></gpx>'
TCX = b'<?xml version="1.0"?><TrainingCenterDatabase xmlns="http://example.invalid"/>'
NAME = "activities/1.fit.gz"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (FIT, FileKind.FIT),
        (GPX, FileKind.GPX),
        (TCX, FileKind.TCX),
        (b"<gpx/>", FileKind.GPX),
        (b"<GPX version='1.0'>", FileKind.GPX),
        (b"<x:gpx xmlns:x='http://example.invalid'/>", FileKind.GPX),
        (b"<?xml version='1.0'?><!-- a <tcx> --><!DOCTYPE gpx [<!ENTITY a 'b'>]><gpx/>", FileKind.GPX),
    ],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_the_format_is_told_by_the_first_bytes(data: bytes, kind: FileKind, is_packed: bool) -> None:
    found = recording_bytes(NAME, gzip.compress(data) if is_packed else data)
    assert (found.kind, found.data, found.damage) == (kind, data, ())


@pytest.mark.parametrize("front", [b" " * 10, b"\r\n\t", b"\xef\xbb\xbf", b"\xef\xbb\xbf  ", b"  \xef\xbb\xbf\n"])
def test_blanks_and_marks_in_front_of_xml_are_left_out(front: bytes) -> None:
    assert recording_bytes(NAME, front + TCX).data == TCX


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_xml_in_utf_16_is_known_by_its_mark(encoding: str) -> None:
    text = "<?xml version='1.0' encoding='UTF-16'?><gpx/>"
    data = (text if encoding == "utf-16" else "\ufeff" + text).encode(encoding)
    assert recording_bytes(NAME, data) == recording_bytes(NAME, gzip.compress(data))
    assert recording_bytes(NAME, data).kind is FileKind.GPX


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty: it has no recording"),
        (gzip.compress(b"", mtime=0), "is empty: it has no recording"),
        (b"PK\x03\x04" + b"x" * 50, "is a zip: it is not read"),
        (b"\0" * 50, "is neither FIT nor TCX nor GPX: it is not read"),
        (b"<html></html>", "is neither FIT nor TCX nor GPX"),
        (b"<kml/>", "is neither FIT nor TCX nor GPX"),
        (b"<!-- open", "is neither FIT nor TCX nor GPX"),
        (gzip.compress(gzip.compress(FIT, mtime=0), mtime=0), "is neither FIT nor TCX nor GPX"),
    ],
)
def test_what_is_no_recording_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(UnreadableFile, match=f"{NAME} {why}"):
        recording_bytes(NAME, data)


def noise_of(seed: int, size: int) -> bytes:
    """A FIT of bytes that no program can pack."""
    return FIT + random.Random(seed).randbytes(size)  # noqa: S311  chance that can be repeated


def test_a_cut_gzip_keeps_what_was_read() -> None:
    noise = noise_of(1, 200_000)
    packed = gzip.compress(noise)
    found = recording_bytes(NAME, packed[:-5_000])
    assert found.damage == (Damage.CUT_GZIP,)
    assert noise.startswith(found.data)
    assert len(found.data) > len(noise) - 10_000


def test_a_gzip_with_a_fault_in_it_keeps_what_comes_before() -> None:
    noise = noise_of(2, 300_000)
    packed = bytearray(zlib.compress(noise, wbits=31))
    # The type of a block that does not exist.
    packed[150_000:150_400] = b"\xff" * 400
    found = recording_bytes(NAME, bytes(packed))
    assert found.damage
    assert noise.startswith(found.data[:100_000])
    assert len(found.data) > 100_000


def test_a_wrong_checksum_keeps_everything() -> None:
    packed = bytearray(gzip.compress(FIT))
    packed[-8] ^= 1
    found = recording_bytes(NAME, bytes(packed))
    assert (found.data, found.damage) == (FIT, (Damage.CHECKSUM,))


def test_gzips_after_each_other_are_one_file() -> None:
    packed = gzip.compress(FIT[:5_000]) + gzip.compress(FIT[5_000:])
    assert recording_bytes(NAME, packed).data == FIT
    assert recording_bytes(NAME, packed + b"\0" * 512).damage == ()
    found = recording_bytes(NAME, packed + b"more")
    assert (found.data, found.damage) == (FIT, (Damage.EXTRA_BYTES,))


@pytest.mark.parametrize(
    "limits",
    [
        ArchiveLimits(plain_bytes=10_000),
        ArchiveLimits(packed_bytes=100),
        ArchiveLimits(small_bytes=100, ratio=2),
    ],
)
def test_a_recording_beyond_a_limit_is_left_out(limits: ArchiveLimits) -> None:
    with pytest.raises(UnreadableFile, match=f"{NAME} .* bytes that are read: it is left out"):
        recording_bytes(NAME, gzip.compress(FIT), limits)


def test_a_bomb_is_refused_without_unpacking_it() -> None:
    bomb = gzip.compress(FIT + b"\0" * 2**25)
    with pytest.raises(UnreadableFile, match="it is left out"):
        recording_bytes(NAME, bomb)
    # Many gzips after each other are bounded together.
    with pytest.raises(UnreadableFile, match="it is left out"):
        recording_bytes(NAME, gzip.compress(b"\0" * 2**20) * 20, ArchiveLimits(plain_bytes=2**22))


def test_a_plain_recording_is_bounded_as_well() -> None:
    with pytest.raises(UnreadableFile, match="is larger than the 100 bytes"):
        recording_bytes(NAME, FIT, ArchiveLimits(plain_bytes=100))
