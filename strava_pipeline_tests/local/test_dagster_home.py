"""Dagster's instance folder: ours gets this project's file, another's is left as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import dagster_home
from strava_pipeline.local.dagster_home import INSTANCE_FILE, prepare, shipped_file, with_runs_that_fit
from strava_pipeline.settings import load_settings

STORAGE = "postgresql+psycopg2:///strava_dagster"


def test_a_folder_of_ours_gets_this_projects_file() -> None:
    settings = load_settings()
    environment = prepare(settings, STORAGE)
    assert environment["DAGSTER_HOME"] == str(settings.home / "dagster")
    assert environment["DAGSTER_POSTGRES_URL"] == STORAGE
    copied = Path(environment["DAGSTER_HOME"]) / INSTANCE_FILE
    assert copied.read_text() == shipped(dagster_home.runs_that_fit())
    assert list(copied.parent.iterdir()) == [copied]


def test_an_outdated_copy_is_replaced() -> None:
    settings = load_settings()
    copied = settings.home / "dagster" / INSTANCE_FILE
    copied.parent.mkdir(parents=True)
    copied.write_text("storage: of an older version")
    prepare(settings, STORAGE)
    assert copied.read_text() == shipped(dagster_home.runs_that_fit())


def test_what_steps_of_an_earlier_version_printed_goes() -> None:
    """The file of now keeps none of it, so nothing else would ever delete it."""
    home = load_settings().home / "dagster"
    printed, theirs = (
        home / "storage" / "a-run" / "compute_logs",
        home / "storage" / "another-run" / "a step" / "result",
    )
    for file in (printed / "step.err", printed / "step.complete", theirs):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("Evening ride along the river")
    for _ in range(2):
        prepare(load_settings(), STORAGE)
        assert list((home / "storage").rglob("*.*")) == []
        assert not printed.parent.exists()
        assert theirs.exists()


def test_what_steps_print_stays_in_a_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = tmp_path / "storage" / "a-run" / "compute_logs" / "step.err"
    printed.parent.mkdir(parents=True)
    printed.touch()
    (tmp_path / INSTANCE_FILE).touch()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    prepare(load_settings(), STORAGE)
    assert printed.exists()


def shipped(runs: int) -> str:
    """This project's file for so many runs at once."""
    return (
        shipped_file(INSTANCE_FILE).read_text().replace("max_concurrent_runs: 10\n", f"max_concurrent_runs: {runs}\n")
    )


@pytest.mark.parametrize(
    ("memory", "runs"), [(100_000_000, 2), (1024**3, 2), (1_200_000_000, 3), (2 * 1024**3, 9), (64 * 1024**3, 10)]
)
def test_as_many_runs_are_at_work_as_fit_into_the_memory(
    monkeypatch: pytest.MonkeyPatch, memory: int, runs: int
) -> None:
    monkeypatch.setattr(dagster_home, "usable_memory", lambda: memory)
    settings = with_runs_that_fit(load_settings())
    assert settings.runs_at_once == runs
    assert prepare(settings, STORAGE)["STRAVA_RUNS_AT_ONCE"] == str(runs)
    instance = yaml.safe_load((settings.home / "dagster" / INSTANCE_FILE).read_text())
    assert instance["concurrency"]["runs"] == {"max_concurrent_runs": runs}


def test_a_command_beside_up_keeps_to_what_up_has_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dagster_home, "usable_memory", lambda: 1024**3)
    prepare(with_runs_that_fit(load_settings()), STORAGE)
    # In a shell, which no control group limits.
    monkeypatch.setattr(dagster_home, "usable_memory", lambda: 64 * 1024**3)
    assert prepare(load_settings(), STORAGE)["STRAVA_RUNS_AT_ONCE"] == "2"
    # The next start of `up` looks anew.
    assert prepare(with_runs_that_fit(load_settings()), STORAGE)["STRAVA_RUNS_AT_ONCE"] == "10"


def test_the_setting_says_how_many_runs_are_at_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_RUNS_AT_ONCE", "7")
    settings = with_runs_that_fit(load_settings())
    assert prepare(settings, STORAGE)["STRAVA_RUNS_AT_ONCE"] == "7"
    assert (settings.home / "dagster" / INSTANCE_FILE).read_text() == shipped(7)
    monkeypatch.setenv("STRAVA_RUNS_AT_ONCE", "1")
    with pytest.raises(ConfigurationError, match="STRAVA_RUNS_AT_ONCE"):
        load_settings()


def test_an_instance_of_the_operators_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / INSTANCE_FILE).write_text("telemetry: {enabled: false}")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    environment = prepare(with_runs_that_fit(load_settings()), STORAGE)
    assert environment["DAGSTER_HOME"] == str(tmp_path)
    assert "STRAVA_RUNS_AT_ONCE" not in environment
    assert (tmp_path / INSTANCE_FILE).read_text() == "telemetry: {enabled: false}"


def test_an_instance_without_its_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"^DAGSTER_HOME: .*dagster\.yaml is missing"):
        prepare(load_settings(), STORAGE)


def test_the_shipped_file_takes_the_database_from_the_environment() -> None:
    instance = yaml.safe_load(shipped_file(INSTANCE_FILE).read_text())
    assert instance["storage"]["custom"]["config"] == {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}
