"""The disks that the pipeline writes to, and from when on they are short of room."""

from __future__ import annotations

from pathlib import Path

import pytest

from strava_pipeline.local.disk import Disk, local_disks
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.settings_values import EMBEDDED

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("free", "total", "full", "scarce"),
    [
        (0, 100 * GB, True, True),
        (GB - 1, 2000 * GB, True, True),
        (GB, 2000 * GB, False, True),
        (5 * GB, 2000 * GB, False, False),
        # Of a small disk the share counts.
        (50_000_000, 64_000_000, False, False),
        (5_000_000, 64_000_000, False, True),
        (3_000_000, 64_000_000, True, True),
    ],
)
def test_a_disk_is_scarce_before_it_is_full(free: int, total: int, full: bool, scarce: bool) -> None:
    disk = Disk("STRAVA_HOME", Path("/home"), free, total)
    assert (disk.is_full, disk.is_scarce) == (full, scarce)


def test_one_disk_with_everything_is_there_once_and_nothing_is_made(tmp_path: Path) -> None:
    home = tmp_path / "not" / "there"
    (disk,) = local_disks(load_settings(home=home, database_url=EMBEDDED))
    assert disk.what == "STRAVA_HOME, Postgres, the lake"
    assert disk.path == tmp_path
    assert 0 < disk.free_bytes < disk.total_bytes
    assert list(tmp_path.iterdir()) == []


def test_a_database_or_lake_elsewhere_is_not_looked_at(tmp_path: Path) -> None:
    elsewhere = Settings(home=tmp_path, database_url="postgresql://db.example.org/strava", lake_url="s3://bucket/lake")
    assert [disk.what for disk in local_disks(elsewhere)] == ["STRAVA_HOME"]


def test_a_lake_on_a_disk_of_its_own_is_looked_at_there(tmp_path: Path) -> None:
    first, second = local_disks(load_settings(home=tmp_path, database_url=EMBEDDED, lake_url="/proc"))
    assert (first.what, second.what) == ("STRAVA_HOME, Postgres", "the lake")
    assert second.path == Path("/proc")


def test_room_is_told_in_units_that_people_read() -> None:
    disk = Disk("the lake", Path("/data"), 12_345_678_901, 2_000_000_000_000)
    assert str(disk) == "12.3 GB of 2 TB free for the lake at /data"
