"""Services work where nobody else can have put anything, wherever ``up`` was called."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import work_folder
from strava_pipeline.local.code_server import new_code_server
from strava_pipeline.local.kept_server import ACTIONS
from strava_pipeline.local.listeners import open_listener
from strava_pipeline.local.services import bridge_service, code_server_service, dagster_services, mock_strava_service
from strava_pipeline.local.supervisor import Service, Supervisor
from strava_pipeline.settings import load_settings
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

PLANTED = "from pathlib import Path\nPath({marker!r}).touch()\n"
MODULES = ("strava_pipeline", "dagster", "multiprocessing", "grpc", "yaml", "sitecustomize", "psutil", "sqlalchemy")
BECOME_KEEPER = """
from strava_pipeline.local.keeper import Plan, become_keeper
become_keeper(Plan((), ["all is kept"], None, "INFO", "text"))
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with open_listener("127.0.0.1", 0, "the test") as found:
        yield found


def test_every_service_works_in_a_private_folder(tmp_path: Path, listener: socket.socket) -> None:
    server = new_code_server(tmp_path)
    services = [
        code_server_service(tmp_path, server, {}),
        *dagster_services(tmp_path, listener, server.workspace, {}),
        bridge_service(tmp_path, listener, {}),
        mock_strava_service(tmp_path, 1, {}),
    ]
    assert {service.folder for service in services} == {tmp_path / "work"}
    assert stat.S_IMODE((tmp_path / "work").stat().st_mode) == 0o700
    assert list((tmp_path / "work").iterdir()) == []


def test_what_lies_where_a_command_was_called_is_not_run(
    tmp_path: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, log = tmp_path / "run", tmp_path / "logs" / "tried.log"
    monkeypatch.chdir(hostile_folder(tmp_path, marker))
    tried = bridge_service(tmp_path, listener, work_folder.service_environment(load_settings()))
    command = (sys.executable, "-m", "strava_pipeline", "--version")
    with Supervisor() as supervisor:
        supervisor.start(Service("tried", command, log, tried.environment, folder=tried.folder))
        for running in supervisor._running:
            assert running.process.wait(PATIENCE_SECONDS) == 0
    assert "version" in log.read_text()
    assert not marker.exists()


def test_up_runs_nothing_of_the_folder_where_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps that folder: relative paths of settings are meant from there."""
    marker = tmp_path / "run"
    monkeypatch.chdir(hostile_folder(tmp_path, marker))
    with subprocess.Popen([sys.executable, "-P", "-c", BECOME_KEEPER], stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        told = up.stdout.readline()
        up.terminate()
    assert told == "all is kept\n"
    assert not marker.exists()
    done = subprocess.run(ACTIONS, stderr=subprocess.PIPE, text=True, check=False)
    assert "main() missing 4 required positional arguments" in done.stderr
    assert not marker.exists()


def hostile_folder(tmp_path: Path, marker: Path) -> Path:
    """A folder with modules that write the marker if a program loads them."""
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for module in MODULES:
        (hostile / f"{module}.py").write_text(PLANTED.format(marker=str(marker)))
    return hostile


def test_paths_that_were_given_from_here_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("keys").write_text("a secret of a file")
    monkeypatch.setenv("STRAVA_LAKE_URL", "lake")
    monkeypatch.setenv("STRAVA_OPERATOR_TOKEN_FILE", "keys")
    found = work_folder.service_environment(load_settings())
    assert found["STRAVA_LAKE_URL"] == str(tmp_path / "lake")
    assert found["STRAVA_OPERATOR_TOKEN_FILE"] == str(tmp_path / "keys")
    for url in ("s3://bucket/lake", "memory://lake", "simplecache::file://lake"):
        monkeypatch.setenv("STRAVA_LAKE_URL", url)
        assert "STRAVA_LAKE_URL" not in work_folder.service_environment(load_settings())


@pytest.mark.parametrize("length", [1, 100])
def test_sockets_lie_in_a_private_folder_however_long_the_home_is(tmp_path: Path, length: int) -> None:
    home = tmp_path / ("h" * length)
    home.mkdir(mode=0o700)
    folder = work_folder.make_temporary_folder(home)
    assert len(os.fsencode(folder)) <= work_folder.LONGEST_TEMPORARY
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert work_folder.make_temporary_folder(home) == folder
    if not folder.is_relative_to(home):
        folder.rmdir()


def test_a_home_or_settings_of_another_user_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".env").write_text("STRAVA_CLIENT_ID=1\n")
    assert load_settings().client_id == "1"
    # As seen by somebody else.
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    if home.stat().st_uid == 0:
        assert load_settings().client_id == "1"
        os.chown(home, 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to another user: chown it"):
        load_settings()
