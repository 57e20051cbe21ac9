"""Sockets that listen: taken here, or handed on by whoever started this process and took the port before."""

from __future__ import annotations

import os
import socket

from strava_pipeline.errors import ConfigurationError

BACKLOG = 128


def listen_at(host: str, port: int, what: str) -> socket.socket:
    """A socket that listens already; for port 0 at any. ``ConfigurationError`` names ``what`` could not listen.

    Merely bound it would be nobody's: Linux lets somebody else bind the same port until one of both listens.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        reason = error.strerror
    except OSError as error:
        # Python adds to the system's words what stands here anyway.
        reason = os.strerror(error.errno or 0)
    raise ConfigurationError(f"{what} cannot listen on {host}:{port}: {reason}")


def handed_on(descriptor: int, what: str) -> socket.socket:
    """The listening socket of that number, for us alone. ``ConfigurationError`` if it is none."""
    try:
        listener = socket.socket(fileno=descriptor)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigurationError(f"{what} cannot listen on file descriptor {descriptor}: {error.strerror}") from None
    if not listens:
        listener.detach()
        raise ConfigurationError(f"{what} cannot listen on file descriptor {descriptor}: it is no listening socket")
    listener.set_inheritable(False)
    return listener
