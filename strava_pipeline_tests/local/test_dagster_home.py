"""Dagster's instance folder: ours gets this project's file, another's is left as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local.dagster_home import INSTANCE_FILE, prepare, shipped_file
from strava_pipeline.settings import load_settings

STORAGE = "postgresql+psycopg2:///strava_dagster"


def test_a_folder_of_ours_gets_this_projects_file() -> None:
    settings = load_settings()
    environment = prepare(settings, STORAGE)
    assert environment["DAGSTER_HOME"] == str(settings.home / "dagster")
    assert environment["DAGSTER_POSTGRES_URL"] == STORAGE
    copied = Path(environment["DAGSTER_HOME"]) / INSTANCE_FILE
    assert copied.read_bytes() == shipped_file(INSTANCE_FILE).read_bytes()
    assert list(copied.parent.iterdir()) == [copied]


def test_an_outdated_copy_is_replaced() -> None:
    settings = load_settings()
    copied = settings.home / "dagster" / INSTANCE_FILE
    copied.parent.mkdir(parents=True)
    copied.write_text("storage: of an older version")
    prepare(settings, STORAGE)
    assert copied.read_bytes() == shipped_file(INSTANCE_FILE).read_bytes()


def test_an_instance_of_the_operators_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / INSTANCE_FILE).write_text("telemetry: {enabled: false}")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert prepare(load_settings(), STORAGE)["DAGSTER_HOME"] == str(tmp_path)
    assert (tmp_path / INSTANCE_FILE).read_text() == "telemetry: {enabled: false}"


def test_an_instance_without_its_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"^DAGSTER_HOME: .*dagster\.yaml is missing"):
        prepare(load_settings(), STORAGE)


def test_the_shipped_file_takes_the_database_from_the_environment() -> None:
    instance = yaml.safe_load(shipped_file(INSTANCE_FILE).read_text())
    assert instance["storage"]["custom"]["config"] == {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}
