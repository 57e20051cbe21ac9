"""Names a process so that another one can tell for certain that it has ended."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from uuid import uuid4

import psutil

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"
_PROCESSES = _PROC / "self/ns/pid"


def this_process() -> str:
    """A text that names this process: where it is, its id, and its start, since ids are reused."""
    return f"{_here()} {os.getpid()} {_start_of(os.getpid())}"


def is_gone(process: str) -> bool:
    """Whether a process, as :func:`this_process` names it, has ended for certain.

    One of another machine or container cannot be seen: it is not gone for certain.
    """
    where, _, rest = process.partition(" ")
    number, _, start = rest.partition(" ")
    if where != _here() or not number.isdecimal():
        return False
    try:
        return _start_of(int(number)) != start
    except psutil.NoSuchProcess:
        return not psutil.pid_exists(int(number))  # another login's processes may be hidden


@cache
def _here() -> str:
    """The machine since its last start, and the container: two of them may share a name."""
    if not _BOOT.exists():
        return socket.gethostname()
    try:
        return f"{socket.gethostname()}/{_BOOT.read_text().strip()}/{_PROCESSES.readlink()}"
    except OSError:
        # Nothing tells this place from others: to other processes it is one that they cannot see.
        return f"{socket.gethostname()}/{uuid4()}"


def _start_of(process_id: int) -> str:
    """The start of a process: on Linux in ticks since the machine's, which no change of the clock moves, else epoch s.

    ``psutil.NoSuchProcess`` if it is gone or hidden.
    """
    if not _BOOT.exists():
        return f"{psutil.Process(process_id).create_time():.2f}"
    try:
        # The name before the parenthesis may hold anything.
        return (_PROC / str(process_id) / "stat").read_text().rpartition(")")[2].split()[19]
    except OSError:  # gone; or Linux refuses to show processes of other logins
        raise psutil.NoSuchProcess(process_id) from None
