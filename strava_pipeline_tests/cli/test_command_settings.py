"""Commands may start the embedded Postgres where no database is named; nothing else may."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from strava_pipeline import cli
from strava_pipeline.cli import command_settings as of_commands
from strava_pipeline.cli.command_settings import command_settings, keep_data_in_home
from strava_pipeline.cli.doctor.listing import listed_settings
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import load_settings

MODULES = [module.name for module in pkgutil.walk_packages(cli.__path__, f"{cli.__name__}.")]


@pytest.mark.parametrize("name", [name for name in MODULES if name != of_commands.__name__])
def test_each_command_takes_its_settings_from_one_place(name: str) -> None:
    file = importlib.import_module(name).__file__
    assert file is not None
    assert "load_settings" not in Path(file).read_text(encoding="utf-8")


def test_a_command_uses_the_embedded_postgres_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_settings().is_embedded
    assert load_settings().database_url is None
    monkeypatch.setenv("STRAVA_DATABASE_URL", "postgresql://db.example/strava")
    assert command_settings().require_database() == "postgresql://db.example/strava"


def test_in_a_container_a_command_uses_an_embedded_postgres_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRAVA_DATA_IN_HOME")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert command_settings().database_url is None
    # As of `up` in the same container.
    (load_settings().home / "postgres").mkdir(parents=True)
    assert command_settings().is_embedded


def test_in_a_container_up_and_demo_may_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRAVA_DATA_IN_HOME")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    keep_data_in_home()
    assert command_settings().is_embedded
    command_settings().require_shared_database()


@pytest.mark.parametrize("command", ["migrate", "athletes list", "dagster-exec dagster --version"])
def test_in_a_container_no_other_command_starts_one(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.delenv("STRAVA_DATA_IN_HOME")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    done = CliRunner().invoke(cli.cli, command.split())
    assert isinstance(done.exception, ConfigurationError)
    assert str(done.exception).startswith("STRAVA_DATABASE_URL is not set: name the tables' Postgres")
    assert not load_settings().home.exists()


def test_which_postgres_it_is_is_no_secret() -> None:
    (database,) = [each for each in listed_settings(command_settings()) if each.name == "STRAVA_DATABASE_URL"]
    assert (database.value, database.source) == ("embedded", "default")
