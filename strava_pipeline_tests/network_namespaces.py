"""Hosts on this machine, each with a network and a name of its own, joined by a bridge; Linux' namespaces, as root.

Nothing of it is reachable from outside: the hub, where the bridge is, has no way to this machine's network.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from strava_pipeline_tests.eventually import PATIENCE_SECONDS

NAMES = Path("/run/netns")
OWN_NETWORK = Path("/proc/thread-self/ns/net")
BRIDGE = "joined"
PREFIX = "10.77.0."
# From sched.h.
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Host:
    """A host: its name, its network's name for ``ip netns``, and its address."""

    name: str
    network: str
    address: str

    def become(self) -> None:
        """Be a process of this host from now on, with all that this thread starts."""
        with (NAMES / self.network).open() as network:
            _call("setns", network.fileno(), CLONE_NEWNET)
        _call("unshare", CLONE_NEWUTS)
        socket.sethostname(self.name)


@dataclass(frozen=True)
class Network:
    """Some hosts by their names, and the hub that joins them."""

    hub: Host
    hosts: Mapping[str, Host]

    def cut(self, host: Host) -> None:
        """Take a host off the network: what is sent to it, or from it, gets no answer of any kind."""
        _ip("-n", self.hub.network, "link", "set", host.name, "down")

    def mend(self, host: Host) -> None:
        """Put a host back."""
        _ip("-n", self.hub.network, "link", "set", host.name, "up")


@contextmanager
def joined_hosts(*names: str) -> Iterator[Network]:
    """Hosts of these names, and a hub of the name ``hub``, for the time of a block."""
    with ExitStack() as made:
        hub = made.enter_context(_host("hub", 1))
        _ip("-n", hub.network, "link", "add", BRIDGE, "type", "bridge")
        _ip("-n", hub.network, "address", "add", f"{hub.address}/24", "dev", BRIDGE)
        _ip("-n", hub.network, "link", "set", BRIDGE, "up")
        hosts = {name: made.enter_context(_host(name, number)) for number, name in enumerate(names, 2)}
        for host in hosts.values():
            _ip(
                "-n",
                hub.network,
                "link",
                "add",
                host.name,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                host.network,
            )
            _ip("-n", hub.network, "link", "set", host.name, "master", BRIDGE, "up")
            _ip("-n", host.network, "address", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.network, "link", "set", "eth0", "up")
        yield Network(hub, hosts)


@contextmanager
def inside(host: Host) -> Iterator[None]:
    """Let this thread, and all that it starts, use a host's network during the block."""
    with OWN_NETWORK.open() as outside, (NAMES / host.network).open() as network:
        _call("setns", network.fileno(), CLONE_NEWNET)
        try:
            yield
        finally:
            _call("setns", outside.fileno(), CLONE_NEWNET)


@contextmanager
def _host(name: str, number: int) -> Iterator[Host]:
    host = Host(name, f"strava-{os.getpid()}-{name}", f"{PREFIX}{number}")
    _ip("netns", "add", host.network)
    try:
        _ip("-n", host.network, "link", "set", "lo", "up")
        yield host
    finally:
        _ip("netns", "delete", host.network)


def _ip(*arguments: str) -> None:
    done = subprocess.run(
        ["ip", *arguments],  # noqa: S607  wherever it is
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
