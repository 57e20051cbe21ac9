from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.limits import ArchiveLimits
from strava_pipeline.files.archive.opening import open_archive
from strava_pipeline.files.archive.recording_bytes import recording_bytes
from strava_pipeline.files.archive.side_tables import read_preferences, read_profile
from strava_pipeline.files.archive.table import activity_table
from strava_pipeline.files.recording import FileKind
from strava_pipeline_tests.files.archive.made_archives import DATA, LAYOUTS, NOW, cells, made_folder, table_bytes

SEED = 20261201
ROUNDS = 150
LIMITS = ArchiveLimits(plain_bytes=2**20, table_bytes=2**20)
PIECES = [
    b"",
    b"\0",
    b'"',
    b",",
    b"\n",
    b"\r",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"\xff\xfe",
    b"nan",
    b"1e999",
    b"../",
    b"\xff" * 8,
]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with up to eight changes: other bits, pieces put in or cut out, ends cut off."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at:at] = chance.choice(PIECES)
            case 2:
                del changed[at : at + chance.randrange(40)]
            case 3 if chance.random() < 1 / 4:
                del changed[at:]
    return bytes(changed)


def read_all(path: Path) -> int:
    """How many things of an archive were read; any error but a refusal fails the test."""
    try:
        with open_archive(path, LIMITS) as members:
            profile, preferences = read_profile(members), read_preferences(members)
            seen = (profile is not None) + (preferences.ftp_w is not None)
            for name in members.listing.sizes:
                if name.startswith("activities/"):
                    recording_bytes(name, members.read(name), LIMITS)
            return seen + sum(1 for _ in activity_table(members).rows({}, NOW))
    except UnreadableFile:
        return 0


@pytest.mark.parametrize("name", ["export_en94", "hazards/traversal", "hazards/csv_utf16_excel"])
def test_a_mutated_zip_is_read_or_refused(tmp_path: Path, name: str) -> None:
    chance = random.Random(SEED)  # noqa: S311  chance that can be repeated
    original, path = (DATA / f"{name}.zip").read_bytes(), tmp_path / "a.zip"
    counts = []
    for _ in range(ROUNDS):
        path.write_bytes(mutated(original, chance))
        counts.append(read_all(path))
    assert 0 in counts
    assert max(counts) > 0


@pytest.mark.parametrize("name", ["10", "99", "120"])
def test_a_mutated_table_is_read_or_refused(tmp_path: Path, name: str) -> None:
    chance = random.Random(SEED)  # noqa: S311  chance that can be repeated
    rows = [cells(LAYOUTS[name], id=str(number), description='a "b"\r\nc') for number in range(1, 6)]
    table = table_bytes(rows, LAYOUTS[name])
    counts = [read_all(made_folder(tmp_path, {"activities.csv": mutated(table, chance)})) for _ in range(ROUNDS)]
    assert max(counts) >= 5


def test_a_mutated_gzip_is_read_or_refused() -> None:
    chance = random.Random(SEED)  # noqa: S311  chance that can be repeated
    packed = gzip.compress(b"<gpx>" + b"<trkpt lat='1' lon='2'/>" * 2_000 + b"</gpx>")
    kinds: set[FileKind | None] = set()
    for _ in range(ROUNDS):
        try:
            kinds.add(recording_bytes("1.gpx", mutated(packed, chance), LIMITS).kind)
        except UnreadableFile:
            kinds.add(None)
    assert len(kinds) == 2
