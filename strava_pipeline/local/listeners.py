"""Listening sockets: opened here, or inherited from the process that started this one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from strava_pipeline.errors import ConfigurationError

BACKLOG = 128


def open_listener(host: str, port: int, what: str) -> socket.socket:
    """Return a listening socket; port 0 means any free port.

    ``ConfigurationError`` says that ``what``, the name of the service, cannot listen. A socket that is only bound does
    not reserve its port: Linux lets other programs bind the port until one of them listens.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        reason = error.strerror
    except OSError as error:
        # The message of Python's error also names the address, which our message names anyway.
        reason = os.strerror(error.errno or 0)
    raise ConfigurationError(f"{what} cannot listen on {host}:{port}: {reason}")


def is_listening(path: Path) -> bool:
    """Whether a program listens on a socket of the file system."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def inherit_listener(descriptor: int, what: str) -> socket.socket:
    """Return the listening socket of a file descriptor, no longer inheritable; else ``ConfigurationError``."""
    try:
        listener = socket.socket(fileno=descriptor)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigurationError(f"{what} cannot listen on file descriptor {descriptor}: {error.strerror}") from None
    if not listens:
        listener.detach()
        raise ConfigurationError(f"{what} cannot listen on file descriptor {descriptor}: it is not a listening socket")
    listener.set_inheritable(False)
    return listener
