"""Ports for servers that start later, and for servers that are not there."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

LOWEST = 20_000
KERNELS_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
# The kernel gives ports from here on to whoever asks for any.
KERNELS_LOWEST = int(KERNELS_RANGE.read_text().split()[0]) if KERNELS_RANGE.exists() else 32_768
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_OWN = range(LOWEST + WORKER, KERNELS_LOWEST, WORKERS)
_unused = iter(random.sample(_OWN, len(_OWN)))


def free_port() -> int:
    """Return a port that nobody listens on; no other test, worker or asking process is given that port meanwhile."""
    for port in _unused:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no port is left")
