"""Services work where nobody else can have put anything, wherever ``up`` was called."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import work_folder
from strava_pipeline.local.listeners import open_listener
from strava_pipeline.local.services import bridge_service, dagster_services, mock_strava_service
from strava_pipeline.local.supervisor import Service, Supervisor
from strava_pipeline.settings import load_settings

PLANTED = "from pathlib import Path\nPath({marker!r}).touch()\n"
MODULES = ("strava_pipeline", "dagster", "multiprocessing", "grpc", "yaml", "sitecustomize")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with open_listener("127.0.0.1", 0, "the test") as found:
        yield found


def test_every_service_works_in_a_private_folder(tmp_path: Path, listener: socket.socket) -> None:
    served = [*dagster_services(tmp_path, listener, {}), bridge_service(tmp_path, listener, {})]
    services = [*served, mock_strava_service(tmp_path, 1, {})]
    assert {service.folder for service in services} == {tmp_path / "work"}
    assert stat.S_IMODE((tmp_path / "work").stat().st_mode) == 0o700
    assert list((tmp_path / "work").iterdir()) == []


def test_what_lies_where_a_command_was_called_is_not_run(
    tmp_path: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile, marker, log = tmp_path / "hostile", tmp_path / "run", tmp_path / "logs" / "tried.log"
    hostile.mkdir()
    for module in MODULES:
        (hostile / f"{module}.py").write_text(PLANTED.format(marker=str(marker)))
    monkeypatch.chdir(hostile)
    tried = bridge_service(tmp_path, listener, work_folder.service_environment(load_settings()))
    command = (sys.executable, "-m", "strava_pipeline", "--version")
    with Supervisor() as supervisor:
        supervisor.start(Service("tried", command, log, tried.environment, folder=tried.folder))
        for _, process in supervisor._running:
            assert process.wait(30) == 0
    assert "version" in log.read_text()
    assert not marker.exists()


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
