"""The watched folder and the place of uploads are looked at, and nothing there is read, moved or made."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from strava_pipeline.cli.doctor.findings import Verdict
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.upload_tables import uploads
from strava_pipeline.warehouse.upload_files import RESERVE_BYTES, FolderFiles
from strava_pipeline.warehouse.uploads.rows import KEPT, FileToUpload, Upload, open_upload
from strava_pipeline_tests.doctor_checks import told_by
from strava_pipeline_tests.sync.dropped import drop


@pytest.fixture
def root(tmp_path: Path, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    monkeypatch.setenv("STRAVA_FILES_FOLDER", str(folder))
    return folder


@pytest.mark.usefixtures("settings")
def test_no_folder_is_well() -> None:
    assert told_by("watched folder") == (Verdict.OK, "off: STRAVA_FILES_FOLDER is not set")


def test_what_waits_is_counted(root: Path) -> None:
    assert told_by("watched folder") == (Verdict.OK, f"{root} is watched, and no file waits")
    drop(root, "7/ride.fit")
    assert told_by("watched folder") == (Verdict.OK, f"{root} is watched, and 1 file(s) wait")
    assert (root / "7/ride.fit").exists()


def test_what_is_amiss_is_told(root: Path) -> None:
    drop(root, "mira/ride.fit")
    verdict, message = told_by("watched folder")
    assert (verdict, message) == (Verdict.WARN, f"{root}/mira is no folder of an athlete: name it by the athlete's id")


def test_a_folder_that_is_missing_is_a_fault(root: Path) -> None:
    root.rmdir()
    verdict, message = told_by("watched folder")
    assert verdict is Verdict.FAIL
    assert message.endswith("No such file or directory; make this folder, or mount it here")


@pytest.fixture
def uploads_at(tmp_path: Path, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "uploads"
    monkeypatch.setenv("STRAVA_UPLOAD_URL", str(folder))
    return folder


def begun(engine: Engine, age: timedelta = timedelta(0)) -> Upload:
    """An upload of 1,000 bytes whose last part came so long ago."""
    with engine.begin() as connection:
        upload = open_upload(connection, 11, FileToUpload("export_11.zip", 1000, "a" * 64))
        connection.execute(update(uploads).values(alive_at=database_time() - age))
    return upload


def test_the_place_of_uploads_is_well_before_it_is_made(uploads_at: Path) -> None:
    assert told_by("uploads") == (Verdict.OK, f"{uploads_at}, which the runs have to see, too; 0 there")
    assert not uploads_at.exists()


def test_in_a_container_without_an_address_no_uploads_are_taken(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_DATA_IN_HOME", "false")
    assert told_by("uploads") == (Verdict.OK, "none are taken: this container has no STRAVA_UPLOAD_URL")


def test_a_place_where_nothing_can_be_uploaded_is_a_fault(uploads_at: Path) -> None:
    uploads_at.mkdir()
    (uploads_at / "thesis.odt").touch()
    verdict, message = told_by("uploads")
    assert (verdict, message.partition(", ")[0]) == (Verdict.FAIL, f"{uploads_at} holds something else already")
    (uploads_at / "thesis.odt").unlink()
    uploads_at.rmdir()
    uploads_at.touch()
    verdict, message = told_by("uploads")
    assert (verdict, message.partition(", ")[0]) == (Verdict.FAIL, f"{uploads_at} is no folder")


def test_uploads_that_should_be_gone_are_told(uploads_at: Path, engine: Engine) -> None:
    kept = begun(engine, KEPT)
    FolderFiles(uploads_at).write(kept, 0, BytesIO(b"x"))
    assert told_by("uploads") == (Verdict.OK, f"{uploads_at}, which the runs have to see, too; 1 there")
    begun(engine, KEPT + timedelta(days=2))
    (uploads_at / "11" / "4711").mkdir()  # of which no row tells
    assert told_by("uploads") == (Verdict.WARN, f"2 upload(s) at {uploads_at} should have been deleted")


def test_uploads_without_room_are_told(uploads_at: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(engine)
    monkeypatch.setattr(FolderFiles, "free_bytes", lambda _: RESERVE_BYTES + 999)
    verdict, message = told_by("uploads")
    assert verdict is Verdict.WARN
    assert message.startswith(f"{uploads_at} has 1,000,000,999 bytes left: 1,000 bytes are on their way")
