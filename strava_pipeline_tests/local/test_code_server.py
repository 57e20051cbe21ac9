"""Where the code server listens: each start has a socket of its own, and Dagster finds the newest."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
import yaml
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths

from strava_pipeline.local.code_server import ATTRIBUTE, LOCATION, MODULE, new_code_server
from strava_pipeline.local.listeners import is_listening
from strava_pipeline.local.work_folder import LONGEST_TEMPORARY

LONGEST_SOCKET_PATH = 107


def listening_at(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.bind(str(path))
    found.listen()
    return found


def test_dagster_finds_it_by_the_workspace_file(tmp_path: Path) -> None:
    server = new_code_server(tmp_path)
    (origin,) = location_origins_from_yaml_paths([str(server.workspace)])
    assert isinstance(origin, GrpcServerCodeLocationOrigin)
    assert (origin.location_name, origin.socket, origin.port) == ("strava_pipeline", str(server.link), None)
    assert stat.S_IMODE(server.workspace.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.link.parent.stat().st_mode) == 0o700


def test_it_serves_what_workspaces_of_others_name() -> None:
    ours = yaml.safe_load((Path(__file__).parents[2] / "workspace.yaml").read_text(encoding="utf-8"))
    assert ours["load_from"] == [
        {"python_module": {"module_name": MODULE, "attribute": ATTRIBUTE, "location_name": LOCATION}}
    ]


def test_an_earlier_server_that_ends_late_takes_nothing_from_the_next(tmp_path: Path) -> None:
    earlier = new_code_server(tmp_path)
    with listening_at(earlier.socket):
        later = new_code_server(tmp_path)
        # Its name in Dagster's records of runs and schedules stays.
        assert later.link == earlier.link
        assert later.socket != earlier.socket
        assert is_listening(earlier.socket)
        assert not is_listening(later.link)
        with listening_at(later.socket):
            # As a server does that ends.
            earlier.socket.unlink()
            assert is_listening(later.link)


def test_sockets_of_servers_that_were_killed_are_removed(tmp_path: Path) -> None:
    killed, living = new_code_server(tmp_path), new_code_server(tmp_path)
    listening_at(killed.socket).close()
    with listening_at(living.socket):
        newest = new_code_server(tmp_path)
        assert not killed.socket.exists()
        assert living.socket.exists()
    assert {path.name for path in newest.link.parent.iterdir()} == {living.socket.name, newest.link.name}


@pytest.mark.parametrize("length", [1, LONGEST_TEMPORARY])
def test_its_paths_are_short_enough_for_sockets(new_home_of_length: Path) -> None:
    server = new_code_server(new_home_of_length)
    assert len(os.fsencode(server.socket)) <= LONGEST_SOCKET_PATH
    assert len(os.fsencode(server.link)) <= LONGEST_SOCKET_PATH


@pytest.fixture
def new_home_of_length(tmp_path: Path, length: int) -> Path:
    home = tmp_path / ("h" * length)
    home.mkdir()
    return home
