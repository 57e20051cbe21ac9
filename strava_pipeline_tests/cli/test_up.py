"""What ``up`` says before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from strava_pipeline.cli import cli
from strava_pipeline.cli.up import _warnings
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import settings_file
from strava_pipeline.settings import Settings, load_settings


def test_an_app_that_is_not_named_yet_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path))
    CliRunner().invoke(cli, ["init"], catch_exceptions=False)
    (told,) = _warnings(load_settings())
    assert told == (
        "nobody can connect with Strava, and nothing is fetched: STRAVA_CLIENT_ID and STRAVA_CLIENT_SECRET are not set:"
        f" put them into the environment or into {settings_file(tmp_path)}"
    )


def test_a_door_that_stands_open_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(_warnings(settings)) == []
    monkeypatch.setenv("STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN", "true")
    (told,) = _warnings(load_settings())
    assert told.startswith("STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN is on: no login protects")


@pytest.mark.parametrize("command", ["up", "bridge"])
def test_with_an_app_and_nothing_else_init_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path / "new"))
    monkeypatch.setenv("STRAVA_CLIENT_ID", "4711")
    done = CliRunner().invoke(cli, [command])
    assert isinstance(done.exception, ConfigurationError)
    assert "run strava-pipeline init first" in str(done.exception)
