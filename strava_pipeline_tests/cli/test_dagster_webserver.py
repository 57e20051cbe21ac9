"""What has to be set before Dagster's webserver is served: one line says what is missing, and nothing is served."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from strava_pipeline.cli import cli
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local.listeners import open_listener
from strava_pipeline.local.services import dagster_services
from strava_pipeline.settings import Settings


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    path = tmp_path / "workspace.yaml"
    path.write_text("load_from: []\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DAGSTER_HOME", "", "DAGSTER_HOME is not set"),
        ("STRAVA_TOKEN_KEYS", "", "STRAVA_TOKEN_KEYS is not set"),
        ("STRAVA_DAGSTER_HOSTS", "https://dagster.example.org", "STRAVA_DAGSTER_HOSTS: 'https://dagster.example.org'"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, workspace: str, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(Path(workspace).parent))
    monkeypatch.setenv(name, value)
    done = CliRunner().invoke(cli, ["dagster-webserver", "-w", workspace])
    assert isinstance(done.exception, ConfigurationError)
    assert told in str(done.exception)


def test_an_instance_that_is_not_usable_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, workspace: str
) -> None:
    home = Path(workspace).parent
    (home / "dagster.yaml").write_text("storage: [\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    done = CliRunner().invoke(cli, ["dagster-webserver", "-w", workspace])
    assert isinstance(done.exception, ConfigurationError)
    assert f"{home}/dagster.yaml is not usable" in str(done.exception)


@pytest.mark.parametrize("command", [("dagster-webserver", "-w", "{workspace}"), ("bridge",)])
def test_a_number_that_is_no_listening_socket_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, workspace: str, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(Path(workspace).parent))
    with socket.socket() as unheard:
        arguments = [part.format(workspace=workspace) for part in (*command, "--fd", str(unheard.fileno()))]
        done = CliRunner().invoke(cli, arguments)
    assert isinstance(done.exception, ConfigurationError)
    assert "it is not a listening socket" in str(done.exception)


def test_up_and_demo_serve_dagster_in_no_other_way(tmp_path: Path) -> None:
    with open_listener("127.0.0.1", 0, "the test") as listener:
        commands = [
            " ".join(service.command)
            for service in dagster_services(tmp_path, listener, tmp_path / "workspace.yaml", {})
        ]
    assert [command for command in commands if "dagster-webserver" in command] == commands[:1]
    assert "strava_pipeline dagster-webserver" in commands[0]
    assert not [command for command in commands if "dagster_webserver" in command]
