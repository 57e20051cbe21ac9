from __future__ import annotations

import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.limits import DEFAULT_LIMITS, ArchiveLimits
from strava_pipeline.files.archive.opening import open_archive
from strava_pipeline_tests.files.archive.damaged_zips import (
    CHECKSUM,
    FLAGS,
    METHOD,
    OFFSET,
    PACKED_BYTES,
    PLAIN_BYTES,
    as_zip64,
    entry_at,
    with_field,
    zip_bytes,
)
from strava_pipeline_tests.files.archive.made_archives import (
    DATA,
    LAYOUTS,
    cells,
    good,
    made_zip,
    read_rows,
    table_bytes,
)

TABLE = table_bytes([cells(LAYOUTS["99"])], LAYOUTS["99"])
FIT = "activities/1.fit"
MEMBERS = {"activities.csv": TABLE, FIT: b"recording " * 50, "activities/2.gpx.gz": b"another " * 40}


def names(path: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> set[str]:
    with open_archive(path, limits) as members:
        return set(members.listing.sizes)


def reading(path: Path, name: str, limits: ArchiveLimits = DEFAULT_LIMITS) -> bytes:
    with open_archive(path, limits) as members:
        return members.read(name)


def rewritten(path: Path, change: Callable[[bytearray], bytearray]) -> Path:
    path.write_bytes(change(zip_bytes(path, MEMBERS)))
    return path


def test_only_what_is_the_athlete_s_own_is_listed(tmp_path: Path) -> None:
    others = [
        "contacts.csv",
        "logins.csv",
        "messaging.json",
        "privacy_zones.csv",
        "activities/deep/1.fit",
        "routes/1.gpx",
    ]
    ours = ["profile.csv", "bikes.csv", "shoes.csv", "general_preferences.csv"]
    media = ["media/a.jpg", "media/b.mp4"]
    path = made_zip(tmp_path / "a.zip", MEMBERS | dict.fromkeys([*others, *ours, *media], b"x"))
    with open_archive(path) as members:
        assert set(members.listing.sizes) == {*MEMBERS, *ours}
        assert (members.listing.media, members.listing.others, members.listing.strays) == (2, len(others), 0)
        for name in [*others, *media]:
            with pytest.raises(UnreadableFile, match="is missing"):
                members.read(name)


@pytest.mark.parametrize("folder", ["export_1/", "Strava/export_1/"])
def test_a_folder_in_front_is_left_out(tmp_path: Path, folder: str) -> None:
    members = {f"{folder}{name}": data for name, data in MEMBERS.items()}
    clutter = {f"__MACOSX/{folder}._activities.csv": b"x", f"{folder}.DS_Store": b"x", "readme.txt": b"x"}
    path = made_zip(tmp_path / "a.zip", members | clutter)
    assert names(path) == set(MEMBERS)
    assert reading(path, FIT) == MEMBERS[FIT]


def test_two_archives_in_one_are_none(tmp_path: Path) -> None:
    path = made_zip(tmp_path / "a.zip", {f"{folder}/activities.csv": TABLE for folder in ("one", "two")})
    with pytest.raises(UnreadableFile, match=r"a\.zip: activities\.csv is missing"):
        read_rows(path)


@pytest.mark.parametrize(
    "name",
    [
        "../activities/9.fit",
        "activities/../../9.fit",
        "/activities/9.fit",
        "C:\\9.fit",
        "C:/9.fit",
        "activities\\9.fit",
        "activities/..\\9.fit",
        "activities//9.fit",
        "activities/./9.fit",
        "activities/9\n.fit",
    ],
)
def test_a_name_that_points_elsewhere_is_a_stray(tmp_path: Path, name: str) -> None:
    path = made_zip(tmp_path / "a.zip", MEMBERS | {name: b"x"})
    with open_archive(path) as members:
        assert (members.listing.strays, set(members.listing.sizes)) == (1, set(MEMBERS))
        with pytest.raises(UnreadableFile, match="is missing"):
            members.open(name)


def test_a_member_without_a_name_is_a_stray(tmp_path: Path) -> None:
    path = made_zip(tmp_path / "a.zip", MEMBERS | {"nameless": b"x"})
    # A name ends where a NUL is.
    path.write_bytes(path.read_bytes().replace(b"nameless", b"\0ameless"))
    with open_archive(path) as members:
        assert (members.listing.strays, set(members.listing.sizes)) == (1, set(MEMBERS))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_a_device_is_a_stray(tmp_path: Path, kind: int) -> None:
    path = made_zip(tmp_path / "a.zip", MEMBERS)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("activities/3.fit")
        link.create_system = 3
        link.external_attr = (kind | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with open_archive(path) as members:
        assert (members.listing.strays, "activities/3.fit" in members) == (1, False)


def test_double_names_refuse_the_zip(tmp_path: Path) -> None:
    path = made_zip(tmp_path / "a.zip", MEMBERS)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(FIT, b"other")
    with pytest.raises(UnreadableFile, match="has two members of one name: it is refused"):
        open_archive(path)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        (FLAGS, 1, "is encrypted: hand over an archive without a password"),
        (METHOD, 9, "is compressed in a way that Strava does not use"),
        (METHOD, 12, "is compressed in a way that Strava does not use"),
        (METHOD, 14, "is compressed in a way that Strava does not use"),
        (PLAIN_BYTES, 2**31, "is larger than the 268,435,456 bytes that are read: it is left out"),
        (PLAIN_BYTES, 2**24, "unpacks to more than 100 times its size: it is left out"),
        (PLAIN_BYTES, 5, "is damaged: download the archive again"),
    ],
)
def test_a_member_that_is_not_read_leaves_the_others(tmp_path: Path, field: int, value: int, why: str) -> None:
    path = rewritten(tmp_path / "a.zip", lambda data: with_field(data, FIT, field, value))
    with open_archive(path) as members:
        with pytest.raises(UnreadableFile, match=f"a.zip: {FIT} {why}"):
            members.read(FIT)
        assert members.read("activities/2.gpx.gz") == MEMBERS["activities/2.gpx.gz"]
    assert len(good(read_rows(path))) == 1


def test_damaged_bytes_of_a_member_leave_the_others(tmp_path: Path) -> None:
    def damage(data: bytearray) -> bytearray:
        begin = struct.unpack_from("<L", data, entry_at(data, FIT) + OFFSET)[0]
        at = begin + 30 + len(FIT) + 4
        data[at : at + 4] = b"\xff" * 4
        return data

    path = rewritten(tmp_path / "a.zip", damage)
    with pytest.raises(UnreadableFile, match="is damaged: download the archive again"):
        reading(path, FIT)
    assert reading(path, "activities/2.gpx.gz") == MEMBERS["activities/2.gpx.gz"]


def test_a_damaged_table_is_refused_while_it_is_read(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "a.zip", lambda data: with_field(data, "activities.csv", CHECKSUM, 0))
    with pytest.raises(UnreadableFile, match=r"a\.zip: activities\.csv is damaged: download the archive again"):
        read_rows(path)


@pytest.mark.parametrize("other", [FIT, "activities/2.gpx.gz"])
def test_members_that_overlap_refuse_the_zip(tmp_path: Path, other: str) -> None:
    def overlap(data: bytearray) -> bytearray:
        begin = struct.unpack_from("<L", data, entry_at(data, FIT) + OFFSET)[0]
        if other == FIT:
            # The first member reaches into the second.
            return with_field(data, FIT, PACKED_BYTES, 5_000)
        return with_field(data, other, OFFSET, begin)

    with pytest.raises(UnreadableFile, match=r"a\.zip has members that overlap: it is refused"):
        open_archive(rewritten(tmp_path / "a.zip", overlap))


@pytest.mark.parametrize("kept", [4, 30, 200, 600])
def test_a_cut_zip_is_to_be_downloaded_again(tmp_path: Path, kept: int) -> None:
    with pytest.raises(UnreadableFile, match=r"a\.zip is cut off or damaged: download it again"):
        open_archive(rewritten(tmp_path / "a.zip", lambda data: data[:kept]))


def test_a_zip_without_its_beginning_is_to_be_downloaded_again(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "a.zip", lambda data: data[-300:])
    with pytest.raises(UnreadableFile, match="download it again"):
        open_archive(path)


@pytest.mark.parametrize(
    ("data", "why"), [(b"", "is empty"), (b"Rar!" * 99, "is no zip"), (b"<html>" * 99, "is no zip")]
)
def test_another_file_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match=rf"a\.zip {why}"):
        open_archive(path)


def test_a_path_that_is_not_there_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"a\.zip cannot be read: No such file or directory"):
        open_archive(tmp_path / "a.zip")


def test_a_zip_of_more_than_4_gib_has_its_end_elsewhere(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "a.zip", as_zip64)
    assert names(path) == set(MEMBERS)
    assert reading(path, FIT) == MEMBERS[FIT]


def test_members_are_counted_before_they_are_loaded(tmp_path: Path) -> None:
    path = made_zip(tmp_path / "a.zip", {f"activities/{number}.fit": b"" for number in range(50)})
    assert len(names(path, ArchiveLimits(members=50))) == 50
    for limits in (ArchiveLimits(members=49), ArchiveLimits(directory_bytes=1_000)):
        with pytest.raises(UnreadableFile, match="members that are read: it is refused"):
            open_archive(path, limits)
    # An end that tells of fewer members changes nothing.
    data = bytearray(path.read_bytes())
    struct.pack_into("<2H", data, data.rfind(b"PK\x05\x06") + 8, 1, 1)
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match="more than the 49 members"):
        open_archive(path, ArchiveLimits(members=49))


@pytest.mark.parametrize(
    "limits", [ArchiveLimits(plain_bytes=499), ArchiveLimits(packed_bytes=10), ArchiveLimits(small_bytes=9, ratio=3)]
)
def test_a_recording_beyond_a_limit_is_left_out(tmp_path: Path, limits: ArchiveLimits) -> None:
    path = made_zip(tmp_path / "a.zip", MEMBERS)
    assert len(reading(path, FIT)) == 500
    with pytest.raises(UnreadableFile, match="it is left out"):
        reading(path, FIT, limits)


def test_the_day_of_the_export_is_that_of_the_newest_member(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("activities.csv", (2025, 8, 2, 10, 20, 30)), TABLE)
        archive.writestr(zipfile.ZipInfo("activities/1.fit", (1980, 1, 1, 0, 0, 0)), b"")
        archive.writestr(zipfile.ZipInfo("contacts.csv", (2026, 1, 1, 0, 0, 0)), b"")
    with open_archive(path) as members:
        assert members.listing.newest == datetime(2025, 8, 2, 10, 20, 30, tzinfo=UTC)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("activities.csv", (1980, 0, 0, 0, 0, 0)), TABLE)
    with open_archive(path) as members:
        assert members.listing.newest is None


def test_the_hash_follows_the_content_and_not_the_packing(tmp_path: Path) -> None:
    def of(path: Path) -> str:
        with open_archive(path) as members:
            return members.listing.content_hash

    first = of(made_zip(tmp_path / "a.zip", MEMBERS))
    again = {f"export_1/{name}": data for name, data in reversed(MEMBERS.items())}
    assert of(made_zip(tmp_path / "b.zip", again | {"export_1/contacts.csv": b"x"})) == first
    assert of(made_zip(tmp_path / "c.zip", MEMBERS | {FIT: b"recordinG " * 50})) != first
    assert of(made_zip(tmp_path / "d.zip", MEMBERS | {"media/a.jpg": b"x"})) != first


def test_a_recording_that_was_unpacked_is_found_by_its_number(tmp_path: Path) -> None:
    files = ["activities/1.fit", "activities/2.fit", "activities/2.gpx", "activities/3.tcx.gz"]
    path = made_zip(tmp_path / "a.zip", {"activities.csv": TABLE} | dict.fromkeys(files, b"x"))
    with open_archive(path) as members:
        asked = [
            "activities/1.fit.gz",
            "activities/2.fit.gz",
            "activities/2.gpx",
            "activities/4.fit",
            "activities.csv.gz",
        ]
        assert [members.recording_of(name) for name in asked] == [files[0], None, files[2], None, None]


def test_nothing_is_written_anywhere(tmp_path: Path) -> None:
    with open_archive(DATA / "hazards" / "traversal.zip") as members:
        for name in members.listing.sizes:
            members.read(name)
    assert list(tmp_path.iterdir()) == []


def test_a_large_member_is_in_memory_once(tmp_path: Path) -> None:
    size = 16 * 2**20
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored, as recordings that are packed already are
        archive.writestr("activities.csv", TABLE)
        archive.writestr(FIT, bytes(size))
    with open_archive(path) as members:
        tracemalloc.start()
        try:
            assert len(members.read(FIT)) == size
            assert tracemalloc.get_traced_memory()[1] < 1.5 * size
        finally:
            tracemalloc.stop()
