"""A program of Dagster's finds the instance, its storage, and the secrets that are in files."""

from __future__ import annotations

import os
from pathlib import Path

import dagster
import pytest
import yaml
from click.testing import CliRunner

from strava_pipeline.cli import cli
from strava_pipeline.cli.dagster_exec import dagster_environment
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local.running_postgres import PostgresNotRunning
from strava_pipeline.settings import load_settings
from strava_pipeline_tests.warm_processes import WarmProcesses

STORAGE = "postgresql+psycopg2://dagster:word@db.example/dagster"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with an address of a storage, as an editor leaves it."""
    secret = tmp_path / "secret"
    secret.write_text("postgresql://dagster:word@db.example/dagster\n", encoding="utf-8")
    return secret


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an instance of somebody else's."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


def test_our_own_instance_is_written_and_its_storage_is_read_from_a_file(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL_FILE", str(secret))
    monkeypatch.setenv("STRAVA_RUNS_AT_ONCE", "3")
    found = dagster_environment(load_settings())
    # In the spelling that Dagster takes.
    assert found["DAGSTER_POSTGRES_URL"] == STORAGE
    home = load_settings().home / "dagster"
    assert found["DAGSTER_HOME"] == str(home)
    written = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8"))
    assert written["concurrency"]["runs"]["max_concurrent_runs"] == 3
    assert not [name for name in found if name.startswith("STRAVA_") and name != "STRAVA_RUNS_AT_ONCE"]


def test_the_memory_of_a_daemons_own_container_says_nothing_of_the_runs(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL_FILE", str(secret))
    monkeypatch.setattr("strava_pipeline.local.dagster_home.usable_memory", lambda: 256 * 2**20)
    assert dagster_environment(load_settings())["STRAVA_RUNS_AT_ONCE"] == "10"


def test_without_an_address_the_storage_is_beside_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_URL", "postgresql://ours:word@db.example/strava")
    found = dagster_environment(load_settings())
    assert found["DAGSTER_POSTGRES_URL"] == "postgresql+psycopg2://ours:word@db.example/strava_dagster"


def test_an_embedded_postgres_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_URL", "embedded")
    with pytest.raises(PostgresNotRunning, match=r"^the embedded Postgres is not there yet"):
        dagster_environment(load_settings())


def test_an_instance_of_somebody_elses_is_left_as_it_is(
    theirs: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (theirs / "dagster.yaml").read_text(encoding="utf-8")
    monkeypatch.setenv("DAGSTER_PG_PASSWORD_FILE", str(secret))
    found = dagster_environment(load_settings())
    assert found["DAGSTER_HOME"] == str(theirs)
    assert "DAGSTER_POSTGRES_URL" not in found
    assert found["DAGSTER_PG_PASSWORD"] == "postgresql://dagster:word@db.example/dagster"
    assert [path.name for path in theirs.iterdir()] == ["dagster.yaml"]
    assert (theirs / "dagster.yaml").read_text(encoding="utf-8") == before
    assert not load_settings().home.exists()


def test_a_variable_goes_before_its_file(theirs: Path, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_PG_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "of the variable")
    assert "DAGSTER_PG_PASSWORD" not in dagster_environment(load_settings())


@pytest.mark.parametrize("name", ["DAGSTER_PG_PASSWORD_FILE", "DAGSTER_POSTGRES_URL_FILE"])
def test_a_file_that_is_not_there_is_named(theirs: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "/nowhere/secret")
    with pytest.raises(
        ConfigurationError, match=rf"^{name} cannot be read: /nowhere/secret: No such file or directory$"
    ):
        dagster_environment(load_settings())


@pytest.mark.parametrize("program", ["no-such-program", "../bin/dagster", "/bin/sh"])
def test_only_programs_beside_ours_are_run(program: str) -> None:
    done = CliRunner().invoke(cli, ["dagster-exec", program])
    assert isinstance(done.exception, ConfigurationError)
    assert str(done.exception).startswith(f"{program} is not installed beside strava-pipeline")


def test_the_program_gets_its_own_options(theirs: Path, warm_processes: WarmProcesses) -> None:
    done = warm_processes.run("dagster-exec", "dagster", "--version", env=os.environ)
    assert (done.returncode, done.stdout.decode()) == (0, f"dagster, version {dagster.__version__}\n")
