"""Supervision of several services: started and stopped together, and all stopped if one ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Self

import psutil
import requests

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.local import log_files, private_files

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.1
LOG_CAP_BYTES = 10 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_LINK_OF_SQLALCHEMY = "(Background on this error at:"
_ERROR_OF_SQLALCHEMY = re.compile(r"sqlalchemy\.\S+: ")


class ServiceFailed(StravaPipelineError):
    """A service did not become ready, or ended by itself; the message names the service and its log."""


@dataclass(frozen=True)
class Service:
    """One service: its command, log, additional environment variables and working folder.

    ``ready_url`` answers once the service is ready; ``descriptors`` are open file descriptors that it inherits.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_url: str | None = None
    folder: Path | None = None
    descriptors: tuple[int, ...] = ()


class Supervisor:
    """Services in the order of their start; leaving the ``with`` block stops them in reverse order."""

    def __init__(self) -> None:
        self._running: list[tuple[Service, subprocess.Popen[bytes]]] = []
        self._seen: dict[int, psutil.Process] = {}
        # The service that does not answer yet.
        self.waited_for = "the first service"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, service: Service) -> None:
        """Start a service in a session of its own, so that Ctrl-C does not reach it directly."""
        private_files.make_folder(service.log.parent)
        log_files.rotate_unused(service.log, LOG_CAP_BYTES)
        with private_files.open_to_append(service.log) as log:
            process = subprocess.Popen(  # noqa: S603  commands of this package
                service.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | dict(service.environment),
                cwd=service.folder,
                start_new_session=True,
                pass_fds=service.descriptors,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  one system call, no lock
            )
        self._running.append((service, process))

    def wait_until_ready(self, seconds: float = 120) -> None:
        """Wait until each service answers; ``ServiceFailed`` names one that does not in time, or that ended."""
        deadline = time.monotonic() + seconds
        for service, _ in self._running:
            self.waited_for = service.name
            while service.ready_url and not _answers(service.ready_url):
                self._check()
                if time.monotonic() > deadline:
                    raise ServiceFailed(f"{service.name} is not ready after {seconds:.0f} s (log: {service.log})")
                time.sleep(POLL_SECONDS)
        self._check()

    def watch(self, care: Callable[[], None] = lambda: None) -> None:
        """Wait until SIGINT, SIGTERM or SIGHUP; ``ServiceFailed`` as soon as a service ends by itself.

        ``care`` is called about once a second, to keep other things running.
        """
        with _stop_requested() as stop:
            while not stop:
                self._check()
                for service, _ in self._running:
                    log_files.rotate_or_warn(service.log, LOG_CAP_BYTES)
                care()
                signal.sigtimedwait([signal.SIGCHLD], 1.0)

    def stop(self) -> None:
        """Stop all services and their descendants; kill those that still run after :data:`GRACE_SECONDS`."""
        for _, process in reversed(self._running):
            self._remember_descendants(process.pid)
            if process.poll() is None:
                process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
            if process.poll() is None:
                process.kill()
                process.wait()
        # Dagster's servers and runs end by themselves shortly after their parents.
        _, left = psutil.wait_procs(list(self._seen.values()), timeout=GRACE_SECONDS / 5)
        for descendant in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                descendant.kill()
        psutil.wait_procs(left, timeout=GRACE_SECONDS)
        self._running.clear()
        self._seen.clear()

    def _remember_descendants(self, pid: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(pid).children(recursive=True):
                self._seen[child.pid] = child

    def _check(self) -> None:
        for service, process in self._running:
            code = process.poll()
            if code is not None:
                raise ServiceFailed(
                    f"{service.name} ended with exit code {code}: {_last_line(service.log)} (log: {service.log})"
                )


def find_free_port() -> int:
    """Return a port of this machine on which no program listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end_with_parent() -> None:
    """Make the kernel end this child when the supervisor dies, even by kill -9 (Linux only).

    Signals get their default handlers, since a child inherits signals that its parent was told to ignore.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def _stop_requested() -> Iterator[list[int]]:
    """Yield a list to which SIGINT, SIGTERM or SIGHUP is added; a second signal ends the process at once."""
    caught: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is signal's
        if caught:
            raise KeyboardInterrupt
        caught.append(signum)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        yield caught
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        for number, handler in before.items():
            signal.signal(number, handler)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def _last_line(log: Path) -> str:
    """Return the last useful line of a log; after an error of SQLAlchemy follow its statement and a link."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if lines and lines[-1].startswith(_LINK_OF_SQLALCHEMY):
        lines = [line for line in lines if _ERROR_OF_SQLALCHEMY.match(line)] or lines[:-1]
    return lines[-1].strip() if lines else "its log is empty"
