"""Damaged files, made from good ones by chance that can be repeated: a seed and a number give one input."""

from __future__ import annotations

import gzip
import io
import random
import re
import zipfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from strava_pipeline.files.archive.names import ACTIVITIES, RECORDINGS, TABLES
from strava_pipeline.mock_strava.archive import write_archive
from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline.mock_strava.fit_recording import fit_recording
from strava_pipeline.mock_strava.history import generate_history
from strava_pipeline.mock_strava.plans import Plan, track_of
from strava_pipeline.mock_strava.tracks import Track
from strava_pipeline_tests.files.archive.made_archives import DATA, LAYOUTS, cells, table_bytes
from strava_pipeline_tests.files.fit.made_up import steady_file
from strava_pipeline_tests.files.xml_documents import (
    activity,
    extended,
    gpx,
    lap,
    sample,
    tcx,
    trackpoint,
    trkpt,
)

FIT_DATA = DATA.parent / "fit"
NOW_S = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
# Bytes that mean something in a FIT: headers of messages, counts, types, none.
FIT_BYTES = (
    b"\x00", b"\x01", b"\x0e", b"\x40", b"\x60", b"\x7f", b"\x80", b"\xe3", b"\xfd", b"\xff", b"\xff" * 4,
    b"\x00" * 4, b"\xff\xff\xff\x7f",
)  # fmt: skip
NUMBERS = (
    b"1e999", b"1e300", b"-1e300", b"99999999999999999999", b"4294967296", b"2147483648", b"-1", b"nan", b"inf", b"0",
)  # fmt: skip
XML_PIECES = (
    b"<", b">", b"&", b"</trkpt>", b"<Track>", b"</Lap>", b"<!DOCTYPE a>", b"<![CDATA[", b"]]>", b"<!--", b"&a;",
    b"\x00", b"\xff\xfe", b"\xc3", b'"', b"<?xml?>", b"9999-12-31T23:59:59Z", b"0001-01-01T00:00:00Z",
    b"2026-03-01T08:00:00+23:59", *NUMBERS,
)  # fmt: skip
TABLE_PIECES = (
    b"", b"\0", b'"', b",", b"\n", b"\r", b"\xff\xfe", b"../", b"\xff" * 8, b"activities/", b"#error#", b"media/",
    b"\xed\xa0\x80", "\u202f".encode(), *NUMBERS,
)  # fmt: skip
ZIP_PIECES = (b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"\xff\xff\xff\xff", b"\0\0\0\0", *TABLE_PIECES)
GZIP_PIECES = (b"\x1f\x8b", b"\x1f\x8b\x08", b"\0" * 8, b"\xff" * 8)

_VALUE = re.compile(rb"(?<=[>\",;])[^<>\",;\n]+")


class Kind(StrEnum):
    """What an input was before it was damaged."""

    FIT = "fit"
    TCX = "tcx"
    GPX = "gpx"
    GZIP = "gzip"
    TABLE = "table"
    SIDE_TABLE = "side_table"
    ZIP = "zip"


PIECES: dict[Kind, tuple[bytes, ...]] = {
    Kind.FIT: FIT_BYTES,
    Kind.TCX: XML_PIECES,
    Kind.GPX: XML_PIECES,
    Kind.GZIP: GZIP_PIECES,
    Kind.TABLE: TABLE_PIECES,
    Kind.SIDE_TABLE: TABLE_PIECES,
    Kind.ZIP: ZIP_PIECES,
}


@dataclass(frozen=True, slots=True)
class Input:
    """One damaged file. ``name``: of its table, where it is one."""

    number: int
    kind: Kind
    name: str
    data: bytes


def damaged_input(seed: int, number: int, kind: Kind | None = None) -> Input:
    """Return the input of a number; all kinds take turns unless one is named."""
    chance = random.Random(f"{seed} {number}")  # noqa: S311  chance that can be repeated
    kind = kind or list(Kind)[number % len(Kind)]
    good = originals()[kind]
    name, data = chance.choice(good)
    if kind is Kind.ZIP and chance.random() < 1 / 2:
        return Input(number, kind, name, _zip_with_damaged_member(data, chance))
    return Input(number, kind, name, damaged(data, chance, PIECES[kind], [other for _, other in good]))


def damaged(data: bytes, chance: random.Random, pieces: tuple[bytes, ...], others: list[bytes]) -> bytes:
    """Return a file with up to forty changes; some are cut off, or go on as another file does."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8, 40))):
        _change(changed, chance, pieces)
    match chance.randrange(8):
        case 0:
            del changed[chance.randrange(len(changed) + 1) :]
        case 1:
            other = chance.choice(others)
            changed[chance.randrange(len(changed) + 1) :] = other[chance.randrange(len(other)) :]
    return bytes(changed)


def _change(changed: bytearray, chance: random.Random, pieces: tuple[bytes, ...]) -> None:
    # What says how the rest is to be read stands at the beginning, of a zip at the end.
    length = len(changed)
    near = min(length, chance.choice((60, 400, length)))
    at = chance.randrange(near + 1) if chance.random() < 3 / 4 else length - chance.randrange(near + 1)
    match chance.randrange(8):
        case 0 if at < length:
            changed[at] ^= 1 << chance.randrange(8)
        case 1 if at < length:
            changed[at] = chance.randrange(256)
        case 2:
            changed[at:at] = chance.choice(pieces)
        case 3:
            piece = chance.choice(pieces)
            changed[at : at + len(piece)] = piece
        case 4:
            del changed[at : at + chance.randrange(1, chance.choice((4, 40, 200)))]
        case 5:
            begin = chance.randrange(length + 1)
            changed[at:at] = changed[begin : begin + chance.randrange(200)]
        case _:
            # Another value where a text has one: a cell, an attribute, what an element holds.
            value = _VALUE.search(changed, chance.randrange(length + 1))
            if value:
                changed[value.start() : value.end()] = chance.choice(pieces)


def _zip_with_damaged_member(data: bytes, chance: random.Random) -> bytes:
    """Return a sound zip of which one member is damaged."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    unlucky = chance.choice([name for name in members if name in TABLES or name.startswith(RECORDINGS)])
    pieces = TABLE_PIECES if unlucky in TABLES else GZIP_PIECES
    members[unlucky] = damaged(members[unlucky], chance, pieces, list(members.values()))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 12, 1, 0, 0, 0)), content)
    return packed.getvalue()


@cache
def originals() -> dict[Kind, list[tuple[str, bytes]]]:
    """Return the good files of each kind, with the names of those that are tables."""
    fits, tcxs, gpxs = _fits(), _tcxs(), _gpxs()
    archive = _archive()
    with zipfile.ZipFile(io.BytesIO(archive)) as members:
        tables = {name: members.read(name) for name in sorted(TABLES)}
    sides = [(name, data) for name, data in tables.items() if name != ACTIVITIES]
    return {
        Kind.FIT: _nameless(fits),
        Kind.TCX: _nameless(tcxs),
        Kind.GPX: _nameless(gpxs),
        Kind.GZIP: _nameless([gzip.compress(data, mtime=0) for data in (fits[0], tcxs[0], gpxs[0])]),
        Kind.TABLE: [(ACTIVITIES, data) for data in (*_tables(), tables[ACTIVITIES])],
        Kind.SIDE_TABLE: sides,
        Kind.ZIP: _nameless([*map(_zip, ("export_en94", "hazards/traversal", "hazards/csv_utf16_excel")), archive]),
    }


def _nameless(files: list[bytes]) -> list[tuple[str, bytes]]:
    return [("", data) for data in files]


def _zip(name: str) -> bytes:
    return (DATA / f"{name}.zip").read_bytes()


def _fits() -> list[bytes]:
    plain = (FIT_DATA / "plain_run.fit").read_bytes()
    return [
        plain,
        gzip.decompress((FIT_DATA / "compressed_timestamps.fit.gz").read_bytes()),
        gzip.decompress((FIT_DATA / "developer_fields.fit.gz").read_bytes())[:12_000],
        steady_file(40).to_bytes(),
        plain + steady_file(40, is_big_endian=True).to_bytes(),
        fit_recording(_short_track(), datetime(2026, 3, 1, tzinfo=UTC), "Ride"),
    ]


def _short_track() -> Track:
    """The first minutes of a ride, with all that a bike computer records."""
    track = track_of(CYCLIST, Plan(1, 1_700_000_000, "Ride", "Short", 1))
    assert track is not None
    parts: dict[str, Any] = {name: values[:200] for name, values in vars(track).items() if values is not None}
    return replace(track, **parts)


def _gpxs() -> list[bytes]:
    points = "".join(extended(second, "<gpxtpx:hr>140</gpxtpx:hr>") + trkpt(None) for second in range(8))
    return [
        gpx(points, points, head="<name>a &amp; b</name><type>9</type>"),
        gpx(points).decode().replace("UTF-8", "UTF-16").encode("utf-16"),
        sample("strava_gpx_hr_cad.gpx.gz")[:9_000],
    ]


def _tcxs() -> list[bytes]:
    head = "<TotalTimeSeconds>5.0</TotalTimeSeconds><DistanceMeters>20</DistanceMeters><Calories>3</Calories>"
    laps = [lap(trackpoint(5 * number, "<Cadence>80</Cadence>"), second=5 * number, head=head) for number in range(6)]
    return [tcx(activity(*laps[:3]), activity(*laps[3:], sport="Running")), sample("leading_spaces.tcx.gz")[:9_000]]


def _tables() -> list[bytes]:
    found = []
    for name in ("10", "99", "120"):
        rows = [cells(LAYOUTS[name], id=str(number), description='a "b"\r\nc') for number in range(1, 6)]
        found.append(table_bytes(rows, LAYOUTS[name]))
    return found


def _archive() -> bytes:
    """A small archive of the mock: all tables, every column filled, and one short recording."""
    person = generate_history(12, NOW_S)
    indoors = [each for each in person.activities.values() if each.summary()["manual"] or each.summary()["trainer"]]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.zip"
        taken = datetime.fromtimestamp(NOW_S, UTC)
        write_archive(path, athlete=person, activities=indoors[:2], language="de", seed=1, taken=taken)
        return path.read_bytes()
