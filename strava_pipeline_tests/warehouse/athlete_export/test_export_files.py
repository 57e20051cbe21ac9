"""What an export leaves on the disk: private files, all or none of them, for programs and for people."""

from __future__ import annotations

import csv
import json
import shutil
import stat
import zipfile
from pathlib import Path
from typing import NamedTuple

import gpxpy
import pytest
from pyarrow import parquet
from sqlalchemy import Engine, select

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.warehouse.athlete_export import export_files
from strava_pipeline.warehouse.athlete_export.layout import recording_file
from strava_pipeline.warehouse.schema.tables import activity_streams
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.athlete_export.exports import AWKWARD, activity_ids, cells, export, restore


class Usage(NamedTuple):
    """Bytes of a disk."""

    total: int
    used: int
    free: int


def files_of(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def test_nobody_else_may_read_it(copy: Path, whole: Engine, tmp_path: Path) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in files_of(copy).values()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in copy.rglob("*") if path.is_dir()} == {0o700}
    export(whole, tmp_path / "copy.zip", gpx=False)
    assert stat.S_IMODE((tmp_path / "copy.zip").stat().st_mode) == 0o600


def test_a_zip_has_the_same_files_as_a_folder(copy: Path, whole: Engine, tmp_path: Path) -> None:
    export(whole, tmp_path / "copy.zip")
    with zipfile.ZipFile(tmp_path / "copy.zip") as archive:
        assert set(archive.namelist()) == set(files_of(copy))
        same = [name for name in files_of(copy) if archive.read(name) == (copy / name).read_bytes()]
    assert set(files_of(copy)) - set(same) <= {"manifest.json", "README.txt"}  # which tell the time


def test_the_manifest_tells_of_all(copy: Path, whole: Engine) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    assert set(manifest["files"]) == set(files_of(copy)) - {"manifest.json"}
    rows = {name: note["rows"] for name, note in manifest["tables"].items()}
    assert rows == {name: len(found) for name, found in cells(whole, RIDER).items()}
    assert (manifest["athlete_id"], manifest["form"]) == (RIDER, 1)
    assert "ops.webhook_events" in manifest["left_out"]


def test_every_activity_with_positions_is_a_track(copy: Path, whole: Engine) -> None:
    documents = [gpxpy.parse(path.read_text()) for path in sorted((copy / "gpx").iterdir())]
    assert len(documents) == len(activity_ids(whole))
    assert all(document.tracks[0].segments[0].points for document in documents)
    assert {path.name[:11] for path in (copy / "gpx").iterdir()} == {"2025-06-10_"}


def test_no_text_of_a_table_for_people_is_a_formula(copy: Path) -> None:
    for path in (copy / "csv").iterdir():
        text = path.read_bytes().decode("utf-8-sig")
        rows = list(csv.reader(text.removesuffix("\r\n").split("\r\n")))
        assert len(rows) > 1
        assert {len(row) for row in rows} == {len(rows[0])}
        for cell in (cell for row in rows for cell in row):
            assert not cell.startswith(("=", "+", "@", "\t", "\r")), cell
            assert not cell.startswith("-") or float(cell) < 0
    assert AWKWARD[:4] not in (copy / "csv/archive_figures.csv").read_text().replace("'=1+1", "")


def test_parquet_has_the_types_and_values_of_the_tables(copy: Path, whole: Engine) -> None:
    found = parquet.read_table(copy / "parquet/activity_streams.parquet")
    columns = [activity_streams.c[name] for name in ("activity_id", "heartrate", "moving", "time", "fetched_at")]
    with whole.connect() as connection:
        query = select(*columns).where(activity_streams.c.athlete_id == RIDER).order_by(activity_streams.c.activity_id)
        stored = [tuple(row) for row in connection.execute(query)]
    read = found.select([column.name for column in columns]).to_pylist()
    assert [tuple(row.values()) for row in read] == stored
    for path in (copy / "parquet").iterdir():
        assert parquet.read_table(path).num_rows


def test_without_pyarrow_all_the_rest_is_there(whole: Engine, copy: Path, tmp_path: Path, engine: Engine) -> None:
    export(whole, tmp_path / "copy", parquet=False)
    assert set(files_of(copy)) - set(files_of(tmp_path / "copy")) == {
        name for name in files_of(copy) if name.startswith("parquet/")
    }
    restore(engine, tmp_path / "copy")
    assert cells(engine, RIDER) == cells(whole, RIDER)


def test_nothing_is_overwritten(whole: Engine, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine").write_text("mine")
    (tmp_path / "taken.zip").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for name in ("taken", "taken.zip", "link"):
        with pytest.raises(ConfigurationError, match=f"{name} is there already, and nothing is overwritten"):
            export(whole, tmp_path / name)
    (tmp_path / "empty").mkdir()
    export(whole, tmp_path / "empty", gpx=False, parquet=False)
    assert (tmp_path / "empty/manifest.json").exists()
    assert (tmp_path / "taken/mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["copy", "copy.zip"])
def test_what_is_not_whole_leaves_nothing(whole: Engine, tmp_path: Path, name: str) -> None:
    def die(step: str) -> None:
        if step == "strava.laps":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(whole, tmp_path / name, told=die)
    assert list(tmp_path.iterdir()) == []


def test_what_a_process_that_died_left_is_removed_by_the_next(whole: Engine, tmp_path: Path) -> None:
    rest = tmp_path / ".copy.4711.part"
    (rest / "copy/csv").mkdir(parents=True)
    somebody_elses = tmp_path / ".other.4711.part"
    somebody_elses.mkdir()
    export(whole, tmp_path / "copy", gpx=False, parquet=False)
    assert {path.name for path in tmp_path.iterdir()} == {"copy", ".other.4711.part"}


def test_a_disk_without_room_is_told_before_anything_is_written(
    whole: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, export_files.KEPT_FREE_BYTES + 1000))
    with pytest.raises(WarehouseError, match=r"make room, or name another disk by -o; nothing was written"):
        export(whole, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_kind_of_recording_cannot_lead_elsewhere() -> None:
    assert recording_file(5, "fit") == "files/5.fit.gz"
    assert recording_file(5, "../../x") == "files/5.bin.gz"
