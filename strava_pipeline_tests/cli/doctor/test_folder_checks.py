"""The watched folder is looked at, and nothing in it is read or moved."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from strava_pipeline.cli.doctor.findings import Verdict
from strava_pipeline.settings import Settings
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
