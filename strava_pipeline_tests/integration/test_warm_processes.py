"""Processes that find their modules loaded are in the network of the tests, whoever is the first to start one."""

from __future__ import annotations

import os
from pathlib import Path

from strava_pipeline_tests.network_namespaces import inside, joined_hosts
from strava_pipeline_tests.warm_processes import WarmProcesses


def test_the_first_process_started_inside_a_host_is_not_of_its_network() -> None:
    of_the_tests = network_of(os.getpid())
    with WarmProcesses(()) as processes, joined_hosts("one") as network, inside(network.hosts["one"]):
        process = processes.start_silent("http.server", "0", env=os.environ)
        assert network_of(process.pid) == of_the_tests
        # This thread is elsewhere.
        assert network_of(os.getpid()) != of_the_tests
        process.kill()
        process.wait()


def network_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()
