"""Ports are taken once, by whoever answers there in the end."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import psutil
import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local.listeners import inherit_listener, open_listener
from strava_pipeline.local.services import bridge_service, dagster_services
from strava_pipeline.local.supervisor import Service, Supervisor
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

SERVING = (
    "import http.server, socket, sys;"
    "listener = socket.socket(fileno=int(sys.argv[1]));"
    "server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler, False);"
    "server.socket.close();"
    "server.socket = listener;"
    "server.serve_forever()"
)


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def stranger_can_take(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody who tries everything can listen there."""
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            stranger.bind((host, port))
            stranger.listen()
        except OSError:
            return False
        return True


def test_nobody_else_can_listen_where_one_does() -> None:
    with open_listener("127.0.0.1", 0, "web") as listener:
        port = port_of(listener)
        assert not stranger_can_take(port)
        assert not stranger_can_take(port, "0.0.0.0")  # noqa: S104  nothing is served there
        with pytest.raises(ConfigurationError, match=rf"web cannot listen on 127.0.0.1:{port}: Address already in use"):
            open_listener("127.0.0.1", port, "web")
    # At once, connections that linger or not.
    open_listener("127.0.0.1", port, "web").close()


def test_a_name_that_is_none_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"web cannot listen on no\.such\.name\.invalid:80: "):
        open_listener("no.such.name.invalid", 80, "web")


def test_what_is_handed_on_is_not_handed_on_further() -> None:
    with open_listener("127.0.0.1", 0, "web") as listener:
        number = os.dup(listener.fileno())
        os.set_inheritable(number, True)
        with inherit_listener(number, "web") as taken:
            assert taken.getsockname() == listener.getsockname()
            assert not taken.get_inheritable()


@pytest.mark.parametrize("kind", ["nothing", "file", "bound"])
def test_what_is_no_listening_socket_is_not_served(tmp_path: Path, kind: str) -> None:
    with (tmp_path / "file").open("w") as file, socket.socket() as bound, socket.socket() as closed:
        bound.bind(("127.0.0.1", 0))
        numbers = {"nothing": closed.fileno(), "file": file.fileno(), "bound": bound.fileno()}
        if kind == "nothing":
            closed.close()
        with pytest.raises(ConfigurationError, match=rf"web cannot listen on file descriptor {numbers[kind]}: ."):
            inherit_listener(numbers[kind], "web")
        assert bound.getsockname()


def test_a_port_stays_taken_while_its_service_starts_serves_and_has_ended(tmp_path: Path) -> None:
    with open_listener("127.0.0.1", 0, "web") as listener:
        port, number = port_of(listener), listener.fileno()
        command = (sys.executable, "-c", SERVING, str(number))
        url = f"http://127.0.0.1:{port}/"
        web = Service("web", command, tmp_path / "web.log", ready_url=url, descriptors=(number,))
        other = Service("other", (sys.executable, "-c", "import time; time.sleep(600)"), tmp_path / "other.log")
        with Supervisor() as supervisor:
            supervisor.start(web)
            supervisor.start(other)
            assert not stranger_can_take(port)
            supervisor.wait_until_ready(PATIENCE_SECONDS)
            assert not stranger_can_take(port)
            listening = {each.service.name: sockets_of(each.process.pid) for each in supervisor._running}
            assert listening == {"web": {port}, "other": set()}
        assert not stranger_can_take(port)


def sockets_of(pid: int) -> set[int]:
    return {found.laddr.port for found in psutil.Process(pid).net_connections() if found.status == psutil.CONN_LISTEN}


def test_the_services_of_up_and_demo_are_handed_their_ports(tmp_path: Path) -> None:
    with open_listener("127.0.0.1", 0, "web") as listener:
        webserver = dagster_services(tmp_path, listener, tmp_path / "workspace.yaml", {})[0]
        services = [webserver, bridge_service(tmp_path, listener, {})]
        for service in services:
            assert service.descriptors == (listener.fileno(),)
            assert re.search(rf" --fd {listener.fileno()}\b", " ".join(service.command))
            assert not re.search(r" (-p|--port) ", " ".join(service.command))
