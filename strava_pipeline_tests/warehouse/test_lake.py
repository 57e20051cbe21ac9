"""The lake: a month's file is the stored samples, replaced whole, and gone when they are."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pytest
from sqlalchemy import Engine, select, text

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.local.private_files import Readers
from strava_pipeline.months import Span
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse import lake
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.lake import write_month
from strava_pipeline.warehouse.lake_files import erase_athlete_points
from strava_pipeline.warehouse.schema.import_tables import import_months
from strava_pipeline_tests.inbox import bring_up_to_date
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, stream_body

JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
COLUMNS = (
    "activity_id, point_index, time, distance, latitude, longitude, altitude, velocity_smooth, heartrate, cadence,"
    " watts, temp, moving, grade_smooth, athlete_id"
)
ORDER = "ORDER BY activity_id, point_index"


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """Two rides in June and one entered by hand, all stored."""
    strava = StravaStandIn()
    for number in (1, 2, 3):
        strava.add(number, JUNE.start + timedelta(days=number))
    strava.streams[2] = stream_body(samples=3) | {
        "heartrate": {"data": [None, 101.5, 1e300]},
        "moving": {"data": [True, False, None]},
    }
    strava.streams[3] = {}
    for number in (1, 2, 3):
        bring_up_to_date(strava.sync(engine), RIDER, number)
    return strava


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "lake")


def in_lake(url: str) -> list[Any]:
    """All samples in the lake, as DuckDB reads them."""
    source = f"read_parquet('{url}/*/*/*.parquet', hive_partitioning = true)"
    return rows(f"SELECT {COLUMNS} FROM {source} {ORDER}")  # noqa: S608  constants


def in_postgres(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT {COLUMNS} FROM strava.activity_points {ORDER}"))  # noqa: S608  constants
        return [tuple(row) for row in found]


def rows(query: str) -> list[Any]:
    return duckdb.execute(query).fetchall()


def files(url: str) -> list[str]:
    return sorted(str(path.relative_to(url)) for path in Path(url).rglob("*") if path.is_file())


@pytest.mark.usefixtures("strava")
def test_duckdb_reads_what_the_view_holds(engine: Engine, url: str) -> None:
    month = write_month(engine, url, JUNE)
    assert in_lake(url) == in_postgres(engine)
    assert (month.points, month.written) == (7, True)
    assert files(url) == [f"athlete_id={RIDER}/month=2025-06/points.parquet"]
    assert month.size_bytes == (Path(url) / files(url)[0]).stat().st_size


@pytest.mark.usefixtures("strava")
def test_a_month_is_noted_as_of_before_it_was_read(engine: Engine, url: str) -> None:
    with engine.connect() as connection:
        before = now(connection)
    for _ in range(2):
        write_month(engine, url, JUNE)
        with engine.connect() as connection:
            noted, after = connection.execute(select(import_months.c.lake_at)).scalar_one(), now(connection)
        assert before < noted < after
        before = noted


@pytest.mark.usefixtures("strava")
def test_the_types_are_those_of_the_view(engine: Engine, url: str) -> None:
    write_month(engine, url, JUNE)
    with engine.connect() as connection:
        query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'activity_points'"
        ours = {name: kind.upper() for name, kind in connection.execute(text(query)).all()}
    told = rows(f"DESCRIBE FROM read_parquet('{url}/*/*/*.parquet', hive_partitioning = true)")
    names = {"DOUBLE PRECISION": "DOUBLE"}
    assert {row[0]: row[1] for row in told if row[0] != "month"} == {
        name: names.get(kind, kind) for name, kind in ours.items()
    }


@pytest.mark.usefixtures("strava")
def test_a_month_that_did_not_change_is_not_written_again(engine: Engine, url: str) -> None:
    write_month(engine, url, JUNE)
    before = (Path(url) / files(url)[0]).stat().st_ino
    assert not write_month(engine, url, JUNE).written
    assert (Path(url) / files(url)[0]).stat().st_ino == before


def test_a_cropped_and_a_deleted_ride_replace_the_month(strava: StravaStandIn, engine: Engine, url: str) -> None:
    write_month(engine, url, JUNE)
    strava.edit(1, elapsed_time=2)
    strava.streams[1] = stream_body(samples=2)
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    strava.delete(2)
    bring_up_to_date(strava.sync(engine), RIDER, 2, "delete")
    assert write_month(engine, url, JUNE).points == 2
    assert in_lake(url) == in_postgres(engine)


def test_a_month_that_lost_all_samples_has_no_file(strava: StravaStandIn, engine: Engine, url: str) -> None:
    write_month(engine, url, JUNE)
    for number in (1, 2):
        strava.delete(number)
        bring_up_to_date(strava.sync(engine), RIDER, number, "delete")
    assert write_month(engine, url, JUNE).points == 0
    assert files(url) == []
    assert not write_month(engine, url, JUNE).written


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake, "POINTS_PER_GROUP", 4)


@pytest.mark.usefixtures("strava", "small_groups")
def test_more_than_a_row_group_is_written_piece_by_piece(engine: Engine, url: str) -> None:
    write_month(engine, url, JUNE)
    groups = rows(f"SELECT max(row_group_id) + 1 FROM parquet_metadata('{url}/{files(url)[0]}')")  # noqa: S608  a path of this test
    assert groups == [(2,)]
    assert in_lake(url) == in_postgres(engine)


@pytest.mark.usefixtures("strava")
def test_a_writer_that_dies_leaves_the_old_month_and_the_next_one_cleans_up(
    engine: Engine, url: str, strava: StravaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_month(engine, url, JUNE)
    before = in_lake(url)
    strava.edit(1, elapsed_time=3)
    strava.streams[1] = stream_body(samples=3)
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    with monkeypatch.context() as dying:
        dying.setattr(lake, "_flush_to_disk", lambda _: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(WarehouseError, match="disk full"):
            write_month(engine, url, JUNE)
    assert in_lake(url) == before
    write_month(engine, url, JUNE)
    assert in_lake(url) == in_postgres(engine)
    assert len(files(url)) == 1


def test_what_changes_while_it_is_written_is_written_again(
    strava: StravaStandIn, engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = lake._flush_to_disk

    def deleted_meanwhile(file: Any) -> None:
        flush(file)
        if 1 in strava.activities:
            strava.delete(1)
            bring_up_to_date(strava.sync(engine), RIDER, 1, "delete")

    monkeypatch.setattr(lake, "_flush_to_disk", deleted_meanwhile)
    assert write_month(engine, url, JUNE).points == 3
    assert in_lake(url) == in_postgres(engine)


@pytest.mark.usefixtures("strava")
def test_an_athlete_is_forgotten_and_others_stay(engine: Engine, url: str) -> None:
    write_month(engine, url, JUNE)
    other = Path(url) / "athlete_id=2002" / "month=2025-06" / "points.parquet"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"")
    for _ in range(2):
        erase_athlete_points(url, RIDER)
        assert files(url) == ["athlete_id=2002/month=2025-06/points.parquet"]


@pytest.mark.usefixtures("strava")
def test_any_file_system_will_do(engine: Engine) -> None:
    write_month(engine, "memory://lake", JUNE)
    path = f"/lake/athlete_id={RIDER}/month=2025-06"
    assert fsspec.filesystem("memory").ls(path, detail=False) == [f"{path}/points.parquet"]
    erase_athlete_points("memory://lake", RIDER)


def modes(url: str) -> dict[str, int]:
    """Of the lake's folder and of all in it."""
    return {str(path): stat.S_IMODE(path.stat().st_mode) for path in (Path(url), *Path(url).rglob("*"))}


@pytest.mark.usefixtures("strava")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o177])
@pytest.mark.parametrize("scheme", ["", "file://", "local://"])
def test_on_a_disk_the_lake_is_its_owners_alone(
    engine: Engine, url: str, umask: int, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first byte on, and without a change of the process it runs in, which is somebody else's."""
    seen: list[dict[str, int]] = []
    flush = lake._flush_to_disk

    def looked_at(file: Any) -> None:
        seen.append(modes(url))
        flush(file)

    monkeypatch.setattr(lake, "_flush_to_disk", looked_at)
    before = os.umask(umask)
    try:
        write_month(engine, f"{scheme}{url}/deep", JUNE)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    for found in (*seen, modes(url)):
        assert len(found) == 5
        assert {mode for path, mode in found.items() if Path(path).suffix} == {0o600}
        assert {mode for path, mode in found.items() if not Path(path).suffix} == {0o700}


@pytest.mark.usefixtures("strava")
def test_a_group_may_be_let_in_also_later(engine: Engine, url: str) -> None:
    group = 54321 if os.geteuid() == 0 else os.getegid()
    write_month(engine, url, JUNE)
    for _ in range(2):
        write_month(engine, url, JUNE, Readers(group))
        assert sorted(modes(url).values()) == [0o640, 0o750, 0o750, 0o750]
        assert {path.stat().st_gid for path in (Path(url), *Path(url).rglob("*"))} == {group}
    write_month(engine, f"{url}2", JUNE, Readers(group))
    assert sorted(modes(f"{url}2").values()) == [0o640, 0o750, 0o750, 0o750]


@pytest.mark.usefixtures("strava")
def test_a_lake_that_others_can_read_is_told_once_and_left(
    engine: Engine, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    Path(url).mkdir()
    Path(url).chmod(0o755)
    for _ in range(2):
        write_month(engine, url, JUNE)
    told = [record.getMessage() for record in caplog.records if "others can read the lake" in record.getMessage()]
    assert told == [
        f"others can read the lake: close it by chmod -R go= {url}, or name a group that may in STRAVA_FILE_GROUP"
    ]
    assert stat.S_IMODE(Path(url).stat().st_mode) == 0o755
    assert sorted(mode for path, mode in modes(url).items() if path != url) == [0o600, 0o700, 0o700]


@pytest.mark.usefixtures("strava")
def test_what_somebody_put_where_the_part_is_written_is_not_written_to(engine: Engine, url: str) -> None:
    theirs = Path(url).with_name("theirs")
    theirs.write_text("precious")
    part = Path(url) / f"athlete_id={RIDER}" / "month=2025-06" / lake.PART
    part.parent.mkdir(parents=True)
    part.symlink_to(theirs)
    write_month(engine, url, JUNE)
    assert theirs.read_text() == "precious"
    assert in_lake(url) == in_postgres(engine)
    assert not part.is_symlink()


def test_an_unknown_file_system_is_told_in_one_line(engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="STRAVA_LAKE_URL is not usable"):
        write_month(engine, "nowhere://lake", JUNE)


def test_the_lake_lies_under_the_home_unless_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert settings.lake_location() == str(settings.home / "lake")
    monkeypatch.setenv("STRAVA_LAKE_URL", "s3://bucket/rides")
    assert load_settings().lake_location() == "s3://bucket/rides"
    monkeypatch.setenv("STRAVA_LAKE_URL", "s3://key:secret@bucket/rides")
    with pytest.raises(ConfigurationError, match="without credentials"):
        load_settings()
